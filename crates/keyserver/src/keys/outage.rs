//! How long keys are believed while the store cannot be reached.
//!
//! Memory knows every key and revocation that was announced. While the store is away, it may miss some; so it
//! is believed for a bounded time only. Within it, what it does not know it cannot tell about.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use portunus_auth_core::AuthError;

use super::Keys;

/// A name that nothing is stored under. That there is nothing is an answer.
const PROBE: &str = "ks/probe";

/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Since when the store has not answered.
#[derive(Debug)]
pub(super) struct Outage {
    /// In milliseconds since 1970; [`NEVER`] while it answers.
    since: AtomicU64,
    bearable: Duration,
}

const NEVER: u64 = u64::MAX;

impl Outage {
    pub(super) fn bearable_for(bearable: Duration) -> Self {
        Self { since: AtomicU64::new(NEVER), bearable }
    }

    fn begins(&self, now: SystemTime) {
        // Only the first failure of many in a row counts.
        let _ = self.since.compare_exchange(NEVER, millis(now), Ordering::SeqCst, Ordering::SeqCst);
    }

    fn ends(&self) {
        self.since.store(NEVER, Ordering::SeqCst);
    }

    fn is_on(&self) -> bool {
        self.since.load(Ordering::SeqCst) != NEVER
    }

    /// Whether memory has not been in step with the store for too long.
    fn is_unbearable(&self, now: SystemTime) -> bool {
        let since = self.since.load(Ordering::SeqCst);
        since != NEVER && u128::from(millis(now).saturating_sub(since)) > self.bearable.as_millis()
    }

    /// What is said of a key, given what memory says. Its bad news are good.
    pub(super) fn temper<T>(&self, found: Result<T, AuthError>, now: SystemTime) -> Result<T, AuthError> {
        let away = || Err(AuthError::Unavailable("the store cannot be reached".into()));
        match found {
            Ok(_) if self.is_unbearable(now) => away(),
            Err(AuthError::Unknown) if self.is_on() => away(),
            found => found,
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(NEVER).min(NEVER - 1)
}

impl Keys {
    /// Notes whether the store answers. After it did not, memory is brought in step before it is believed
    /// again.
    pub(crate) async fn watch_store(&self) -> bool {
        let began = self.clock.now();
        let is_there = matches!(tokio::time::timeout(PATIENCE, self.store.get(PROBE)).await, Ok(Ok(_)));
        if !is_there {
            self.outage.begins(began);
        } else if self.outage.is_on() && self.read_all().await.is_ok() {
            self.outage.ends();
        }
        !self.outage.is_on()
    }
}
