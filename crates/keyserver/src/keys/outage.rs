//! How long keys are believed while the store cannot be reached.
//!
//! Memory knows every key and revocation that was announced. While the store is away, it may miss some; so it
//! is believed for a bounded time only, counted from when it was last in step. Within it, what it does not know it
//! cannot tell about.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use portunus_auth_core::AuthError;

use super::Keys;
use super::sync::in_time;

/// A name that nothing is stored under. That there is nothing is an answer.
const PROBE: &str = "ks/probe";

/// Since when memory may lack something, and why.
#[derive(Debug)]
pub(super) struct Outage {
    /// When memory was last known to be in step with the store, in milliseconds since 1970.
    fresh: AtomicU64,
    is_on: AtomicBool,
    owed: Mutex<Owed>,
    bearable: Duration,
}

/// What has to be read before an outage can end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owed {
    /// How often something was missed.
    missed: u64,
    /// Whether nothing is heard.
    deaf: bool,
}

impl Outage {
    pub(super) fn bearable_for(bearable: Duration, now: SystemTime) -> Self {
        let fresh = AtomicU64::new(millis(now));
        Self { fresh, is_on: AtomicBool::new(false), owed: Mutex::default(), bearable }
    }

    /// Something was missed, or may have been.
    pub(super) fn begins(&self) {
        self.note(|owed| owed.missed += 1);
    }

    /// Whatever is announced from now on is missed.
    pub(super) fn deafens(&self) {
        self.note(|owed| owed.deaf = true);
    }

    /// Announcements are heard again. What was missed is still to be read.
    pub(super) fn hears(&self) {
        self.note(|owed| *owed = Owed { missed: owed.missed + 1, deaf: false });
    }

    fn note(&self, change: impl FnOnce(&mut Owed)) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut owed);
        self.is_on.store(true, Ordering::SeqCst);
    }

    pub(super) fn owed(&self) -> Owed {
        *self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was owed when the reading began, at this time, was read. What was missed since is still owed.
    pub(super) fn ends(&self, read: Owed, now: SystemTime) {
        let owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if *owed == read && !owed.deaf {
            self.fresh.store(millis(now), Ordering::SeqCst);
            self.is_on.store(false, Ordering::SeqCst);
        }
    }

    fn is_on(&self) -> bool {
        self.is_on.load(Ordering::SeqCst)
    }

    /// Whether memory has not been in step with the store for too long. In an outage, a clock that went back
    /// tells nothing.
    fn is_unbearable(&self, now: SystemTime) -> bool {
        let away = millis(now).checked_sub(self.fresh.load(Ordering::SeqCst));
        away.map_or(self.is_on(), |away| u128::from(away) > self.bearable.as_millis())
    }

    /// What is said of a key, given what memory says. Its bad news are good.
    pub(super) fn temper<T>(&self, found: Result<T, AuthError>, now: SystemTime) -> Result<T, AuthError> {
        let away = || Err(AuthError::Unavailable("the store cannot be reached".into()));
        match found {
            Ok(_) if self.is_unbearable(now) => away(),
            Err(AuthError::Unknown) if self.is_on() || self.is_unbearable(now) => away(),
            found => found,
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Keys {
    /// Notes whether the store answers. After it did not, memory is brought in step before it is believed
    /// again.
    pub(crate) async fn watch_store(&self) -> bool {
        let (owed, now) = (self.outage.owed(), self.clock.now());
        match in_time(self.store.get(PROBE)).await {
            Err(_) => self.outage.begins(),
            Ok(_) if self.outage.is_on() => self.catch_up().await,
            Ok(_) => self.outage.ends(owed, now),
        }
        !self.outage.is_on()
    }
}
