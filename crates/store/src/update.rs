//! What each writing operation decides, once for all engines: pure, and told the time. An engine
//! reads one row, lets `decide` say what becomes of it, and applies that, all in one atomic step.

use std::time::SystemTime;

use crate::row::{Cell, Instant, count_of, counter_row, instant, time, value_row, window_end};
use crate::store::{Held, NewValue, Reservation, StoreError, Window};

/// A writing operation. It owns what it needs: it may outlive the caller who asked for it.
pub(crate) enum Update {
    Put { row: Vec<u8>, cell: Cell },
    PutIfAbsent { row: Vec<u8>, cell: Cell },
    Swap { row: Vec<u8>, expected: Option<Vec<u8>>, new: Option<Cell> },
    Delete { row: Vec<u8> },
    Reserve { counter: String, amount: u64, cap: u64, window: Window },
    Settle { counter: String, reservation: Held, used: u64 },
}

/// What becomes of the row.
pub(crate) enum Change {
    Keep,
    Set(Cell),
    Remove,
}

/// What the caller is told.
pub(crate) struct Answer {
    /// Whether the operation did what it is for.
    pub(crate) yes: bool,
    /// What the counter says. Only a reservation has one.
    used: u64,
    /// When the counter's window ends.
    until: Instant,
}

impl Update {
    pub(crate) fn put(key: &str, value: &[u8], expires_at: Option<SystemTime>) -> Self {
        Self::Put { row: value_row(key), cell: Cell::new(value, expires_at) }
    }

    pub(crate) fn put_if_absent(key: &str, value: &[u8], expires_at: Option<SystemTime>) -> Self {
        Self::PutIfAbsent { row: value_row(key), cell: Cell::new(value, expires_at) }
    }

    pub(crate) fn swap(key: &str, expected: Option<&[u8]>, new: Option<NewValue<'_>>) -> Self {
        Self::Swap {
            row: value_row(key),
            expected: expected.map(<[u8]>::to_vec),
            new: new.map(|new| Cell::new(new.value, new.expires_at)),
        }
    }

    pub(crate) fn delete(key: &str) -> Self {
        Self::Delete { row: value_row(key) }
    }

    pub(crate) fn reserve(counter: &str, amount: u64, cap: u64, window: Window) -> Self {
        Self::Reserve { counter: counter.to_owned(), amount, cap, window }
    }

    pub(crate) fn settle(counter: &str, reservation: Held, used: u64) -> Self {
        Self::Settle { counter: counter.to_owned(), reservation, used }
    }

    /// The one row that this reads and writes.
    ///
    /// A reservation counts in the window that is open when it is decided, not when it was asked
    /// for: one that waited past the end of its window would count where nobody looks any more.
    pub(crate) fn row(&self, now: Instant) -> Vec<u8> {
        match self {
            Self::Put { row, .. }
            | Self::PutIfAbsent { row, .. }
            | Self::Swap { row, .. }
            | Self::Delete { row } => row.clone(),
            Self::Reserve { counter, window, .. } => counter_row(counter, window_end(*window, now)),
            Self::Settle { counter, reservation, .. } => counter_row(counter, instant(reservation.until)),
        }
    }

    /// What becomes of the row, whose live bytes are `current`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a counter does not hold a number.
    pub(crate) fn decide(self, current: Option<&[u8]>, now: Instant) -> Result<(Change, Answer), StoreError> {
        let no = (Change::Keep, Answer::flag(false));
        let yes = |change| (change, Answer::flag(true));
        Ok(match self {
            Self::Put { cell, .. } => yes(Change::set(cell, now)),
            Self::PutIfAbsent { cell, .. } if current.is_none() => yes(Change::set(cell, now)),
            Self::PutIfAbsent { .. } => no,
            Self::Swap { expected, new, .. } if current == expected.as_deref() => {
                yes(new.map_or(Change::Remove, |cell| Change::set(cell, now)))
            }
            Self::Swap { .. } => no,
            Self::Delete { .. } => (Change::Remove, Answer::flag(current.is_some())),
            Self::Reserve { amount, cap, window, .. } => {
                let (used, until) = (current.map_or(Ok(0), count_of)?, window_end(window, now));
                match used.checked_add(amount).filter(|total| *total <= cap) {
                    Some(used) => (Change::count(used, until), Answer { yes: true, used, until }),
                    None => (Change::Keep, Answer { yes: false, used, until }),
                }
            }
            Self::Settle { reservation: Held { amount, until, .. }, used, .. } => match current {
                Some(bytes) if used != amount => {
                    let others = count_of(bytes)?.saturating_sub(amount);
                    yes(Change::count(others.saturating_add(used), instant(until)))
                }
                _ => no,
            },
        })
    }
}

impl Change {
    /// A cell that has already ended leaves no row behind.
    fn set(cell: Cell, now: Instant) -> Self {
        if cell.ends > now { Self::Set(cell) } else { Self::Remove }
    }

    fn count(used: u64, ends: Instant) -> Self {
        Self::Set(Cell { bytes: used.to_be_bytes().to_vec(), ends })
    }
}

impl Answer {
    fn flag(yes: bool) -> Self {
        Self { yes, used: 0, until: 0 }
    }

    /// The answer to a reservation of `amount`.
    pub(crate) fn reservation(self, amount: u64) -> Reservation {
        let Self { yes, used, until } = self;
        let until = time(until);
        if yes { Reservation::Held(Held { amount, used, until }) } else { Reservation::Full { used, until } }
    }
}
