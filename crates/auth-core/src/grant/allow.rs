//! Sets and limits whose emptiness never means everything.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::sync::Arc;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Pattern;

/// Either everything, said explicitly, or a set. `Only` the empty set admits nothing.
///
/// Written as `"all"` or as a list.
/// Clones share the set.
#[derive(Debug, PartialEq, Eq, Hash)]
pub enum Allow<T: Ord> {
    /// Everything.
    All,
    /// These, and nothing else.
    Only(Arc<BTreeSet<T>>),
}

impl<T: Ord> Clone for Allow<T> {
    fn clone(&self) -> Self {
        match self {
            Self::All => Self::All,
            Self::Only(set) => Self::Only(set.clone()),
        }
    }
}

impl<T: Ord> Allow<T> {
    /// Admits nothing.
    pub fn none() -> Self {
        Self::only([])
    }

    /// Admits these.
    pub fn only(items: impl IntoIterator<Item = T>) -> Self {
        Self::Only(Arc::new(items.into_iter().collect()))
    }

    /// Whether it can admit nothing at all.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Only(set) if set.is_empty())
    }
}

impl Allow<Pattern> {
    /// Whether the name is admitted.
    pub fn admits(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => patterns.iter().any(|pattern| pattern.matches(name)),
        }
    }

    /// Whether it admits every name that `other` admits, as far as patterns can say it: a pattern must be
    /// covered by a single one of these.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(mine), Self::Only(theirs)) => {
                theirs.iter().all(|pattern| mine.iter().any(|own| own.covers(pattern)))
            }
        }
    }

    /// What both sides admit, as far as patterns can say it, and never more: of two patterns of which
    /// one covers the other, the narrower; two patterns that merely overlap have no common pattern.
    #[must_use]
    pub fn narrow(&self, to: &Self) -> Self {
        let (mine, theirs) = match (self, to) {
            (Self::All, other) | (other, Self::All) => return other.clone(),
            (Self::Only(mine), Self::Only(theirs)) => (mine, theirs),
        };
        let within = |set: &BTreeSet<Pattern>, p: &Pattern| set.iter().any(|other| other.covers(p));
        let asked = theirs.iter().filter(|p| within(mine, p));
        let granted = mine.iter().filter(|p| within(theirs, p));
        Self::only(asked.chain(granted).cloned())
    }
}

impl<T: Ord + Serialize> Serialize for Allow<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => to.serialize_str("all"),
            Self::Only(set) => to.collect_seq(&**set),
        }
    }
}

impl<'de, T: Ord + Deserialize<'de>> Deserialize<'de> for Allow<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AllOrList<T>(PhantomData<T>);

        impl<'de, T: Ord + Deserialize<'de>> Visitor<'de> for AllOrList<T> {
            type Value = Allow<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list, or \"all\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Allow<T>, E> {
                if text == "all" {
                    Ok(Allow::All)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Allow<T>, A::Error> {
                let mut set = BTreeSet::new();
                while let Some(item) = items.next_element()? {
                    set.insert(item);
                }
                Ok(Allow::Only(Arc::new(set)))
            }
        }

        from.deserialize_any(AllOrList(PhantomData))
    }
}

/// Either no limit, said explicitly, or a number that is not zero.
///
/// Written as `"unlimited"` or as a positive number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// No limit.
    Unlimited,
    /// At most this many.
    At(NonZeroU64),
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unlimited => to.serialize_str("unlimited"),
            Self::At(n) => to.serialize_u64(n.get()),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NumberOrUnlimited;

        impl Visitor<'_> for NumberOrUnlimited {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of 1 or more, or \"unlimited\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Limit, E> {
                if text == "unlimited" {
                    Ok(Limit::Unlimited)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Limit, E> {
                let n =
                    NonZeroU64::new(n).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(n), &self))?;
                Ok(Limit::At(n))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Limit, E> {
                let unsigned =
                    u64::try_from(n).map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))?;
                self.visit_u64(unsigned)
            }
        }

        from.deserialize_any(NumberOrUnlimited)
    }
}
