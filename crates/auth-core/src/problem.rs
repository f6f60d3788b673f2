//! What is wrong with a configuration, and where.

use std::fmt;

/// Something in a configuration that a person must mend.
///
/// Whoever holds the file turns `at` into file, line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The place: keys and list positions joined by dots, such as `issuers.0.issuer`.
    pub at: String,
    /// What is wrong and what to do. Never a secret's text.
    pub says: String,
}

impl ConfigProblem {
    /// A problem at that place.
    pub fn new(at: impl Into<String>, says: impl fmt::Display) -> Self {
        Self { at: at.into(), says: says.to_string() }
    }

    /// The same problem, with its place below `outer`.
    #[must_use]
    pub fn below(mut self, outer: &str) -> Self {
        self.at = if self.at.is_empty() { outer.to_owned() } else { format!("{outer}.{}", self.at) };
        self
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() { f.write_str(&self.says) } else { write!(f, "{}: {}", self.at, self.says) }
    }
}

impl std::error::Error for ConfigProblem {}
