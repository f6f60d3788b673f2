//! Bedrock's Converse: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>.

use portunus_auth_core::dialect::Operation;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::Failure;
use super::super::call::{Call, Tool, parse};
use super::super::completion::{Completion, Finish};
use super::super::provider::{About, Worded};
use super::super::stream::Stream;
use super::{Asked, Wire};
use crate::answer::write;
use crate::reply::Part;

pub(super) struct Converse;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    messages: Vec<Message>,
    #[serde(default)]
    system: Vec<AskedBlock>,
    tool_config: Option<ToolConfig>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Vec<AskedBlock>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AskedBlock {
    text: Option<String>,
    tool_use: Option<Box<RawValue>>,
    tool_result: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ToolConfig {
    tools: Vec<DeclaredTool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeclaredTool {
    tool_spec: Option<ToolSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolSpec {
    name: String,
    input_schema: Option<InputSchema>,
}

#[derive(Deserialize)]
struct InputSchema {
    json: Option<Box<RawValue>>,
}

impl AskedBlock {
    fn bytes(&self) -> usize {
        let json = |value: &Option<Box<RawValue>>| value.as_ref().map_or(0, |value| value.get().len());
        self.text.as_ref().map_or(0, String::len) + json(&self.tool_use) + json(&self.tool_result)
    }
}

impl Message {
    fn is_result(&self) -> bool {
        self.content.iter().any(|block| block.tool_result.is_some())
    }
}

impl Wire for Converse {
    fn read(&self, body: &[u8], asked: &Asked<'_>) -> Result<Call, Failure> {
        let request: Request = parse(body)?;
        let messages = &request.messages;
        if messages.is_empty() {
            return Err(Failure::new(400, "The messages field must not be empty."));
        }
        let users = messages.iter().rev().find(|message| message.role == "user" && !message.is_result());
        let text =
            |message: &Message| message.content.iter().filter_map(|block| block.text.as_deref()).collect();
        let blocks = messages.iter().flat_map(|message| &message.content).chain(&request.system);
        Ok(Call {
            model: asked.model.unwrap_or_default().to_owned(),
            stream: asked.operation == Operation::ConverseStream,
            include_usage: false,
            user_text: users.map(text).unwrap_or_default(),
            answers_tool: messages.last().is_some_and(Message::is_result),
            input_bytes: blocks.map(AskedBlock::bytes).sum(),
            tool: (request.tool_config.into_iter().flat_map(|config| config.tools))
                .find_map(|tool| tool.tool_spec)
                .map(|spec| Tool {
                    name: spec.name,
                    schema: spec.input_schema.and_then(|schema| schema.json),
                }),
        })
    }

    fn json(&self, reply: &Completion<'_>) -> Vec<u8> {
        let content = reply.parts.iter().map(|part| block(reply, part)).collect();
        write(&Answer {
            output: Output { message: AnswerMessage { role: "assistant", content } },
            stop_reason: stop_reason(reply),
            usage: Usage::of(reply),
            metrics: Metrics { latency_ms: 1 },
        })
    }

    fn stream(&self, reply: &Completion<'_>, into: &mut Stream) {
        into.event("messageStart", &MessageStart { role: "assistant" });
        for (content_block_index, part) in reply.parts.iter().enumerate() {
            if let Part::Tool { name, .. } = part {
                let tool_use = ToolStart { tool_use_id: reply.ids.bedrock_tool(), name };
                let start = Start { tool_use };
                into.event("contentBlockStart", &BlockStart { content_block_index, start });
            }
            let mut add = |delta| {
                into.event("contentBlockDelta", &BlockDelta { content_block_index, delta });
            };
            match part {
                Part::Text(text) | Part::Refusal(text) => {
                    reply.pieces(text).for_each(|text| add(Delta::Text(text)));
                }
                Part::Thinking { text, signature } => {
                    let thought = |text| Delta::ReasoningContent(ReasoningDelta::Text(text));
                    reply.pieces(text).for_each(|text| add(thought(text)));
                    add(Delta::ReasoningContent(ReasoningDelta::Signature(signature)));
                }
                Part::Tool { arguments, .. } => {
                    let input = |input| Delta::ToolUse(ToolDelta { input });
                    reply.pieces(arguments.get()).for_each(|piece| add(input(piece)));
                }
            }
            into.event("contentBlockStop", &BlockStop { content_block_index });
        }
        into.event("messageStop", &MessageStop { stop_reason: stop_reason(reply) });
        into.event("metadata", &Metadata { usage: Usage::of(reply), metrics: Metrics { latency_ms: 1 } });
    }

    /// Its framing has exceptions of its own.
    fn broken(&self, _: &Completion<'_>, error: &Worded<'_>, _: &About<'_>, into: &mut Stream) {
        into.exception(error);
    }
}

fn block<'a>(reply: &Completion<'_>, part: &'a Part) -> Block<'a> {
    match part {
        Part::Text(text) | Part::Refusal(text) => Block::Text(text),
        Part::Thinking { text, signature } => {
            Block::ReasoningContent(Reasoning { reasoning_text: ReasoningText { text, signature } })
        }
        Part::Tool { name, arguments } => {
            Block::ToolUse(ToolUse { tool_use_id: reply.ids.bedrock_tool(), name, input: arguments })
        }
    }
}

fn stop_reason(reply: &Completion<'_>) -> &'static str {
    match reply.finish {
        Finish::Complete => "end_turn",
        Finish::Tool => "tool_use",
        Finish::MaxTokens => "max_tokens",
        Finish::Refusal | Finish::ContentFilter => "content_filtered",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    output: Output<'a>,
    stop_reason: &'static str,
    usage: Usage,
    metrics: Metrics,
}

#[derive(Serialize)]
struct Output<'a> {
    message: AnswerMessage<'a>,
}

#[derive(Serialize)]
struct AnswerMessage<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Block<'a> {
    Text(&'a str),
    ReasoningContent(Reasoning<'a>),
    ToolUse(ToolUse<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning<'a> {
    reasoning_text: ReasoningText<'a>,
}

#[derive(Serialize)]
struct ReasoningText<'a> {
    text: &'a str,
    signature: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse<'a> {
    tool_use_id: String,
    name: &'a str,
    input: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    latency_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    cache_read_input_tokens: u64,
    cache_write_input_tokens: u64,
}

impl Usage {
    /// As Anthropic does, Bedrock counts what the cache gave or took apart from the rest of the input.
    fn of(reply: &Completion<'_>) -> Self {
        let used = reply.usage;
        Self {
            input_tokens: used.input - used.cache_read - used.cache_written,
            output_tokens: used.output,
            total_tokens: used.input + used.output,
            cache_read_input_tokens: used.cache_read,
            cache_write_input_tokens: used.cache_written,
        }
    }
}

#[derive(Serialize)]
struct MessageStart {
    role: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockStart<'a> {
    content_block_index: usize,
    start: Start<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Start<'a> {
    tool_use: ToolStart<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolStart<'a> {
    tool_use_id: String,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockDelta<'a> {
    content_block_index: usize,
    delta: Delta<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Delta<'a> {
    Text(&'a str),
    ReasoningContent(ReasoningDelta<'a>),
    ToolUse(ToolDelta<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum ReasoningDelta<'a> {
    Text(&'a str),
    Signature(&'a str),
}

#[derive(Serialize)]
struct ToolDelta<'a> {
    input: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockStop {
    content_block_index: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop {
    stop_reason: &'static str,
}

#[derive(Serialize)]
struct Metadata {
    usage: Usage,
    metrics: Metrics,
}
