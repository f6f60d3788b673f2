//! What a fixture asks of a request.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::HeaderName;
use portunus_auth_core::{BearerToken, Dialect};
use serde_json::Value;

use crate::capture::Recorded;
use crate::subject::Subject;
use crate::text::Text;

#[derive(Clone)]
pub(crate) enum Condition {
    Model(Text),
    Dialect(Dialect),
    Key(BearerToken),
    User(Text),
    System(Text),
    Header(HeaderName, Text),
    Temperature(RangeInclusive<f64>),
    Metadata(String, Text),
    OffersTool(Text),
    WantsJson,
    /// An RFC 6901 pointer, and what must be there; `None`: anything.
    Pointer(String, Option<Value>),
    #[cfg(feature = "fixtures")]
    JsonPath(serde_json_path::JsonPath),
    ToolResult(Option<Text>),
    Turn(usize),
    Predicate(Arc<dyn Fn(&Recorded) -> bool + Send + Sync>),
}

impl Condition {
    pub(crate) fn holds(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Model(text) => text.holds(&subject.call.model),
            Self::Dialect(dialect) => subject.dialect == *dialect,
            Self::Key(wanted) => subject.key.is_some_and(|key| key.expose() == wanted.expose()),
            Self::User(text) => text.holds(&subject.call.user_text),
            Self::System(text) => text.holds(&subject.system()),
            Self::Header(name, text) => {
                let values = subject.seen.headers_with_secrets().get_all(name).iter();
                values.filter_map(|value| value.to_str().ok()).any(|value| text.holds(value))
            }
            Self::Temperature(range) => subject.temperature().is_some_and(|asked| range.contains(&asked)),
            Self::Metadata(name, text) => {
                subject.body()["metadata"][name].as_str().is_some_and(|value| text.holds(value))
            }
            Self::OffersTool(text) => subject.offers_tool(text),
            Self::WantsJson => subject.wants_json(),
            Self::Pointer(pointer, wanted) => match (subject.body().pointer(pointer), wanted) {
                (Some(found), Some(wanted)) => found == wanted,
                (found, None) => found.is_some(),
                (None, Some(_)) => false,
            },
            #[cfg(feature = "fixtures")]
            Self::JsonPath(path) => path.query(subject.body()).iter().any(|found| !found.is_null()),
            Self::ToolResult(None) => subject.call.answers_tool,
            Self::ToolResult(Some(text)) => subject.tool_result().is_some_and(|result| text.holds(&result)),
            Self::Turn(turn) => subject.turn() == *turn,
            Self::Predicate(predicate) => predicate(subject.seen),
        }
    }

    /// What can never hold, or always does.
    pub(crate) fn problem(&self) -> Option<&str> {
        match self {
            Self::Model(text)
            | Self::User(text)
            | Self::System(text)
            | Self::Header(_, text)
            | Self::Metadata(_, text)
            | Self::OffersTool(text)
            | Self::ToolResult(Some(text)) => text.problem(),
            // A NaN makes a range empty, too.
            Self::Temperature(range) if range.is_empty() => Some("no temperature is in that range"),
            Self::Pointer(pointer, _) if !pointer.is_empty() && !pointer.starts_with('/') => {
                Some("a JSON pointer begins with a slash")
            }
            Self::Turn(0) => Some("turns are counted from 1"),
            _ => None,
        }
    }

    /// What kind of condition it is, without what it holds.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Model(_) => "model",
            Self::Dialect(_) => "dialect",
            Self::Key(_) => "key",
            Self::User(_) => "user's text",
            Self::System(_) => "system's text",
            Self::Header(..) => "header",
            Self::Temperature(_) => "temperature",
            Self::Metadata(..) => "metadata",
            Self::OffersTool(_) => "offered tool",
            Self::WantsJson => "JSON output",
            Self::Pointer(..) => "JSON pointer",
            #[cfg(feature = "fixtures")]
            Self::JsonPath(_) => "JSONPath",
            Self::ToolResult(_) => "tool's result",
            Self::Turn(_) => "turn",
            Self::Predicate(_) => "predicate",
        }
    }
}

/// How deep brackets may be nested in an RFC 9535 query: the parser's time doubles with each.
#[cfg(feature = "fixtures")]
const NESTED: usize = 10;

/// Reads an RFC 9535 query.
#[cfg(feature = "fixtures")]
pub(crate) fn json_path(path: &str) -> Result<serde_json_path::JsonPath, String> {
    let mut open = 0_usize;
    for letter in path.chars() {
        match letter {
            '(' | '[' => open += 1,
            ')' | ']' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > NESTED {
            return Err(format!("a JSONPath is nested at most {NESTED} deep"));
        }
    }
    serde_json_path::JsonPath::parse(path).map_err(|error| format!("that is no JSONPath (RFC 9535): {error}"))
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}
