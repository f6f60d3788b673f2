//! OpenAI's chat completions.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::call::{Call, Message, Tool, parse, texts};
use super::ids::Ids;
use super::reply::{Block, Reply};
use super::{Asked, Failure, Refused, Wire};
use crate::answer::write;

pub(super) struct OpenAi;

#[derive(Deserialize)]
struct Request {
    model: String,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    tools: Option<Vec<DeclaredTool>>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct DeclaredTool {
    function: Option<DeclaredFunction>,
}

#[derive(Deserialize)]
struct DeclaredFunction {
    name: String,
    parameters: Option<Box<RawValue>>,
}

impl Wire for OpenAi {
    fn read(&self, body: &[u8], _: Asked) -> Result<Call, Failure> {
        let mut request: Request = parse(body)?;
        if request.model.is_empty() || request.messages.is_empty() {
            return Err(Failure::new(400, "`model` and `messages` must not be empty"));
        }
        let answers_tool =
            request.messages.last().is_some_and(|last| matches!(&*last.role, "tool" | "function"));
        let (user_text, input_bytes) = texts(&mut request.messages);
        Ok(Call {
            model: request.model,
            stream: request.stream.unwrap_or(false),
            include_usage: request.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
            user_text,
            answers_tool,
            tool: (request.tools.into_iter().flatten())
                .find_map(|tool| tool.function)
                .map(|function| Tool { name: function.name, schema: function.parameters }),
            input_bytes,
        })
    }

    fn json(&self, reply: &Reply<'_>) -> Vec<u8> {
        let text: Vec<&str> = reply.blocks.iter().filter_map(text).collect();
        let calls: Vec<_> = reply.blocks.iter().filter_map(tool_call).collect();
        write(&Completion {
            id: &reply.id,
            object: "chat.completion",
            created: reply.created,
            model: reply.model,
            choices: [Choice {
                index: 0,
                message: Answer {
                    role: "assistant",
                    content: (!text.is_empty()).then(|| text.concat()),
                    refusal: (),
                    annotations: [],
                    tool_calls: calls,
                },
                logprobs: (),
                finish_reason: finish_reason(reply),
            }],
            usage: Usage::of(reply),
            service_tier: "default",
            system_fingerprint: "fp_mock",
        })
    }

