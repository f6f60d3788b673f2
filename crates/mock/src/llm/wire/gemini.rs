//! Google's `generateContent`, of the Gemini API and of Vertex AI.

use portunus_auth_core::dialect::Operation;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::Failure;
use super::super::call::{Call, Tool, parse};
use super::super::completion::{Completion, Finish, Tokens};
use super::super::provider::{About, Google, Worded};
use super::super::stream::Stream;
use super::{Asked, Wire};
use crate::answer::write;
use crate::reply::Part;

pub(super) struct Gemini;

/// Members are taken in both spellings that JSON of protocol buffers has.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    contents: Vec<Content>,
    #[serde(alias = "system_instruction")]
    system_instruction: Option<Content>,
    tools: Vec<DeclaredTools>,
    /// What is to be counted, where it is a whole request.
    #[serde(alias = "generate_content_request")]
    generate_content_request: Option<Box<Request>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    role: Option<String>,
    parts: Vec<AskedPart>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AskedPart {
    text: Option<String>,
    #[serde(alias = "function_response")]
    function_response: Option<Box<RawValue>>,
    #[serde(alias = "function_call")]
    function_call: Option<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeclaredTools {
    #[serde(alias = "function_declarations")]
    function_declarations: Vec<Declaration>,
}

#[derive(Deserialize)]
struct Declaration {
    name: String,
    #[serde(alias = "parametersJsonSchema", alias = "parameters_json_schema")]
    parameters: Option<Box<RawValue>>,
}

impl Content {
    fn text(&self) -> String {
        self.parts.iter().filter_map(|part| part.text.as_deref()).collect()
    }

    fn bytes(&self) -> usize {
        let json = |value: &Option<Box<RawValue>>| value.as_ref().map_or(0, |value| value.get().len());
        let part = |part: &AskedPart| {
            let text = part.text.as_ref().map_or(0, String::len);
            text + json(&part.function_response) + json(&part.function_call)
        };
        self.parts.iter().map(part).sum()
    }

    /// Whether it holds the results of tools, in which case it is not what the user says.
    fn is_result(&self) -> bool {
        self.parts.iter().any(|part| part.function_response.is_some())
    }

    fn is_users(&self) -> bool {
        self.role.as_deref().is_none_or(|role| role == "user") && !self.is_result()
    }
}

impl Wire for Gemini {
    fn read(&self, body: &[u8], asked: &Asked<'_>) -> Result<Call, Failure> {
        let mut request: Request = parse(body)?;
        if let Some(inner) = request.generate_content_request.take() {
            request = *inner;
        }
        if request.contents.is_empty() {
            return Err(Failure::new(400, "* GenerateContentRequest.contents: contents is not specified"));
        }
        let contents = request.contents;
        let declared = request.tools.into_iter().flat_map(|tools| tools.function_declarations).next();
        Ok(Call {
            model: asked.model.unwrap_or_default().to_owned(),
            stream: asked.operation == Operation::StreamGenerateContent,
            include_usage: false,
            user_text: contents
                .iter()
                .rev()
                .find(|turn| turn.is_users())
                .map(Content::text)
                .unwrap_or_default(),
            answers_tool: contents.last().is_some_and(Content::is_result),
            tool: declared.map(|tool| Tool { name: tool.name, schema: tool.parameters }),
            input_bytes: contents.iter().chain(&request.system_instruction).map(Content::bytes).sum(),
        })
    }

    fn json(&self, reply: &Completion<'_>) -> Vec<u8> {
        let parts = reply.parts.iter().map(whole).collect();
        write(&chunk(reply, parts, reply.usage.output, Some(finish_reason(reply))))
    }

    fn stream(&self, reply: &Completion<'_>, into: &mut Stream) {
        let mut pieces: Vec<AnswerPart<'_>> = Vec::new();
        for part in reply.parts {
            match part {
                Part::Text(text) | Part::Refusal(text) => {
                    pieces.extend(reply.pieces(text).map(AnswerPart::text));
                }
                Part::Thinking { text, signature } => {
                    pieces.extend(reply.pieces(text).map(AnswerPart::thought));
                    pieces.push(AnswerPart { thought_signature: Some(signature), ..AnswerPart::text("") });
                }
                // Arguments come as a whole: they are an object here.
                Part::Tool { .. } => pieces.push(whole(part)),
            }
        }
        if pieces.is_empty() {
            pieces.push(AnswerPart::text(""));
        }
        let (count, output) = (pieces.len() as u64, reply.usage.output);
        for (sent, part) in (1..).zip(pieces) {
            let finish = (sent == count).then(|| finish_reason(reply));
            // What was sent so far is what it cost so far.
            into.event("", &chunk(reply, vec![part], output * sent / count, finish));
        }
    }

    /// Not an event, but the error as it is: it breaks the framing of server-sent events.
    fn broken(&self, _: &Completion<'_>, error: &Worded<'_>, _: &About<'_>, into: &mut Stream) {
        into.bare(&Google::body(error));
    }
}

/// Whether the prompt itself is refused: then there is no candidate.
fn is_blocked(reply: &Completion<'_>) -> bool {
    reply.finish == Finish::Refusal && reply.parts.iter().all(|part| matches!(part, Part::Refusal(_)))
}

fn chunk<'a>(
    reply: &'a Completion<'_>,
    parts: Vec<AnswerPart<'a>>,
    output: u64,
    finish_reason: Option<&'static str>,
) -> Chunk<'a> {
    let blocked = is_blocked(reply);
    let content = AnswerContent { parts, role: "model" };
    Chunk {
        candidates: (!blocked).then_some([Candidate { content, finish_reason, index: 0 }]),
        prompt_feedback: blocked.then_some(PromptFeedback { block_reason: "SAFETY" }),
        usage_metadata: Usage::of(reply.usage, if blocked { 0 } else { output }),
        model_version: reply.model,
        response_id: reply.id(|ids| ids.gemini()),
    }
}

