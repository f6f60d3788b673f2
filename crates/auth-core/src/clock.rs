//! Time as a parameter: services hold an `Arc<dyn Clock>`, pure code takes `now`.

use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

/// Where the time comes from.
///
/// `now` may jump in either direction, as the machine's clock does; `monotonic` never goes back.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Wall-clock time: for whatever others stated as a date, such as an expiry.
    fn now(&self) -> SystemTime;

    /// Time since some fixed start in this process: for intervals of our own, such as a cool-down.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

static START: LazyLock<Instant> = LazyLock::new(start);

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
fn start() -> Instant {
    Instant::now()
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        START.elapsed()
    }
}

/// A clock that moves only when a test moves it.
#[cfg(any(test, feature = "test-util"))]
#[derive(Debug)]
pub struct ManualClock {
    time: std::sync::Mutex<(SystemTime, Duration)>,
}

#[cfg(any(test, feature = "test-util"))]
impl ManualClock {
    /// A clock that shows `now` until it is moved.
    pub fn at(now: SystemTime) -> Self {
        Self { time: std::sync::Mutex::new((now, Duration::ZERO)) }
    }

    /// A clock that shows the given seconds since 1970.
    pub fn at_unix(seconds: u64) -> Self {
        Self::at(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let mut time = self.lock();
        time.0 += by;
        time.1 += by;
    }

    /// Sets the wall clock, in either direction, without letting time pass.
    pub fn jump_to(&self, now: SystemTime) {
        self.lock().0 = now;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (SystemTime, Duration)> {
        self.time.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(any(test, feature = "test-util"))]
impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_moves_the_wall_clock_only() {
        let clock = ManualClock::at_unix(1_000);
        clock.advance(Duration::from_secs(5));
        clock.jump_to(SystemTime::UNIX_EPOCH);
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH);
        assert_eq!(clock.monotonic(), Duration::from_secs(5));
    }
}