    fn frames(&self, reply: &Reply<'_>) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let mut delta = |delta: Value| frames.push(chunk(reply, &choice(delta, None)));
        let calls: Vec<_> = reply.blocks.iter().filter_map(tool_call).collect();
        let first_is_call = matches!(reply.blocks.first(), Some(Block::Tool { .. }));
        if !first_is_call {
            delta(json!({"role": "assistant", "content": "", "refusal": null}));
        }
        for text in reply.blocks.iter().filter_map(text) {
            reply.pieces(text).for_each(|piece| delta(json!({"content": piece})));
        }
        for (index, ToolCall { id, function: Function { name, arguments }, .. }) in calls.iter().enumerate() {
            let function = json!({"name": name, "arguments": ""});
            let call = json!([{"index": index, "id": id, "type": "function", "function": function}]);
            delta(if index == 0 && first_is_call {
                json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": call})
            } else {
                json!({"tool_calls": call})
            });
            for piece in reply.pieces(arguments) {
                delta(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}));
            }
        }
        frames.push(chunk(reply, &choice(json!({}), Some(finish_reason(reply)))));
        if reply.include_usage {
            frames.push(chunk(reply, &json!([])));
        }
        frames.push(Bytes::from_static(b"data: [DONE]\n\n"));
        frames
    }

    fn reply_id(&self, ids: &Ids) -> String {
        ids.completion()
    }

    fn tool_id(&self, ids: &Ids) -> String {
        ids.call()
    }

    fn refusal(&self, refused: &Refused) -> Cow<'static, str> {
        match refused {
            Refused::Missing => "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API from your browser and are prompted for a username and password. You can obtain an API key from https://platform.openai.com/account/api-keys.".into(),
            Refused::Wrong { masked, .. } => format!("Incorrect API key provided: {masked}. You can find your API key at https://platform.openai.com/account/api-keys.").into(),
            Refused::Expired => "Your authentication token has expired. Please try signing in again.".into(),
            Refused::Revoked => "Your authentication token has been invalidated. Please try signing in again.".into(),
            Refused::Exhausted => "This API key has no uses left.".into(),
        }
    }

    fn error(&self, failure: &Failure, _: &str, faithful: bool) -> Vec<u8> {
        let (r#type, code) = match (failure.status, faithful) {
            (401, true) => match failure.refused {
                Some(Refused::Missing) => ("invalid_request_error", None),
                Some(Refused::Revoked | Refused::Expired) => {
                    ("invalid_request_error", Some("invalid_authentication"))
                }
                _ => ("invalid_request_error", Some("invalid_api_key")),
            },
            (404, true) => ("invalid_request_error", Some("model_not_found")),
            (429, true) => ("requests", Some("rate_limit_exceeded")),
            (500.., true) => ("server_error", None),
            (_, true) => ("invalid_request_error", None),
            (400, false) => ("invalid_request_error", Some("invalid_request")),
            (401, false) => ("authentication_error", Some("invalid_api_key")),
            (403, false) => ("permission_denied_error", Some("permission_denied")),
            (404, false) => ("not_found_error", Some("not_found")),
            (429, false) => ("rate_limit_error", Some("rate_limit_exceeded")),
            (500, false) => ("server_error", Some("server_error")),
            (502, false) => ("server_error", Some("bad_gateway")),
            (503, false) => ("server_error", Some("service_unavailable")),
            (529, false) => ("server_error", Some("overloaded")),
            (_, false) => ("api_error", Some("error")),
        };
        write(&Error { error: ErrorBody { message: &failure.message, r#type, param: (), code } })
    }

    fn models(&self) -> Vec<u8> {
        let model = |id| json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "mock"});
        let models = ["mock-model", "gpt-4o", "gpt-4o-mini"].map(model);
        write(&json!({"object": "list", "data": models}))
    }
}

fn choice(delta: Value, finish_reason: Option<&str>) -> Value {
    json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}])
}

/// One `chat.completion.chunk`. The one without a choice states the usage, if it was asked for.
fn chunk(reply: &Reply<'_>, choices: &Value) -> Bytes {
    let mut chunk = json!({
        "id": reply.id,
        "object": "chat.completion.chunk",
        "created": reply.created,
        "model": reply.model,
        "service_tier": "default",
        "system_fingerprint": "fp_mock",
        "choices": choices,
    });
    if reply.include_usage {
        let is_last = choices.as_array().is_some_and(Vec::is_empty);
        chunk["usage"] = json!(is_last.then(|| Usage::of(reply)));
    }
    format!("data: {chunk}\n\n").into()
}

fn text<'a>(block: &Block<'a>) -> Option<&'a str> {
    match block {
        Block::Text(text) => Some(text),
        Block::Tool { .. } => None,
    }
}

fn tool_call<'a>(block: &'a Block<'_>) -> Option<ToolCall<'a>> {
    let Block::Tool { id, name, arguments } = block else { return None };
    Some(ToolCall { id, r#type: "function", function: Function { name, arguments: arguments.get() } })
}

fn finish_reason(reply: &Reply<'_>) -> &'static str {
    if reply.calls_tools() { "tool_calls" } else { "stop" }
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: Usage,
    service_tier: &'static str,
    system_fingerprint: &'static str,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Answer<'a>,
    logprobs: (),
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Answer<'a> {
    role: &'static str,
    content: Option<String>,
    refusal: (),
    annotations: [(); 0],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Default, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Default, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl Usage {
    fn of(reply: &Reply<'_>) -> Self {
        Self {
            prompt_tokens: reply.input_tokens,
            completion_tokens: reply.output_tokens,
            total_tokens: reply.input_tokens + reply.output_tokens,
            prompt_tokens_details: PromptDetails::default(),
            completion_tokens_details: CompletionDetails::default(),
        }
    }
}

/// Its members are in the order of the documentation, whose bodies are compared as text.
#[derive(Serialize)]
struct Error<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    r#type: &'static str,
    param: (),
    code: Option<&'static str>,
}
