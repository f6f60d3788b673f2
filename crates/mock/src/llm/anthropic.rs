//! Anthropic's messages.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call::{Call, Content, Message, Tool, parse, texts};
use super::ids::Ids;
use super::reply::{Block, Reply};
use super::{Asked, Failure, Refused, Wire};
use crate::answer::write;

pub(super) struct Anthropic;

#[derive(Deserialize)]
struct Request {
    model: String,
    messages: Vec<Message>,
    max_tokens: Option<u64>,
    stream: Option<bool>,
    #[serde(default)]
    system: Content,
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

impl Wire for Anthropic {
    fn read(&self, body: &[u8], asked: Asked) -> Result<Call, Failure> {
        let mut request: Request = parse(body)?;
        if request.model.is_empty() || request.messages.is_empty() {
            return Err(Failure::new(400, "`model` and `messages` must not be empty"));
        }
        if asked == Asked::Completion && request.max_tokens.unwrap_or(0) == 0 {
            return Err(Failure::new(400, "max_tokens: Field required"));
        }
        let answers_tool = request.messages.last().is_some_and(|last| last.content.tool_result);
        let (user_text, bytes) = texts(&mut request.messages);
        Ok(Call {
            model: request.model,
            stream: request.stream.unwrap_or(false),
            include_usage: false,
            user_text,
            answers_tool,
            tool: (request.tools.into_iter().flatten())
                .find(DeclaredTool::is_custom)
                .map(|tool| Tool { name: tool.name, schema: tool.input_schema }),
            input_bytes: bytes + request.system.bytes(),
        })
    }

    fn json(&self, reply: &Reply<'_>) -> Vec<u8> {
        let content = reply.blocks.iter().map(|block| match block {
            Block::Text(text) => ContentBlock::Text { text },
            Block::Tool { id, name, arguments } => ContentBlock::ToolUse { id, name, input: arguments },
        });
        write(&Answer {
            content: content.collect(),
            stop_reason: Some(stop_reason(reply)),
            ..Answer::empty(reply, reply.output_tokens)
        })
    }

    fn frames(&self, reply: &Reply<'_>) -> Vec<Bytes> {
        let mut frames = vec![event(&Event::MessageStart { message: Answer::empty(reply, 1) })];
        for (index, block) in reply.blocks.iter().enumerate() {
            let content_block = match block {
                Block::Text(_) => ContentBlock::Text { text: "" },
                Block::Tool { id, name, .. } => ContentBlock::Started { id, name, input: NoInput {} },
            };
            frames.push(event(&Event::ContentBlockStart { index, content_block }));
            if index == 0 {
                frames.push(event(&Event::Ping));
            }
            match block {
                Block::Text(text) => frames.extend(reply.pieces(text).map(|text| {
                    event(&Event::ContentBlockDelta { index, delta: BlockDelta::TextDelta { text } })
                })),
                Block::Tool { arguments, .. } => {
                    frames.extend(reply.pieces(arguments.get()).map(|partial_json| {
                        let delta = BlockDelta::InputJsonDelta { partial_json };
                        event(&Event::ContentBlockDelta { index, delta })
                    }));
                }
            }
            frames.push(event(&Event::ContentBlockStop { index }));
        }
        frames.push(event(&Event::MessageDelta {
            delta: Stop { stop_reason: stop_reason(reply), stop_sequence: () },
            usage: OutputUsage { output_tokens: reply.output_tokens },
        }));
        frames.push(event(&Event::MessageStop));
        frames
    }

    fn reply_id(&self, ids: &Ids) -> String {
        ids.message()
    }

    fn tool_id(&self, ids: &Ids) -> String {
        ids.tool_use()
    }

    fn refusal(&self, refused: &Refused) -> Cow<'static, str> {
        match refused {
            Refused::Missing => "x-api-key header is required",
            Refused::Wrong { bearer: false, .. } => "invalid x-api-key",
            Refused::Wrong { bearer: true, .. } => "Invalid bearer token",
            Refused::Expired => {
                "OAuth token has expired. Please obtain a new token or refresh your existing token."
            }
            Refused::Revoked => "Invalid authentication credentials",
            Refused::Exhausted => "This API key has no uses left.",
        }
        .into()
    }

