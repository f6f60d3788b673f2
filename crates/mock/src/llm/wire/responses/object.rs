//! The response object and the events in which it comes, with every member that typed clients need.

use serde::Serialize;

use super::super::super::completion::{Completion, Finish};
use crate::reply::Part;

/// An item of a response's output, before it is written.
pub(super) enum Output<'a> {
    Message { id: String, parts: &'a [Part] },
    Call { id: String, call_id: String, name: &'a str, arguments: &'a str },
    Reasoning { id: String, text: &'a str },
}

impl Output<'_> {
    /// The item before anything was added to it.
    pub(super) fn begun(&self) -> Item<'_> {
        let status = "in_progress";
        match self {
            Self::Message { id, .. } => Item::Message { id, status, role: "assistant", content: Vec::new() },
            Self::Call { id, call_id, name, .. } => {
                Item::FunctionCall { id, call_id, status, name, arguments: "" }
            }
            Self::Reasoning { id, .. } => Item::Reasoning { id, summary: Vec::new() },
        }
    }

    pub(super) fn done(&self) -> Item<'_> {
        let status = "completed";
        match self {
            Self::Message { id, parts } => {
                let content = parts.iter().map(|part| {
                    let (text, refusal) = said(part);
                    Content::of(text, refusal)
                });
                Item::Message { id, status, role: "assistant", content: content.collect() }
            }
            Self::Call { id, call_id, name, arguments } => {
                Item::FunctionCall { id, call_id, status, name, arguments }
            }
            Self::Reasoning { id, text } => {
                Item::Reasoning { id, summary: vec![Content::SummaryText { text }] }
            }
        }
    }
}

/// The text of a part of a message, and whether it refuses to answer.
pub(super) fn said(part: &Part) -> (&str, bool) {
    match part {
        Part::Text(text) => (text, false),
        Part::Refusal(text) => (text, true),
        Part::Thinking { .. } | Part::Tool { .. } => ("", false),
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item<'a> {
    Message { id: &'a str, status: &'static str, role: &'static str, content: Vec<Content<'a>> },
    FunctionCall { id: &'a str, call_id: &'a str, status: &'static str, name: &'a str, arguments: &'a str },
    Reasoning { id: &'a str, summary: Vec<Content<'a>> },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Content<'a> {
    OutputText { text: &'a str, annotations: [(); 0], logprobs: [(); 0] },
    Refusal { refusal: &'a str },
    SummaryText { text: &'a str },
}

impl<'a> Content<'a> {
    pub(super) fn of(text: &'a str, refusal: bool) -> Self {
        if refusal {
            Self::Refusal { refusal: text }
        } else {
            Self::OutputText { text, annotations: [], logprobs: [] }
        }
    }
}

#[derive(Serialize)]
pub(super) struct Response<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    pub(super) status: &'static str,
    background: bool,
    error: Option<ResponseError<'a>>,
    incomplete_details: Option<IncompleteDetails>,
    instructions: (),
    max_output_tokens: (),
    metadata: Metadata,
    model: &'a str,
    output: Vec<Item<'a>>,
    parallel_tool_calls: bool,
    previous_response_id: (),
    reasoning: Reasoning,
    service_tier: &'static str,
    store: bool,
    temperature: f32,
    text: Text,
    tool_choice: &'static str,
    tools: [(); 0],
    top_p: f32,
    truncation: &'static str,
    usage: Option<Usage>,
    user: (),
}

#[derive(Serialize)]
struct Metadata {}

#[derive(Serialize)]
struct Reasoning {
    effort: (),
    summary: (),
}

#[derive(Serialize)]
struct Text {
    format: Format,
}

#[derive(Serialize)]
struct Format {
    r#type: &'static str,
}

#[derive(Serialize)]
struct ResponseError<'a> {
    code: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct IncompleteDetails {
    reason: &'static str,
}

impl<'a> Response<'a> {
    /// A response of which nothing is there yet.
    pub(super) fn begun(reply: &'a Completion<'_>) -> Self {
        Self {
            id: reply.id(|ids| ids.response()),
            object: "response",
            created_at: reply.created,
            status: "in_progress",
            background: false,
            error: None,
            incomplete_details: None,
            instructions: (),
            max_output_tokens: (),
            metadata: Metadata {},
            model: reply.model,
            output: Vec::new(),
            parallel_tool_calls: true,
            previous_response_id: (),
            reasoning: Reasoning { effort: (), summary: () },
            service_tier: "default",
            store: true,
            temperature: 1.0,
            text: Text { format: Format { r#type: "text" } },
            tool_choice: "auto",
            tools: [],
            top_p: 1.0,
            truncation: "disabled",
            usage: None,
            user: (),
        }
    }

    pub(super) fn finished(reply: &'a Completion<'_>, outputs: &'a [Output<'_>]) -> Self {
        let reason = match reply.finish {
            Finish::MaxTokens => Some("max_output_tokens"),
            Finish::ContentFilter => Some("content_filter"),
            Finish::Complete | Finish::Tool | Finish::Refusal => None,
        };
        Self {
            status: if reason.is_some() { "incomplete" } else { "completed" },
            incomplete_details: reason.map(|reason| IncompleteDetails { reason }),
            output: outputs.iter().map(Output::done).collect(),
            usage: Some(Usage::of(reply)),
            ..Self::begun(reply)
        }
    }

    pub(super) fn failed(reply: &'a Completion<'_>, code: &'static str, message: &'a str) -> Self {
        Self { status: "failed", error: Some(ResponseError { code, message }), ..Self::begun(reply) }
    }
}

#[derive(Serialize)]
struct Usage {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl Usage {
    fn of(reply: &Completion<'_>) -> Self {
        let used = reply.usage;
        Self {
            input_tokens: used.input,
            input_tokens_details: InputDetails { cached_tokens: used.cache_read },
            output_tokens: used.output,
            output_tokens_details: OutputDetails { reasoning_tokens: used.reasoning },
            total_tokens: used.input + used.output,
        }
    }
}

/// One event; its type says which members it has.
#[derive(Default, Serialize)]
pub(super) struct Event<'a> {
    pub(super) r#type: &'static str,
    pub(super) sequence_number: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<&'a Response<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<&'a Item<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<[(); 0]>,
}

impl Event<'_> {
    pub(super) fn of(r#type: &'static str) -> Self {
        Self { r#type, ..Self::default() }
    }
}

/// The error that ends a stream without ending its response.
#[derive(Serialize)]
pub(super) struct Failed<'a> {
    r#type: &'static str,
    error: FailedError<'a>,
}

#[derive(Serialize)]
struct FailedError<'a> {
    r#type: &'static str,
    code: &'static str,
    message: &'a str,
}

impl<'a> Failed<'a> {
    pub(super) fn overloaded(message: &'a str) -> Self {
        let (r#type, code) = ("service_unavailable_error", "server_is_overloaded");
        Self { r#type: "error", error: FailedError { r#type, code, message } }
    }
}
