//! The time of a mock, which a test moves.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portunus_auth_core::{Clock, SystemClock};

/// The latest time that is shown, the year 9000: dates with five-digit years cannot be written.
const LATEST: Duration = Duration::from_secs(221_845_392_000);

/// The clock of a mock: it runs or stands, and can be moved. Clones are the same clock.
///
/// ```
/// use portunus_mock::VirtualClock;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let clock = VirtualClock::frozen(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_secs(1_700_000_060));
/// ```
#[derive(Clone)]
pub struct VirtualClock(Arc<Mutex<Hands>>);

/// Wall-clock time, and the monotonic time beside it.
type Times = (SystemTime, Duration);

struct Hands {
    base: Arc<dyn Clock>,
    shown: Times,
    /// What `base` said when this clock showed `shown`; `None` while it stands.
    since: Option<Times>,
}

impl VirtualClock {
    /// A clock that runs as the machine's does, plus what it is advanced by.
    pub fn running() -> Self {
        Self::over(Arc::new(SystemClock))
    }

    /// A clock that shows that time until it is advanced.
    pub fn frozen(at: SystemTime) -> Self {
        let clock = Self::running();
        clock.freeze_at(at);
        clock
    }

    fn over(base: Arc<dyn Clock>) -> Self {
        let now = (base.now(), base.monotonic());
        Self(Arc::new(Mutex::new(Hands { base, shown: now, since: Some(now) })))
    }

    /// The time that it shows, from 1970 to the year 9000.
    pub fn now(&self) -> SystemTime {
        self.lock().wall()
    }

    /// Lets that much time pass at once.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.lock();
        let (wall, monotonic) = hands.shown;
        let wall = wall.checked_add(by).unwrap_or(UNIX_EPOCH + LATEST);
        hands.shown = (wall, monotonic.saturating_add(by));
    }

    /// Stands from now on.
    pub fn freeze(&self) {
        let mut hands = self.lock();
        hands.shown = hands.now();
        hands.since = None;
    }

    /// Shows that time from now on, and stands.
    pub fn freeze_at(&self, at: SystemTime) {
        let mut hands = self.lock();
        hands.shown = (at, hands.now().1);
        hands.since = None;
    }

    /// Runs again, from the time that it shows.
    pub fn resume(&self) {
        let mut hands = self.lock();
        hands.shown = hands.now();
        hands.since = Some((hands.base.now(), hands.base.monotonic()));
    }

    /// Whether it stands.
    pub fn is_frozen(&self) -> bool {
        self.lock().since.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hands {
    fn now(&self) -> Times {
        (self.wall(), self.monotonic())
    }

    fn wall(&self) -> SystemTime {
        let shown = self.shown.0;
        let wall = match self.since.map(|(then, _)| self.base.now().duration_since(then)) {
            None => Some(shown),
            Some(Ok(passed)) => shown.checked_add(passed),
            Some(Err(back)) => shown.checked_sub(back.duration()),
        };
        let latest = UNIX_EPOCH + LATEST;
        wall.unwrap_or(latest).clamp(UNIX_EPOCH, latest)
    }

    fn monotonic(&self) -> Duration {
        let passed = self.since.map(|(_, start)| self.base.monotonic().saturating_sub(start));
        self.shown.1.saturating_add(passed.unwrap_or_default())
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> SystemTime {
        self.now()
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic()
    }
}

/// Follows another clock, and can be moved ahead of it.
impl<C: Clock> From<Arc<C>> for VirtualClock {
    fn from(base: Arc<C>) -> Self {
        Self::over(base)
    }
}

/// Follows another clock, and can be moved ahead of it.
impl From<Arc<dyn Clock>> for VirtualClock {
    fn from(base: Arc<dyn Clock>) -> Self {
        Self::over(base)
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualClock").field("now", &self.now()).field("frozen", &self.is_frozen()).finish()
    }
}

#[cfg(test)]
mod tests {
    use portunus_auth_core::clock::ManualClock;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn it_follows_its_base_in_both_directions_until_it_is_frozen() {
        let base = Arc::new(ManualClock::at_unix(1_000));
        let clock = VirtualClock::from(base.clone());
        clock.advance(MINUTE);
        base.advance(MINUTE);
        assert_eq!((clock.now(), clock.monotonic()), (at(1_120), 2 * MINUTE));
        base.jump_to(at(500));
        assert_eq!((clock.now(), clock.monotonic()), (at(560), 2 * MINUTE));
        clock.freeze();
        base.advance(MINUTE);
        clock.advance(MINUTE);
        assert_eq!((clock.now(), clock.monotonic(), clock.is_frozen()), (at(620), 3 * MINUTE, true));
        clock.freeze_at(at(5));
        clock.resume();
        base.advance(MINUTE);
        assert_eq!((clock.now(), clock.monotonic(), clock.is_frozen()), (at(65), 4 * MINUTE, false));
    }

    #[test]
    fn it_stays_within_dates_that_can_be_written() {
        let clock = VirtualClock::frozen(at(0));
        clock.clone().advance(Duration::MAX);
        assert_eq!(humantime::format_rfc3339(clock.now()).to_string(), "9000-01-01T00:00:00Z");
        clock.freeze_at(UNIX_EPOCH - MINUTE);
        assert_eq!(clock.now(), UNIX_EPOCH);
    }
}
