//! How long keys are believed while the store cannot be reached.
//!
//! Memory knows every key and revocation that was announced. While the store is away, it may miss some; so it
//! is believed for a bounded time only. Within it, what it does not know it cannot tell about.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use portunus_auth_core::AuthError;

use super::Keys;
use super::sync::in_time;

/// A name that nothing is stored under. That there is nothing is an answer.
const PROBE: &str = "ks/probe";

/// Since when memory may not be in step with the store.
#[derive(Debug)]
pub(super) struct Outage {
    /// In milliseconds since 1970; [`NEVER`] while it answers.
    since: AtomicU64,
    /// Whether announcements cannot be heard.
    is_deaf: AtomicBool,
    bearable: Duration,
}

const NEVER: u64 = u64::MAX;

impl Outage {
    pub(super) fn bearable_for(bearable: Duration) -> Self {
        Self { since: AtomicU64::new(NEVER), is_deaf: AtomicBool::new(false), bearable }
    }

    pub(super) fn begins(&self, now: SystemTime) {
        // Only the first failure of many in a row counts.
        let _ = self.since.compare_exchange(NEVER, millis(now), Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Memory is in step. It will not stay so while nothing is heard.
    pub(super) fn ends(&self) {
        if !self.is_deaf.load(Ordering::SeqCst) {
            self.since.store(NEVER, Ordering::SeqCst);
        }
    }

    pub(super) fn deafens(&self, now: SystemTime) {
        self.is_deaf.store(true, Ordering::SeqCst);
        self.begins(now);
    }

    pub(super) fn hears(&self) {
        self.is_deaf.store(false, Ordering::SeqCst);
    }

    fn is_on(&self) -> bool {
        self.since.load(Ordering::SeqCst) != NEVER
    }

    /// Whether memory has not been in step with the store for too long. Before the outage began, by a clock that
    /// went back, nobody knows how long it is.
    fn is_unbearable(&self, now: SystemTime) -> bool {
        let since = self.since.load(Ordering::SeqCst);
        let is_too_long = |lasts: u64| u128::from(lasts) > self.bearable.as_millis();
        since != NEVER && millis(now).checked_sub(since).is_none_or(is_too_long)
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
        if in_time(self.store.get(PROBE)).await.is_err() {
            self.outage.begins(began);
        } else if self.outage.is_on() && self.read_all().await.is_ok() {
            self.outage.ends();
        }
        !self.outage.is_on()
    }
}