    fn error(&self, failure: &Failure, request_id: &str, faithful: bool) -> Vec<u8> {
        let r#type = match failure.status {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 => "timeout_error",
            529 => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        write(&Error {
            r#type: "error",
            error: ErrorBody { r#type, message: &failure.message },
            // The documented 401 is the one error without it.
            request_id: (faithful || failure.status != 401).then_some(request_id),
        })
    }

    fn models(&self) -> Vec<u8> {
        let model = |(id, display_name)| Model {
            r#type: "model",
            id,
            display_name,
            created_at: "2025-01-01T00:00:00Z",
        };
        let data = [("mock-model", "Mock"), ("claude-sonnet-4-5", "Claude Sonnet 4.5")].map(model);
        write(&Models { data, has_more: false, first_id: "mock-model", last_id: "claude-sonnet-4-5" })
    }
}

/// An event; its name is its data's `type`.
fn event(event: &Event<'_>) -> Bytes {
    let name = match event {
        Event::MessageStart { .. } => "message_start",
        Event::ContentBlockStart { .. } => "content_block_start",
        Event::Ping => "ping",
        Event::ContentBlockDelta { .. } => "content_block_delta",
        Event::ContentBlockStop { .. } => "content_block_stop",
        Event::MessageDelta { .. } => "message_delta",
        Event::MessageStop => "message_stop",
    };
    let mut frame = format!("event: {name}\ndata: ").into_bytes();
    frame.extend(write(event));
    frame.extend(b"\n\n");
    frame.into()
}

fn stop_reason(reply: &Reply<'_>) -> &'static str {
    if reply.calls_tools() { "tool_use" } else { "end_turn" }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    MessageStart { message: Answer<'a> },
    ContentBlockStart { index: usize, content_block: ContentBlock<'a> },
    Ping,
    ContentBlockDelta { index: usize, delta: BlockDelta<'a> },
    ContentBlockStop { index: usize },
    MessageDelta { delta: Stop, usage: OutputUsage },
    MessageStop,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<ContentBlock<'a>>,
    stop_reason: Option<&'static str>,
    stop_sequence: (),
    usage: Usage,
}

impl<'a> Answer<'a> {
    fn empty(reply: &'a Reply<'_>, output_tokens: u64) -> Self {
        Self {
            id: &reply.id,
            r#type: "message",
            role: "assistant",
            model: reply.model,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: (),
            usage: Usage {
                input_tokens: reply.input_tokens,
                cache_creation_input_tokens: 0,
                cache_read_input_tokens: 0,
                output_tokens,
                service_tier: "standard",
            },
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentBlock<'a> {
    Text {
        text: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: &'a RawValue,
    },
    /// A tool's call whose input is still to come.
    #[serde(rename = "tool_use")]
    Started {
        id: &'a str,
        name: &'a str,
        input: NoInput,
    },
}

#[derive(Serialize)]
struct NoInput {}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockDelta<'a> {
    TextDelta { text: &'a str },
    InputJsonDelta { partial_json: &'a str },
}

#[derive(Serialize)]
struct Stop {
    stop_reason: &'static str,
    stop_sequence: (),
}

#[derive(Serialize)]
struct Usage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    service_tier: &'static str,
}

#[derive(Serialize)]
struct OutputUsage {
    output_tokens: u64,
}

#[derive(Serialize)]
struct Error<'a> {
    r#type: &'static str,
    error: ErrorBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    r#type: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct Models {
    data: [Model; 2],
    has_more: bool,
    first_id: &'static str,
    last_id: &'static str,
}

#[derive(Serialize)]
struct Model {
    r#type: &'static str,
    id: &'static str,
    display_name: &'static str,
    created_at: &'static str,
}
