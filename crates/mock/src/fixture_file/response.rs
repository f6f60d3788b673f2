//! What a file replies.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::value::{Limits, Nonempty, with};
use crate::reply::{Reply, Stop};
use crate::template::Template;

/// A reply.
#[derive(Deserialize)]
#[serde(try_from = "RawResponse")]
pub(super) struct Response(pub(super) Reply);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawResponse {
    content: Option<String>,
    content_template: Option<Source>,
    tool_calls: Option<Vec<Call>>,
    parts: Option<Vec<Part>>,
    embedding: Option<Vec<f32>>,
    stop_reason: Option<Finish>,
    finish_reason: Option<Finish>,
    usage: Option<Usage>,
    id: Option<String>,
    model: Option<String>,
    fingerprint: Option<String>,
    rate_limits: Option<Limits>,
}

/// A part of a reply.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Text(String),
    Template(Source),
    Thinking(String),
    Refusal(String),
    ToolCall(Call),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    name: Nonempty,
    #[serde(default)]
    arguments: Arguments,
}

#[derive(Default, Deserialize)]
#[serde(try_from = "Value")]
struct Arguments(Map<String, Value>);

impl TryFrom<Value> for Arguments {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, &'static str> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err("a tool's arguments are an object, as in `{city: Paris}`"),
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Source(Template);

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(source: String) -> Result<Self, String> {
        Template::new(source).map(Self)
    }
}

/// Why a reply ends, in any provider's word for it.
#[derive(Clone, Copy, Deserialize, PartialEq)]
enum Finish {
    #[serde(rename = "stop", alias = "STOP", alias = "end_turn", alias = "completed")]
    Complete,
    #[serde(rename = "tool_calls", alias = "tool_use")]
    Tool,
    #[serde(rename = "length", alias = "max_tokens", alias = "MAX_TOKENS", alias = "max_output_tokens")]
    MaxTokens,
    #[serde(rename = "content_filter", alias = "SAFETY", alias = "content_filtered")]
    ContentFilter,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Usage {
    input: u64,
    output: u64,
    #[serde(default)]
    cache_read: u64,
    #[serde(default)]
    cache_written: u64,
    reasoning: Option<u64>,
}

impl TryFrom<RawResponse> for Response {
    type Error = &'static str;

    fn try_from(raw: RawResponse) -> Result<Self, &'static str> {
        let (content, template) = (raw.content.map(Part::Text), raw.content_template.map(Part::Template));
        let calls = raw.tool_calls;
        let empty =
            calls.as_ref().is_some_and(Vec::is_empty) || raw.parts.as_ref().is_some_and(Vec::is_empty);
        let parts = match (content, template, calls, raw.parts) {
            _ if empty => return Err("an empty list says nothing; leave it out"),
            (None, None, None, Some(parts)) => parts,
            (_, _, _, Some(_)) => return Err("`parts` are the whole reply; put the rest into them"),
            (Some(_), Some(_), ..) => return Err("say `content` or `content_template`, not both"),
            (None, None, None, None) if raw.embedding.is_none() => {
                return Err(
                    "a response has `content`, `content_template`, `tool_calls`, `parts` or `embedding`",
                );
            }
            (content, template, calls, None) => {
                let text = content.or(template);
                text.into_iter().chain(calls.into_iter().flatten().map(Part::ToolCall)).collect()
            }
        };
        let calls = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
        let mut reply = parts.into_iter().fold(Reply::new(), Part::add);
        match raw.stop_reason.or(raw.finish_reason) {
            None => {}
            Some(Finish::Complete) if calls => {
                return Err("a reply that calls a tool ends with `tool_calls`");
            }
            Some(Finish::Tool) if !calls => return Err("a reply that ends with `tool_calls` calls a tool"),
            Some(Finish::Complete | Finish::Tool) => {}
            Some(Finish::MaxTokens) => reply = reply.stop(Stop::MaxTokens),
            Some(Finish::ContentFilter) => reply = reply.stop(Stop::ContentFilter),
        }
        if let Some(usage) = raw.usage {
            reply =
                reply.usage(usage.input, usage.output).cached_tokens(usage.cache_read, usage.cache_written);
            reply = with(reply, usage.reasoning, Reply::reasoning_tokens);
        }
        reply = with(reply, raw.embedding, Reply::embedding);
        reply = with(reply, raw.id, Reply::id);
        reply = with(reply, raw.model, Reply::model);
        reply = with(reply, raw.fingerprint, Reply::fingerprint);
        reply = with(reply, raw.rate_limits, |reply, limits| reply.rate_limits(limits.into()));
        Ok(Self(reply))
    }
}

impl Part {
    fn add(reply: Reply, part: Self) -> Reply {
        match part {
            Self::Text(text) => reply.text(text),
            Self::Template(Source(template)) => reply.made_by(template),
            Self::Thinking(text) => reply.thinking(text),
            Self::Refusal(text) => reply.refusal(text),
            Self::ToolCall(call) => reply.tool_call(call.name.0, call.arguments.0),
        }
    }
}

/// A refusal to answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusal {
    pub(super) reason: Nonempty,
}
