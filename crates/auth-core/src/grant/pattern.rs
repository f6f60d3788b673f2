//! Names with `*` for any text.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name, or a glob in which `*` stands for any text, also none. Case matters.
///
/// 1 to 256 characters, none of them white space or a control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Pattern(Box<str>);

/// The text cannot be a [`Pattern`].
#[derive(Debug, thiserror::Error)]
#[error("a pattern has 1 to 256 characters and no white space; `*` stands for any text")]
pub struct BadPattern;

impl Pattern {
    /// Checks the text.
    ///
    /// # Errors
    /// [`BadPattern`] when it is empty, too long, or has white space or control characters.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if text.is_empty() || text.len() > 256 || text.contains(bad) {
            return Err(BadPattern);
        }
        Ok(Self(text.into()))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is one of those meant.
    pub fn matches(&self, name: &str) -> bool {
        glob(self.0.as_bytes(), name.as_bytes())
    }

    /// Whether every name that `other` means is meant by this pattern too.
    ///
    /// Reads `other` as a name in which its `*` is a letter that only our own `*` can match, which is
    /// exact because no pattern can say "any text but".
    pub fn covers(&self, other: &Self) -> bool {
        glob(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Matches without recursion: after a mismatch only the latest `*` takes one byte more, so the time is
/// at most `pattern.len() * text.len()`, whatever a caller sends.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        // The order matters for `covers`: a `*` in the text is only ever eaten by a `*` here.
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((after_star, from)) = retry {
            retry = Some((after_star, from + 1));
            (p, t) = (after_star, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[test]
    fn stars_match_any_text() {
        for (p, name, hit) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o*", "gpt-4o", true),
            ("gpt-4o*", "gpt-4o-mini", true),
            ("*", "", true),
            ("*mini", "gpt-4o-mini", true),
            ("*mini", "gpt-4o-mini-x", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c", false),
            ("GPT-4o", "gpt-4o", false),
        ] {
            assert_eq!(pattern(p).matches(name), hit, "{p} against {name}");
        }
    }

    #[test]
    fn covering_is_exact_on_stars() {
        for (p, other, covered) in [
            ("gpt-*", "gpt-4o*", true),
            ("gpt-4o*", "gpt-*", false),
            ("*", "a*b", true),
            ("a*b", "*", false),
            ("a*", "a", true),
            ("a*b", "a*c*b", true),
        ] {
            assert_eq!(pattern(p).covers(&pattern(other)), covered, "{p} over {other}");
        }
    }

    #[test]
    fn hostile_patterns_stay_fast() {
        let many_stars = pattern(&"*a".repeat(128));
        assert!(!many_stars.matches(&"a".repeat(100_000).replace('a', "b")));
    }

    #[test]
    fn empty_and_odd_patterns_are_refused() {
        for bad in ["", " ", "a b", "a\n", "a\u{0}", &"x".repeat(257)] {
            assert!(Pattern::new(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whoever_covers_also_matches(p in "[ab*]{1,6}", q in "[ab*]{1,6}", name in "[ab]{0,8}") {
            let (p, q) = (pattern(&p), pattern(&q));
            if p.covers(&q) && q.matches(&name) {
                prop_assert!(p.matches(&name));
            }
        }

        #[test]
        fn matching_agrees_with_the_plain_definition(p in "[ab*]{1,6}", name in "[ab]{0,8}") {
            fn plain(p: &[u8], t: &[u8]) -> bool {
                match p.split_first() {
                    None => t.is_empty(),
                    Some((b'*', rest)) => (0..=t.len()).any(|n| plain(rest, &t[n..])),
                    Some((c, rest)) => t.first() == Some(c) && plain(rest, &t[1..]),
                }
            }
            prop_assert_eq!(pattern(&p).matches(&name), plain(p.as_bytes(), name.as_bytes()));
        }
    }
}
