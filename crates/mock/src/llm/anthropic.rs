//! Anthropic's messages.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

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
        let mut frames = Vec::new();
        let mut event = |name: &str, mut data: Value| {
            data["type"] = name.into();
            frames.push(Bytes::from(format!("event: {name}\ndata: {data}\n\n")));
        };
        event("message_start", json!({"message": Answer::empty(reply, 1)}));
        for (index, block) in reply.blocks.iter().enumerate() {
            let (start, whole) = match block {
                Block::Text(text) => (json!({"type": "text", "text": ""}), *text),
                Block::Tool { id, name, arguments } => {
                    (json!({"type": "tool_use", "id": id, "name": name, "input": {}}), arguments.get())
                }
            };
            event("content_block_start", json!({"index": index, "content_block": start}));
            if index == 0 {
                event("ping", json!({}));
            }
            for piece in reply.pieces(whole) {
                let delta = match block {
                    Block::Text(_) => json!({"type": "text_delta", "text": piece}),
                    Block::Tool { .. } => json!({"type": "input_json_delta", "partial_json": piece}),
                };
                event("content_block_delta", json!({"index": index, "delta": delta}));
            }
            event("content_block_stop", json!({"index": index}));
        }
        let stop = json!({"stop_reason": stop_reason(reply), "stop_sequence": null});
        event("message_delta", json!({"delta": stop, "usage": {"output_tokens": reply.output_tokens}}));
        event("message_stop", json!({}));
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
        let model = |id, name| json!({"type": "model", "id": id, "display_name": name, "created_at": "2025-01-01T00:00:00Z"});
        let (first, last) = ("mock-model", "claude-sonnet-4-5");
        let data = [model(first, "Mock"), model(last, "Claude Sonnet 4.5")];
        write(&json!({"data": data, "has_more": false, "first_id": first, "last_id": last}))
    }
}

fn stop_reason(reply: &Reply<'_>) -> &'static str {
    if reply.calls_tools() { "tool_use" } else { "end_turn" }
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
    Text { text: &'a str },
    ToolUse { id: &'a str, name: &'a str, input: &'a RawValue },
}

#[derive(Serialize)]
struct Usage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    service_tier: &'static str,
}

/// Its members are in the order of the documentation, whose bodies are compared as text.
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
