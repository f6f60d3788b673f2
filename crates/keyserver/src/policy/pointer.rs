//! JSON pointers (RFC 6901), by which a policy names a claim.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

/// The longest pointer, in bytes.
const MAX: usize = 256;

/// A pointer to something inside the claims. Not to all of them, and not to a claim without a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct Pointer(String);

impl Pointer {
    /// The pointer, unless it cannot be meant: it begins with `/`, names a claim, and `~` stands for
    /// nothing but `~0` and `~1`.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let names_a_claim = text.len() > 1 && text.len() <= MAX && text.starts_with('/');
        let escapes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        let first = text.get(1..)?.split('/').next()?;
        (names_a_claim && escapes && !first.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The claim that it points to, or into.
    pub(crate) fn claim(&self) -> String {
        let first = self.0[1..].split('/').next().unwrap_or_default();
        first.replace("~1", "/").replace("~0", "~")
    }

    /// Whether it points to the claim as a whole.
    pub(crate) fn is_whole_claim(&self) -> bool {
        !self.0[1..].contains('/')
    }

    /// What it points to.
    pub(crate) fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let claim = claims.get(&self.claim())?;
        let inside = self.0[1..].find('/').map_or("", |slash| &self.0[1 + slash..]);
        claim.pointer(inside)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_that_cannot_be_meant_is_none() {
        for bad in ["", "/", "a", "a/b", "~", "/~", "/a~", "/a~2", "//a", &format!("/{}", "a".repeat(256))] {
            assert_eq!(Pointer::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn it_finds_what_the_standard_says() {
        let claims = json!({
            "a/b": 1, "m~n": 2, "~1": 3, "list": [{"": 4}], "deep": {"er": {"est": 5}}, "https://x": 6,
        });
        let Value::Object(claims) = claims else { panic!() };
        for (text, claim, number) in [
            ("/a~1b", "a/b", 1),
            ("/m~0n", "m~n", 2),
            ("/~01", "~1", 3),
            ("/list/0/", "list", 4),
            ("/deep/er/est", "deep", 5),
            ("/https:~1~1x", "https://x", 6),
        ] {
            let pointer = Pointer::new(text).unwrap();
            assert_eq!(
                (pointer.claim().as_str(), pointer.find(&claims)),
                (claim, Some(&json!(number))),
                "{text}"
            );
        }
        for absent in ["/deep/est", "/list/1", "/list/00", "/list/-", "/a/b"] {
            assert_eq!(Pointer::new(absent).unwrap().find(&claims), None, "{absent}");
        }
    }
}
