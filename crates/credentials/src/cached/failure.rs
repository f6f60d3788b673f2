//! A failure that many callers are told about.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::CredentialError;

/// A failed refresh: until then nobody asks again, and everybody gets this error.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Arc<CredentialError>,
    /// On the monotonic clock.
    pub(super) until: Duration,
}

impl Failure {
    /// The error for one more caller, who may try again when the failure is forgotten.
    pub(super) fn told(&self, now: Duration) -> CredentialError {
        retell(&self.error, Some(self.until.saturating_sub(now)))
    }
}

/// The same error once more, as an owned value.
pub(super) fn retell(error: &Arc<CredentialError>, retry_after: Option<Duration>) -> CredentialError {
    let source = Box::new(Retold(error.clone()));
    match **error {
        CredentialError::NotConfigured => CredentialError::NotConfigured,
        CredentialError::Invalid(_) => CredentialError::Invalid(source),
        CredentialError::Rejected(_) => CredentialError::Rejected(source),
        CredentialError::Unavailable { retry_after: asked, .. } => {
            CredentialError::Unavailable { retry_after: retry_after.or(asked), source }
        }
        // A kind that was added later, and not here: what is certain is that there is no credential.
        _ => CredentialError::Unavailable { retry_after, source },
    }
}

/// Stands for the shared error's source, and reads like it.
struct Retold(Arc<CredentialError>);

impl fmt::Debug for Retold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Retold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(source) => fmt::Display::fmt(source, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl Error for Retold {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()?.source()
    }
}

/// An error and all its causes on one line, for a log.
pub(crate) struct Causes<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retold_error_reads_like_the_first() {
        let io = std::io::Error::new(std::io::ErrorKind::TimedOut, std::fmt::Error);
        let first = Arc::new(CredentialError::Unavailable { retry_after: None, source: Box::new(io) });
        let again = retell(&first, Some(Duration::from_secs(3)));
        assert_eq!(Causes(&again).to_string(), Causes(&*first).to_string());
        let twice = retell(&Arc::new(again), None);
        assert_eq!(Causes(&twice).to_string(), Causes(&*first).to_string());
        assert!(
            matches!(twice, CredentialError::Unavailable { retry_after: Some(d), .. } if d.as_secs() == 3)
        );
    }
}
