//! What a fixture asks of a request.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::HeaderName;
use portunus_auth_core::{BearerToken, Dialect};
use serde_json::Value;

use crate::capture::Recorded;
use crate::subject::Subject;

#[derive(Clone)]
pub(crate) enum Condition {
    Model(String),
    Dialect(Dialect),
    Key(BearerToken),
    User(Text),
    System(String),
    Header(HeaderName, String),
    Temperature(RangeInclusive<f64>),
    Metadata(String, String),
    OffersTool(String),
    WantsJson,
    /// An RFC 6901 pointer, and what must be there; `None`: anything.
    Pointer(String, Option<Value>),
    ToolResult(Option<String>),
    Turn(usize),
    Predicate(Arc<dyn Fn(&Recorded) -> bool + Send + Sync>),
}

#[derive(Clone, Debug)]
pub(crate) enum Text {
    Is(String),
    Contains(String),
}

impl Condition {
    pub(crate) fn holds(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Model(model) => subject.call.model == *model,
            Self::Dialect(dialect) => subject.dialect == *dialect,
            Self::Key(wanted) => subject.key.is_some_and(|key| key.expose() == wanted.expose()),
            Self::User(Text::Is(text)) => subject.call.user_text == *text,
            Self::User(Text::Contains(text)) => subject.call.user_text.contains(text),
            Self::System(text) => subject.system().contains(text),
            Self::Header(name, text) => {
                let values = subject.seen.headers_with_secrets().get_all(name).iter();
                values.filter_map(|value| value.to_str().ok()).any(|value| value.contains(text))
            }
            Self::Temperature(range) => subject.temperature().is_some_and(|asked| range.contains(&asked)),
            Self::Metadata(name, value) => subject.body()["metadata"][name] == **value,
            Self::OffersTool(name) => subject.offers_tool(name),
            Self::WantsJson => subject.wants_json(),
            Self::Pointer(pointer, wanted) => match (subject.body().pointer(pointer), wanted) {
                (Some(found), Some(wanted)) => found == wanted,
                (found, None) => found.is_some(),
                (None, Some(_)) => false,
            },
            Self::ToolResult(None) => subject.call.answers_tool,
            Self::ToolResult(Some(text)) => subject.tool_result().is_some_and(|result| result.contains(text)),
            Self::Turn(turn) => subject.turn() == *turn,
            Self::Predicate(predicate) => predicate(subject.seen),
        }
    }

    /// What can never hold, or always does.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let empty = match self {
            Self::User(Text::Contains(text))
            | Self::System(text)
            | Self::Header(_, text)
            | Self::ToolResult(Some(text))
            | Self::OffersTool(text) => text.is_empty(),
            _ => false,
        };
        match self {
            _ if empty => Some("an empty text would match everything; leave the condition out to say so"),
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
            Self::ToolResult(_) => "tool's result",
            Self::Turn(_) => "turn",
            Self::Predicate(_) => "predicate",
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}
