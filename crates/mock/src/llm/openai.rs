//! OpenAI's chat completions.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
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
        let mut delta = |delta: Delta<'_>| frames.push(chunk(reply, Some((delta, None))));
        let starts_with_text = !matches!(reply.blocks.first(), Some(Block::Tool { .. }));
        let role = Delta {
            role: Some("assistant"),
            content: Some(starts_with_text.then_some("")),
            refusal: Some(()),
            ..Delta::default()
        };
        let mut role = Some(role);
        if starts_with_text {
            role.take().into_iter().for_each(&mut delta);
        }
        for text in reply.blocks.iter().filter_map(text) {
            for piece in reply.pieces(text) {
                delta(Delta { content: Some(Some(piece)), ..Delta::default() });
            }
        }
        for (index, call) in reply.blocks.iter().filter_map(tool_call).enumerate() {
            let arguments = call.function.arguments;
            let started = ToolCall { index: Some(index), function: call.function.started(), ..call };
            delta(Delta { tool_calls: Some([started]), ..role.take().unwrap_or_default() });
            for piece in reply.pieces(arguments) {
                delta(Delta { tool_calls: Some([ToolCall::more(index, piece)]), ..Delta::default() });
            }
        }
        frames.push(chunk(reply, Some((Delta::default(), Some(finish_reason(reply))))));
        if reply.include_usage {
            frames.push(chunk(reply, None));
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
        let model = |id| Model { id, object: "model", created: 1_700_000_000, owned_by: "mock" };
        write(&Models { object: "list", data: ["mock-model", "gpt-4o", "gpt-4o-mini"].map(model) })
    }
}

/// One `chat.completion.chunk`; without a delta, the one that states the usage.
fn chunk(reply: &Reply<'_>, delta: Option<(Delta<'_>, Option<&'static str>)>) -> Bytes {
    let usage = reply.include_usage.then(|| delta.is_none().then(|| Usage::of(reply)));
    let chunk = Chunk {
        id: &reply.id,
        object: "chat.completion.chunk",
        created: reply.created,
        model: reply.model,
        service_tier: "default",
        system_fingerprint: "fp_mock",
        choices: delta.map(|(delta, finish_reason)| ChunkChoice {
            index: 0,
            delta,
            logprobs: (),
            finish_reason,
        }),
        usage,
    };
    let mut frame = b"data: ".to_vec();
    frame.extend(write(&chunk));
    frame.extend(b"\n\n");
    frame.into()
}

fn text<'a>(block: &Block<'a>) -> Option<&'a str> {
    match block {
        Block::Text(text) => Some(text),
        Block::Tool { .. } => None,
    }
}

fn tool_call<'a>(block: &'a Block<'_>) -> Option<ToolCall<'a>> {
    let Block::Tool { id, name, arguments } = block else { return None };
    let function = Called { name: Some(name), arguments: arguments.get() };
    Some(ToolCall { index: None, id: Some(id), r#type: Some("function"), function })
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
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    service_tier: &'static str,
    system_fingerprint: &'static str,
    #[serde(serialize_with = "list")]
    choices: Option<ChunkChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

fn list<T: Serialize, S: serde::Serializer>(one: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(one)
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: (),
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall<'a>; 1]>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: Called<'a>,
}

#[derive(Clone, Copy, Serialize)]
struct Called<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl<'a> ToolCall<'a> {
    fn more(index: usize, arguments: &'a str) -> Self {
        Self { index: Some(index), id: None, r#type: None, function: Called { name: None, arguments } }
    }
}

impl Called<'_> {
    fn started(self) -> Self {
        Self { arguments: "", ..self }
    }
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

#[derive(Serialize)]
struct Models {
    object: &'static str,
    data: [Model; 3],
}

#[derive(Serialize)]
struct Model {
    id: &'static str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}
