//! How a text is compared.

use regex_lite::{Regex, RegexBuilder};

/// How many bytes a compiled pattern may take; counted repetitions multiply.
const PATTERN_BYTES: usize = 1 << 20;

/// How a text is compared: as a whole, by a part, or by a pattern. A plain string is the whole text.
///
/// ```
/// use portunus_mock::{Fixture, Text};
///
/// let fixture = Fixture::new()
///     .on_model(Text::contains("gpt-4"))
///     .user(Text::matches(r"(?i)weather in \w+"));
/// # let _ = fixture;
/// ```
#[derive(Clone, Debug)]
pub struct Text(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Is(String),
    Contains(String),
    Matches(Regex),
    /// What is wrong with it.
    Unusable(String),
}

impl Text {
    /// Exactly that text.
    pub fn is(text: impl Into<String>) -> Self {
        Self(Kind::Is(text.into()))
    }

    /// That text somewhere in it, in the same case. An empty one is refused when the server is built.
    pub fn contains(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.is_empty() {
            return Self(unusable("an empty text would match everything"));
        }
        Self(Kind::Contains(text))
    }

    /// A regular expression that matches somewhere in it, in the syntax of the crate `regex-lite`: its
    /// classes and cases are ASCII's, and its time grows with the text's length only. One that is invalid,
    /// empty or too large is refused when the server is built.
    pub fn matches(pattern: &str) -> Self {
        if pattern.is_empty() {
            return Self(unusable("an empty regular expression matches every text"));
        }
        Self(match RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build() {
            Ok(regex) => Kind::Matches(regex),
            Err(error) => Kind::Unusable(format!("the regular expression cannot be used: {error}")),
        })
    }

    /// What has to be in it, if that is all.
    pub(crate) fn part(&self) -> Option<&str> {
        if let Kind::Contains(part) = &self.0 { Some(part) } else { None }
    }

    pub(crate) fn holds(&self, text: &str) -> bool {
        match &self.0 {
            Kind::Is(whole) => whole == text,
            Kind::Contains(part) => text.contains(part),
            Kind::Matches(regex) => regex.is_match(text),
            Kind::Unusable(_) => false,
        }
    }

    /// What makes it impossible, or always true, if anything does.
    pub(crate) fn problem(&self) -> Option<&str> {
        match &self.0 {
            Kind::Unusable(says) => Some(says),
            _ => None,
        }
    }
}

fn unusable(says: &str) -> Kind {
    Kind::Unusable(format!("{says}; leave the condition out to say so"))
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::is(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::is(text)
    }
}
