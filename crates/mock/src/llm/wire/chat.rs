//! OpenAI's chat completions. They do not show what the model thinks.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::Failure;
use super::super::call::{Call, Message, Tool, parse, texts};
use super::super::completion::{Completion, Finish, Tokens};
use super::super::provider::{About, OpenAiError, Worded};
use super::super::stream::Stream;
use super::{Asked, Wire};
use crate::answer::Json;
use crate::reply::{Part, Text};

pub(super) struct Chat;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(default)]
    model: String,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
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

impl Wire for Chat {
    fn read(&self, body: &[u8], asked: &Asked<'_>) -> Result<Call, Failure> {
        let mut request: Request<'_> = parse(body)?;
        // A deployment's name stands in the path, and whatever the body says does not matter there.
        let model = asked.model.map_or(request.model, str::to_owned);
        if model.is_empty() || request.messages.is_empty() {
            return Err(Failure::new(400, "`model` and `messages` must not be empty"));
        }
        let answers_tool =
            request.messages.last().is_some_and(|last| matches!(&*last.role, "tool" | "function"));
        let (user_text, input_bytes) = texts(&mut request.messages);
        Ok(Call {
            model,
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

    fn json(&self, reply: &Completion<'_>) -> Vec<u8> {
        let calls = reply.parts.iter().filter_map(|part| match part {
            Part::Tool { name, arguments } => Some(ToolCall {
                index: None,
                id: Some(reply.ids.call()),
                r#type: Some("function"),
                function: Function { name: Some(name), arguments: arguments.get() },
            }),
            _ => None,
        });
        let calls: Vec<ToolCall<'_>> = calls.collect();
        let content = joined(reply, |part| match part {
            Part::Text(text) => Some(text),
            _ => None,
        });
        let refusal = joined(reply, |part| match part {
            Part::Refusal(text) => Some(text),
            _ => None,
        });
        // Tests of throughput ask for nothing else; the names of members need no escaping each time.
        let mut json = Json::new();
        json.raw(r#"{"id":"#).value(reply.id(|ids| ids.completion()));
        json.raw(r#","object":"chat.completion","created":"#).value(&reply.created);
        json.raw(r#","model":"#).value(reply.model);
        json.raw(r#","choices":[{"index":0,"message":{"role":"assistant","content":"#).value(&content);
        json.raw(r#","refusal":"#).value(&refusal).raw(r#","annotations":[]"#);
        if !calls.is_empty() {
            json.raw(r#","tool_calls":"#).value(&calls);
        }
        json.raw(r#"},"logprobs":null,"finish_reason":"#).value(finish_reason(reply));
        json.raw(r#"}],"usage":"#);
        usage(&mut json, reply.usage);
        json.raw(r#","service_tier":"default","system_fingerprint":"#).value(reply.fingerprint());
        json.raw("}");
        json.finish()
    }

    fn stream(&self, reply: &Completion<'_>, into: &mut Stream) {
        let id = reply.id(|ids| ids.completion());
        let mut chunks = Chunks { reply, id, into };
        let shown = |part: &&Part| !matches!(part, Part::Thinking { .. });
        let mut role = Some("assistant");
        if !matches!(reply.parts.iter().find(shown), Some(Part::Tool { .. })) {
            let opening = Delta { content: Some(Some("")), refusal: Some(None), ..Delta::default() };
            chunks.delta(Delta { role: role.take(), ..opening });
        }
        let mut index = 0;
        for part in reply.parts {
            match part {
                Part::Thinking { .. } => {}
                Part::Text(text) => reply
                    .pieces(text)
                    .for_each(|piece| chunks.delta(Delta { content: Some(Some(piece)), ..Delta::default() })),
                Part::Refusal(text) => reply
                    .pieces(text)
                    .for_each(|piece| chunks.delta(Delta { refusal: Some(Some(piece)), ..Delta::default() })),
                Part::Tool { name, arguments } => {
                    chunks.tool(index, role.take(), name, arguments.get());
                    index += 1;
                }
            }
        }
        chunks.send(&[ChunkChoice::new(Delta::default(), Some(finish_reason(reply)))], None);
        if reply.include_usage {
            let mut json = Json::new();
            usage(&mut json, reply.usage);
            chunks.send(&[], Some(&json.into_raw()));
        }
        into.raw("data: [DONE]\n\n");
    }

    fn broken(&self, _: &Completion<'_>, error: &Worded<'_>, about: &About<'_>, into: &mut Stream) {
        into.event("", &OpenAiError::of(error, about));
    }
}

/// The chunks of one stream.
struct Chunks<'a, 's> {
    reply: &'a Completion<'a>,
    id: &'a str,
    into: &'s mut Stream,
}

impl Chunks<'_, '_> {
    fn delta(&mut self, delta: Delta<'_>) {
        self.send(&[ChunkChoice::new(delta, None)], None);
    }

    /// A call: its name first, then its arguments in pieces.
    fn tool(&mut self, index: usize, role: Option<&'static str>, name: &str, arguments: &str) {
        let call = |id, r#type, name, arguments| {
            Some([ToolCall { index: Some(index), id, r#type, function: Function { name, arguments } }])
        };
        // The first delta of a stream says that there is no text.
        let (content, refusal) = (role.map(|_| None), role.map(|_| None));
        let tool_calls = call(Some(self.reply.ids.call()), Some("function"), Some(name), "");
        self.delta(Delta { role, content, refusal, tool_calls });
        for piece in self.reply.pieces(arguments) {
            self.delta(Delta { tool_calls: call(None, None, None, piece), ..Delta::default() });
        }
    }

    /// If the usage was asked for, every chunk says `null` but the last, which has no choice.
    fn send(&mut self, choices: &[ChunkChoice<'_>], usage: Option<&RawValue>) {
        self.into.event(
            "",
            &Chunk {
                id: self.id,
                object: "chat.completion.chunk",
                created: self.reply.created,
                model: self.reply.model,
                service_tier: "default",
                system_fingerprint: self.reply.fingerprint(),
                choices,
                usage: self.reply.include_usage.then_some(usage),
            },
        );
    }
}

/// All texts of a kind as one; `None` if there is none.
fn joined<'a>(reply: &Completion<'a>, kind: impl Fn(&'a Part) -> Option<&'a Text>) -> Option<Joined<'a>> {
    let mut texts = reply.parts.iter().filter_map(kind);
    let first = texts.next()?;
    Some(match texts.next() {
        None => Joined::One(first),
        Some(second) => {
            let all = [first, second].into_iter().chain(texts);
            Joined::Several(all.map(|text| &**text).collect())
        }
    })
}

#[derive(Serialize)]
#[serde(untagged)]
enum Joined<'a> {
    One(&'a Text),
    Several(String),
}

fn finish_reason(reply: &Completion<'_>) -> &'static str {
    match reply.finish {
        Finish::Complete | Finish::Refusal => "stop",
        Finish::Tool => "tool_calls",
        Finish::MaxTokens => "length",
        Finish::ContentFilter => "content_filter",
    }
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    service_tier: &'static str,
    system_fingerprint: &'a str,
    choices: &'a [ChunkChoice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<&'a RawValue>>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: (),
    finish_reason: Option<&'static str>,
}

impl<'a> ChunkChoice<'a> {
    fn new(delta: Delta<'a>, finish_reason: Option<&'static str>) -> Self {
        Self { index: 0, delta, logprobs: (), finish_reason }
    }
}

/// What a chunk adds. Only the first one has members that are `null`.
#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall<'a>; 1]>,
}

/// A call, or in a stream what is added to one.
#[derive(Serialize)]
struct ToolCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

/// What it cost. No part of it is audio, or predicted.
fn usage(json: &mut Json, used: Tokens) {
    let Tokens { input, output, cache_read, reasoning, .. } = used;
    json.raw(r#"{"prompt_tokens":"#).value(&input);
    json.raw(r#","completion_tokens":"#).value(&output);
    json.raw(r#","total_tokens":"#).value(&(input + output));
    json.raw(r#","prompt_tokens_details":{"cached_tokens":"#).value(&cache_read);
    json.raw(r#","audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":"#).value(&reasoning);
    json.raw(r#","audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#);
}