fn whole(part: &Part) -> AnswerPart<'_> {
    match part {
        Part::Text(text) | Part::Refusal(text) => AnswerPart::text(text),
        Part::Thinking { text, signature } => {
            AnswerPart { thought_signature: Some(signature), ..AnswerPart::thought(text) }
        }
        Part::Tool { name, arguments } => {
            let function_call = Some(FunctionCall { name, args: arguments });
            AnswerPart { function_call, ..AnswerPart::default() }
        }
    }
}

fn finish_reason(reply: &Completion<'_>) -> &'static str {
    match reply.finish {
        Finish::Complete | Finish::Tool => "STOP",
        Finish::MaxTokens => "MAX_TOKENS",
        Finish::Refusal | Finish::ContentFilter => "SAFETY",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<[Candidate<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_feedback: Option<PromptFeedback>,
    usage_metadata: Usage,
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    block_reason: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    content: AnswerContent<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'static str>,
    index: u32,
}

#[derive(Serialize)]
struct AnswerContent<'a> {
    parts: Vec<AnswerPart<'a>>,
    role: &'static str,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct AnswerPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'a>>,
}

impl<'a> AnswerPart<'a> {
    fn text(text: &'a str) -> Self {
        Self { text: Some(text), ..Self::default() }
    }

    fn thought(text: &'a str) -> Self {
        Self { thought: Some(true), ..Self::text(text) }
    }
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    name: &'a str,
    args: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    prompt_token_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cached_content_token_count: u64,
    candidates_token_count: u64,
    total_token_count: u64,
    prompt_tokens_details: [Modality; 1],
    #[serde(skip_serializing_if = "is_zero")]
    thoughts_token_count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Modality {
    modality: &'static str,
    token_count: u64,
}

impl Usage {
    /// Google counts what was thought apart from the candidates, and from the beginning.
    fn of(used: Tokens, output: u64) -> Self {
        let thought = used.reasoning.min(output);
        Self {
            prompt_token_count: used.input,
            cached_content_token_count: used.cache_read,
            candidates_token_count: output - thought,
            total_token_count: used.input + output,
            prompt_tokens_details: [Modality { modality: "TEXT", token_count: used.input }],
            thoughts_token_count: thought,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
