//! Anthropic's messages.

use portunus_auth_core::dialect::Operation;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::Failure;
use super::super::call::{Call, Content, Message, Tool, parse, texts};
use super::super::completion::{Completion, Finish};
use super::super::provider::{self, About, Worded};
use super::super::stream::Stream;
use super::{Asked, Wire};
use crate::answer::write;
use crate::reply::Part;

pub(super) struct Messages;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(default)]
    model: String,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    max_tokens: Option<u64>,
    stream: Option<bool>,
    #[serde(default, borrow)]
    system: Content<'a>,
    tools: Option<Vec<DeclaredTool>>,
}

#[derive(Deserialize)]
struct DeclaredTool {
    name: String,
    r#type: Option<String>,
    input_schema: Option<Box<RawValue>>,
}

impl DeclaredTool {
    /// Whether the caller runs it, and not Anthropic.
    fn is_custom(&self) -> bool {
        self.r#type.as_deref().is_none_or(|kind| kind == "custom")
    }
}

impl Wire for Messages {
    fn read(&self, body: &[u8], asked: &Asked<'_>) -> Result<Call, Failure> {
        let mut request: Request<'_> = parse(body)?;
        let model = asked.model.map_or(request.model, str::to_owned);
        if model.is_empty() || request.messages.is_empty() {
            return Err(Failure::new(400, "`model` and `messages` must not be empty"));
        }
        let counts = asked.operation == Operation::CountMessageTokens;
        if !counts && request.max_tokens.unwrap_or(0) == 0 {
            return Err(Failure::new(400, "max_tokens: Field required"));
        }
        let answers_tool = request.messages.last().is_some_and(|last| last.content.tool_result);
        let (user_text, bytes) = texts(&mut request.messages);
        Ok(Call {
            model,
            stream: match asked.operation {
                Operation::Messages => request.stream.unwrap_or(false),
                other => {
                    matches!(other, Operation::StreamRawPredict | Operation::InvokeModelWithResponseStream)
                }
            },
            include_usage: false,
            user_text,
            answers_tool,
            tool: (request.tools.into_iter().flatten())
                .find(DeclaredTool::is_custom)
                .map(|tool| Tool { name: tool.name, schema: tool.input_schema }),
            input_bytes: bytes + request.system.bytes(),
        })
    }

    fn json(&self, reply: &Completion<'_>) -> Vec<u8> {
        let usage = Usage::of(reply, reply.usage.output);
        let content = reply.parts.iter().map(|part| block(reply, part)).collect();
        write(&Answer { content, stop_reason: Some(stop_reason(reply)), ..Answer::empty(reply, usage) })
    }

    fn stream(&self, reply: &Completion<'_>, into: &mut Stream) {
        // What it will cost is not known yet.
        let message = Answer::empty(reply, Usage::of(reply, 1));
        into.event("message_start", &Event::MessageStart { message });
        for (index, part) in reply.parts.iter().enumerate() {
            let content_block = start(reply, part);
            into.event("content_block_start", &Event::ContentBlockStart { index, content_block });
            if index == 0 {
                into.event("ping", &Event::Ping {});
            }
            let mut add = |delta| {
                into.event("content_block_delta", &Event::ContentBlockDelta { index, delta });
            };
            match part {
                Part::Text(text) | Part::Refusal(text) => {
                    reply.pieces(text).for_each(|text| add(Delta::Text { text }));
                }
                Part::Thinking { text, signature } => {
                    reply.pieces(text).for_each(|thinking| add(Delta::Thinking { thinking }));
                    add(Delta::Signature { signature });
                }
                Part::Tool { arguments, .. } => {
                    let pieces = reply.pieces(arguments.get());
                    pieces.for_each(|partial_json| add(Delta::InputJson { partial_json }));
                }
            }
            into.event("content_block_stop", &Event::ContentBlockStop { index });
        }
        let delta = StopDelta { stop_reason: stop_reason(reply), stop_sequence: () };
        let usage = OutputUsage { output_tokens: reply.usage.output };
        into.event("message_delta", &Event::MessageDelta { delta, usage });
        into.event("message_stop", &Event::MessageStop {});
    }

    fn broken(&self, _: &Completion<'_>, error: &Worded<'_>, _: &About<'_>, into: &mut Stream) {
        let kind = provider::anthropic_kind(error.status);
        into.event(
            "error",
            &Event::Error { error: Error { details: (), r#type: kind, message: error.message } },
        );
    }
}

/// A whole block.
fn block<'a>(reply: &Completion<'_>, part: &'a Part) -> Block<'a> {
    match part {
        Part::Text(text) | Part::Refusal(text) => Block::Text { text },
        Part::Thinking { text, signature } => Block::Thinking { thinking: text, signature },
        Part::Tool { name, arguments } => {
            Block::ToolUse { id: reply.ids.tool_use(), name, input: Input::Whole(arguments) }
        }
    }
}

/// A block before anything was added to it.
fn start<'a>(reply: &Completion<'_>, part: &'a Part) -> Block<'a> {
    match part {
        Part::Text(_) | Part::Refusal(_) => Block::Text { text: "" },
        Part::Thinking { .. } => Block::Thinking { thinking: "", signature: "" },
        Part::Tool { name, .. } => {
            Block::ToolUse { id: reply.ids.tool_use(), name, input: Input::Nothing {} }
        }
    }
}

fn stop_reason(reply: &Completion<'_>) -> &'static str {
    match reply.finish {
        Finish::Complete => "end_turn",
        Finish::Tool => "tool_use",
        Finish::MaxTokens => "max_tokens",
        Finish::Refusal | Finish::ContentFilter => "refusal",
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Block<'a>>,
    stop_reason: Option<&'static str>,
    stop_sequence: (),
    usage: Usage,
}

impl<'a> Answer<'a> {
    fn empty(reply: &'a Completion<'_>, usage: Usage) -> Self {
        Self {
            id: reply.id(|ids| ids.message()),
            r#type: "message",
            role: "assistant",
            model: reply.model,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: (),
            usage,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'a str },
    Thinking { thinking: &'a str, signature: &'a str },
    ToolUse { id: String, name: &'a str, input: Input<'a> },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Input<'a> {
    Whole(&'a RawValue),
    Nothing {},
}

#[derive(Serialize)]
struct Usage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    service_tier: &'static str,
}

impl Usage {
    /// Anthropic counts what the cache gave or took apart from the rest of the input.
    fn of(reply: &Completion<'_>, output_tokens: u64) -> Self {
        let used = reply.usage;
        Self {
            input_tokens: used.input - used.cache_read - used.cache_written,
            cache_creation_input_tokens: used.cache_written,
            cache_read_input_tokens: used.cache_read,
            output_tokens,
            service_tier: "standard",
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    MessageStart { message: Answer<'a> },
    ContentBlockStart { index: usize, content_block: Block<'a> },
    Ping {},
    ContentBlockDelta { index: usize, delta: Delta<'a> },
    ContentBlockStop { index: usize },
    MessageDelta { delta: StopDelta, usage: OutputUsage },
    MessageStop {},
    Error { error: Error<'a> },
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

#[derive(Serialize)]
struct StopDelta {
    stop_reason: &'static str,
    stop_sequence: (),
}

#[derive(Serialize)]
struct OutputUsage {
    output_tokens: u64,
}

#[derive(Serialize)]
struct Error<'a> {
    details: (),
    r#type: &'static str,
    message: &'a str,
}
