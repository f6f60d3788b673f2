//! Rows: what the engines keep. Values and counters share one ordered space of bytes, told apart by
//! their first byte, so that both expire, are swept and are read by the same code.

use std::io;
use std::time::{Duration, SystemTime};

use crate::store::{StoreError, Window};

const VALUE: u8 = b'v';
const COUNTER: u8 = b'c';

/// An instant in nanoseconds since 1970: exact to the nanosecond, and ordered as bytes are.
pub(crate) type Instant = u64;

/// The end of what has none.
pub(crate) const NEVER: Instant = u64::MAX;

/// The last instant there is, in 2554. What should end later ends then.
const LAST: Instant = NEVER - 1;

/// What stands in a row.
pub(crate) struct Cell {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// The row is gone from this instant on.
    pub(crate) ends: Instant,
}

impl Cell {
    pub(crate) fn new(bytes: &[u8], expires_at: Option<SystemTime>) -> Self {
        Self { bytes: bytes.to_vec(), ends: expires_at.map_or(NEVER, instant) }
    }

    /// The bytes, unless the row is gone.
    pub(crate) fn live(&self, now: Instant) -> Option<&[u8]> {
        (self.ends > now).then_some(self.bytes.as_slice())
    }
}

/// The row of a value.
pub(crate) fn value_row(key: &str) -> Vec<u8> {
    [&[VALUE], key.as_bytes()].concat()
}

/// The key of a value's row.
pub(crate) fn key_of(row: &[u8]) -> Result<String, StoreError> {
    let key = row.strip_prefix(&[VALUE]).ok_or_else(|| damaged("a row of another kind among the values"))?;
    String::from_utf8(key.to_vec()).map_err(|_| damaged("a key that is not text"))
}

/// The row of a counter's window. Each window has a row of its own, so that a window that has ended
/// takes nothing from the next, whoever still settles it.
pub(crate) fn counter_row(counter: &str, ends: Instant) -> Vec<u8> {
    [&[COUNTER], ends.to_be_bytes().as_slice(), counter.as_bytes()].concat()
}

/// What a counter's row says.
pub(crate) fn count_of(bytes: &[u8]) -> Result<u64, StoreError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged("a counter that is not a number"))
}

/// The given time; times before 1970 are 1970.
pub(crate) fn instant(time: SystemTime) -> Instant {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).map_or(LAST, |nanos| nanos.min(LAST))
}

/// The given time.
pub(crate) fn time(instant: Instant) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(instant)
}

/// When the window that `now` lies in ends.
pub(crate) fn window_end(window: Window, now: Instant) -> Instant {
    let length = window.length.max(Duration::from_secs(1)).as_nanos();
    let end = (u128::from(now) / length + 1).saturating_mul(length);
    u64::try_from(end).map_or(LAST, |nanos| nanos.min(LAST))
}

/// The state says something that this program never wrote.
pub(crate) fn damaged(what: &'static str) -> StoreError {
    StoreError::Corrupt(Box::new(io::Error::new(io::ErrorKind::InvalidData, what)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_beyond_the_range_end_early_never_late() {
        assert_eq!(instant(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(instant(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)), LAST);
        assert_eq!(window_end(Window { length: Duration::MAX }, 5), LAST);
        assert_eq!(window_end(Window { length: Duration::from_secs(60) }, LAST), LAST);
    }

    #[test]
    fn a_window_shorter_than_a_second_is_a_second() {
        assert_eq!(window_end(Window { length: Duration::ZERO }, 1_500_000_000), 2_000_000_000);
    }

    proptest! {
        #[test]
        fn an_instant_is_exact(nanos in 0..LAST) {
            prop_assert_eq!(instant(time(nanos)), nanos);
        }

        #[test]
        fn a_window_ends_after_now_on_a_multiple(seconds in 1u64..100_000_000, now in 0..LAST / 2) {
            let end = window_end(Window { length: Duration::from_secs(seconds) }, now);
            let length = seconds * 1_000_000_000;
            prop_assert!(end > now && end - now <= length);
            prop_assert_eq!(end % length, 0);
        }

        #[test]
        fn rows_stand_in_the_order_of_their_keys(a in ".*", b in ".*") {
            prop_assert_eq!(value_row(&a).cmp(&value_row(&b)), a.cmp(&b));
            prop_assert_eq!(key_of(&value_row(&a)).expect("a value"), a);
        }
    }
}
