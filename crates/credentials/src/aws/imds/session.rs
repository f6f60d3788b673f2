//! A session with the metadata service: a token that is shown with every request until it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::HeaderName;
use portunus_auth_core::Clock;
use portunus_auth_core::secret::SecretString;

use crate::http::Answer;

pub(super) const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");

/// Six hours, the longest that the service grants.
pub(super) const LONGEST: u64 = 21_600;

/// So long before its end a session is not used any more: a request must not outlive it.
const MARGIN: u64 = 120;

/// The session that is under way, if one is.
#[derive(Debug, Default)]
pub(super) struct Session(Mutex<Option<Held>>);

#[derive(Debug)]
struct Held {
    token: Arc<SecretString>,
    /// By the clock that nobody sets.
    until: Duration,
}

impl Session {
    pub(super) fn token(&self, clock: &dyn Clock) -> Option<Arc<SecretString>> {
        let now = clock.monotonic();
        self.lock().as_ref().filter(|held| now < held.until).map(|held| held.token.clone())
    }

    /// Keeps a token for as long as the service said, counted from when it was asked for.
    pub(super) fn keep(&self, token: &Arc<SecretString>, answer: &Answer, asked: Duration) {
        let stated = answer.header(TTL).and_then(|text| text.trim().parse().ok());
        let life = stated.unwrap_or(LONGEST).min(LONGEST).saturating_sub(MARGIN);
        let until = asked.saturating_add(Duration::from_secs(life));
        *self.lock() = Some(Held { token: token.clone(), until });
    }

    /// The service does not know this token any more; one that has replaced it meanwhile stays.
    pub(super) fn end(&self, token: &Arc<SecretString>) {
        let mut held = self.lock();
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(&held.token, token)) {
            *held = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
