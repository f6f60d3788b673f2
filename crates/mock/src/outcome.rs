//! What the fixtures made of a request.

use std::fmt;
use std::sync::Arc;

/// What the fixtures made of a request.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The fixture of that name answered.
    Answered(Arc<str>),
    /// None did. The nearest is not there if the last one was removed just then.
    Unmatched(Option<Nearest>),
    /// The path is no route, so that none was asked.
    NoRoute,
}

/// The fixture of which the fewest conditions failed.
#[derive(Clone, Debug)]
pub(crate) struct Nearest {
    pub(crate) name: Arc<str>,
    /// The kinds of those conditions, which hold nothing of the request.
    pub(crate) failed: Vec<&'static str>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(name) => write!(f, "answered by `{name}`"),
            Self::NoRoute => f.write_str("no such route"),
            Self::Unmatched(None) => f.write_str("no fixture matched"),
            Self::Unmatched(Some(Nearest { name, failed })) if failed.is_empty() => {
                write!(
                    f,
                    "no fixture matched; `{name}` would, but it is used up, waits for a state or was not drawn"
                )
            }
            Self::Unmatched(Some(Nearest { name, failed })) => {
                write!(f, "no fixture matched; the nearest, `{name}`, asks for another {}", failed.join(", "))
            }
        }
    }
}
