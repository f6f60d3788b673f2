//! How often something is to happen.

use std::fmt;
use std::ops::{Range, RangeFrom, RangeInclusive, RangeTo, RangeToInclusive};

/// How often: a number, as in `2`, or a range of numbers, as in `1..` or `2..=3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    least: usize,
    /// `None`: there is no end.
    most: Option<usize>,
}

impl Times {
    pub(crate) fn holds(self, times: usize) -> bool {
        self.least <= times && self.most.is_none_or(|most| times <= most)
    }

    /// Whether no number is in it.
    pub(crate) fn is_empty(self) -> bool {
        self.most.is_some_and(|most| most < self.least)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { least, most: None } => write!(f, "at least {}", Counted(least)),
            Self { least, most: Some(most) } if least == most => Counted(most).fmt(f),
            Self { least: 0, most: Some(most) } => write!(f, "at most {}", Counted(most)),
            Self { least, most: Some(most) } => write!(f, "{least} to {most} times"),
        }
    }
}

/// A number of times, in words.
pub(crate) struct Counted(pub(crate) usize);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("never"),
            1 => f.write_str("once"),
            times => write!(f, "{times} times"),
        }
    }
}

impl From<usize> for Times {
    fn from(times: usize) -> Self {
        Self { least: times, most: Some(times) }
    }
}

impl From<RangeFrom<usize>> for Times {
    fn from(range: RangeFrom<usize>) -> Self {
        Self { least: range.start, most: None }
    }
}

impl From<RangeInclusive<usize>> for Times {
    fn from(range: RangeInclusive<usize>) -> Self {
        Self { least: *range.start(), most: Some(*range.end()) }
    }
}

impl From<Range<usize>> for Times {
    fn from(range: Range<usize>) -> Self {
        match range.end.checked_sub(1) {
            Some(most) => Self { least: range.start, most: Some(most) },
            None => Self { least: 1, most: Some(0) },
        }
    }
}

impl From<RangeToInclusive<usize>> for Times {
    fn from(range: RangeToInclusive<usize>) -> Self {
        Self { least: 0, most: Some(range.end) }
    }
}

impl From<RangeTo<usize>> for Times {
    fn from(range: RangeTo<usize>) -> Self {
        (0..range.end).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_hold_what_they_say() {
        let held = |times: Times| (0..5).filter(|n| times.holds(*n)).collect::<Vec<_>>();
        assert_eq!(held(2.into()), [2]);
        assert_eq!(held((1..).into()), [1, 2, 3, 4]);
        assert_eq!(held((1..3).into()), [1, 2]);
        assert_eq!(held((1..=3).into()), [1, 2, 3]);
        assert_eq!(held((..2).into()), [0, 1]);
        assert_eq!(held((..=2).into()), [0, 1, 2]);
        for empty in [Times::from(2..2), (..0).into(), Times { least: 3, most: Some(1) }] {
            assert!(empty.is_empty() && held(empty).is_empty(), "{empty:?}");
        }
        assert!(!Times::from(0).is_empty());
    }

    #[test]
    fn they_are_said_in_words() {
        let said = [Times::from(0), 1.into(), 2.into(), (1..).into(), (..=2).into(), (2..4).into()];
        let said = said.map(|times| times.to_string());
        assert_eq!(said, ["never", "once", "2 times", "at least once", "at most 2 times", "2 to 3 times"]);
    }
}
