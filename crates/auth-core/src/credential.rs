//! What is attached to an upstream request, and the two traits that obtain it: a source fetches, a
//! provider always answers with something that works now.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use crate::BoxError;

/// What gets attached to an upstream request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// `Authorization: Bearer …` (RFC 6750).
    BearerToken(SecretString),
    /// `Authorization: Bearer …`, which the vendor takes only together with these headers.
    BearerTokenWith {
        /// The token.
        token: SecretString,
        /// What goes with it; nothing secret.
        headers: Vec<CompanionHeader>,
    },
    /// A key in a header of the vendor's own: `x-api-key`, `api-key`, `x-goog-api-key`.
    ApiKey {
        /// The header that carries it.
        header: HeaderName,
        /// The key.
        value: SecretString,
    },
    /// Keys to sign with (AWS Signature Version 4); signing is a step of its own.
    AwsCredentials {
        /// The access key id.
        access_key_id: SecretString,
        /// The secret access key.
        secret_access_key: SecretString,
        /// The session token of temporary credentials.
        session_token: Option<SecretString>,
    },
}

/// A header without which a vendor does not take a token as it is meant: the project that pays, the
/// version of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompanionHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderValue,
    /// Whether the value is one element of a list (RFC 9110 section 5.6.1), to which a request may bring
    /// others of its own. If not, it replaces what a request brings.
    pub is_element: bool,
}

impl PartialEq for Credential {
    /// Whether both would authenticate the same way. Decides only whether a refused credential has
    /// been replaced; both sides are our own, so the time it takes tells a caller nothing.
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &SecretString, b: &SecretString| a.expose_secret() == b.expose_secret();
        match (self, other) {
            (Self::BearerToken(a), Self::BearerToken(b)) => same(a, b),
            (
                Self::BearerTokenWith { token: a, headers: ha },
                Self::BearerTokenWith { token: b, headers: hb },
            ) => same(a, b) && ha == hb,
            (Self::ApiKey { header: ha, value: a }, Self::ApiKey { header: hb, value: b }) => {
                ha == hb && same(a, b)
            }
            (
                Self::AwsCredentials { access_key_id: ia, secret_access_key: sa, session_token: ta },
                Self::AwsCredentials { access_key_id: ib, secret_access_key: sb, session_token: tb },
            ) => {
                let tokens = match (ta, tb) {
                    (Some(a), Some(b)) => same(a, b),
                    (None, None) => true,
                    _ => false,
                };
                same(ia, ib) && same(sa, sb) && tokens
            }
            _ => false,
        }
    }
}

/// A credential, when it ends, and what is known about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issued {
    /// The credential.
    pub credential: Credential,
    /// The instant from which the issuer no longer honours it. `None`: it has no end of its own.
    pub expires_at: Option<SystemTime>,
    /// So long before the end a replacement can be had at the earliest, where the issuer hands out the
    /// same one until then. `None`: any time.
    pub refresh_margin: Option<Duration>,
    /// Which source answered, for a person to read, such as `EC2 instance metadata`.
    pub source: Option<String>,
    /// Whom the credential stands for, as the issuer names it: a role, a service account, an application.
    pub subject: Option<String>,
}

impl Issued {
    /// A credential, and when it ends if it has an end of its own.
    pub fn new(credential: Credential, expires_at: impl Into<Option<SystemTime>>) -> Self {
        Self { credential, expires_at: expires_at.into(), refresh_margin: None, source: None, subject: None }
    }

    /// The same, not to be replaced sooner than `margin` before its end.
    #[must_use]
    pub fn with_refresh_margin(self, margin: Duration) -> Self {
        Self { refresh_margin: Some(margin), ..self }
    }

    /// The same, answered by that source.
    #[must_use]
    pub fn from_source(self, source: impl Into<String>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The same, standing for that subject.
    #[must_use]
    pub fn for_subject(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }
}

/// What a caller of this library holds: always answers with a credential that works now.
#[async_trait]
pub trait CredentialProvider: fmt::Debug + Send + Sync + 'static {
    /// A credential that works now.
    ///
    /// # Errors
    /// [`CredentialError`], by what the caller can do about it.
    async fn resolve(&self) -> Result<Credential, CredentialError>;

    /// What `resolve` would answer, if it is at hand and nothing is to be done about it: no waiting, no
    /// copy, no boxed future. `None` says only that `resolve` has to be asked.
    fn held(&self) -> Option<Arc<Credential>> {
        None
    }

    /// Whether another credential may come once this one has been invalidated. A fixed one says
    /// `false`, so that nobody prepares for a second try that cannot help.
    fn renews(&self) -> bool {
        true
    }

    /// The upstream refused this credential: do not serve it again. Another credential that has
    /// taken its place meanwhile stays.
    fn invalidate(&self, refused: &Credential) {
        let _ = refused;
    }
}

/// What a vendor implements: one fetch, no memory. `Cached` turns it into a provider.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// Asks the issuer once.
    ///
    /// # Errors
    /// [`CredentialError`], by what the caller can do about it.
    async fn fetch(&self) -> Result<Issued, CredentialError>;
}

#[async_trait]
impl<S: CredentialSource + ?Sized> CredentialSource for Box<S> {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        (**self).fetch().await
    }
}

#[async_trait]
impl<S: CredentialSource + ?Sized> CredentialSource for Arc<S> {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        (**self).fetch().await
    }
}

/// Why there is no credential, by what can be done about it.
///
/// The `source` holds at most a status and the issuer's parsed error code, never a response body:
/// an issuer's body can echo the secret that was sent to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Nothing is set up here. A chain tries its next source.
    #[error("no credential configured")]
    NotConfigured,
    /// Set up, but wrongly. Retrying cannot help; a person must act.
    #[error("credential configuration is invalid")]
    Invalid(#[source] BoxError),
    /// The issuer said no, e.g. the secret or the refresh token was revoked.
    #[error("issuer rejected the credential")]
    Rejected(#[source] BoxError),
    /// The issuer could not answer. Retry, after the given delay if there is one.
    #[error("issuer unavailable")]
    Unavailable {
        /// What the issuer asked to wait.
        retry_after: Option<Duration>,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_every_kind_hides_the_secret() {
        let secret = || SecretString::from("canary-7f3a");
        let all = [
            Credential::BearerToken(secret()),
            Credential::BearerTokenWith { token: secret(), headers: Vec::new() },
            Credential::ApiKey { header: HeaderName::from_static("x-api-key"), value: secret() },
            Credential::AwsCredentials {
                access_key_id: secret(),
                secret_access_key: secret(),
                session_token: Some(secret()),
            },
        ];
        for credential in all {
            let shown = format!("{credential:?}");
            assert!(!shown.contains("canary"), "{shown}");
            assert!(credential == credential.clone());
        }
    }
}
