//! OpenAI's Responses.

mod object;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::Failure;
use super::super::call::{Call, Content, Tool, parse};
use super::super::completion::Completion;
use super::super::failure::Cause;
use super::super::provider::{About, Worded};
use super::super::stream::Stream;
use super::{Asked, Wire};
use crate::answer::write;
use crate::reply::Part;
use object::{Event, Failed, Output, Response};

pub(super) struct Responses;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(default)]
    model: String,
    #[serde(borrow)]
    input: Input<'a>,
    #[serde(borrow)]
    instructions: Option<Content<'a>>,
    stream: Option<bool>,
    tools: Option<Vec<DeclaredTool>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input<'a> {
    Text(String),
    #[serde(borrow)]
    Items(Vec<InputItem<'a>>),
}

/// A message, a call, its result, or anything else that went to and fro.
#[derive(Deserialize)]
struct InputItem<'a> {
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    content: Content<'a>,
    /// A text, parts, or what another kind of tool gave.
    output: Option<Value>,
    arguments: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct DeclaredTool {
    r#type: String,
    name: Option<String>,
    parameters: Option<Box<RawValue>>,
}

impl InputItem<'_> {
    fn bytes(&self) -> usize {
        let arguments = self.arguments.as_ref().map_or(0, |text| text.len());
        self.content.bytes() + self.output.as_ref().map_or(0, bytes) + arguments
    }

    fn is_result(&self) -> bool {
        self.r#type.as_ref().is_some_and(|kind| kind.ends_with("_output"))
    }
}

/// The bytes of all text in a value.
fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes).sum(),
        Value::Object(part) => part.get("text").map_or(0, bytes),
        _ => 0,
    }
}

impl Wire for Responses {
    fn read(&self, body: &[u8], _: &Asked<'_>) -> Result<Call, Failure> {
        let request: Request<'_> = parse(body)?;
        let empty = matches!(&request.input, Input::Items(items) if items.is_empty());
        if request.model.is_empty() || empty {
            return Err(Failure::new(400, "`model` and `input` must not be empty"));
        }
        let instructions = request.instructions.map_or(0, |text| text.bytes());
        let (user_text, answers_tool, bytes) = match request.input {
            Input::Text(text) => {
                let bytes = text.len();
                (text, false, bytes)
            }
            Input::Items(items) => {
                let bytes = items.iter().map(InputItem::bytes).sum();
                let answers_tool = items.last().is_some_and(InputItem::is_result);
                let last = items.into_iter().rev().find(|item| item.role.as_deref() == Some("user"));
                (last.map(|item| item.content.text.into_owned()).unwrap_or_default(), answers_tool, bytes)
            }
        };
        let own = request.tools.into_iter().flatten().find(|tool| tool.r#type == "function");
        Ok(Call {
            model: request.model,
            stream: request.stream.unwrap_or(false),
            include_usage: false,
            user_text,
            answers_tool,
            tool: own.and_then(|tool| Some(Tool { name: tool.name?, schema: tool.parameters })),
            input_bytes: instructions + bytes,
        })
    }

    fn json(&self, reply: &Completion<'_>) -> Vec<u8> {
        let outputs = outputs(reply);
        write(&Response::finished(reply, &outputs))
    }

    fn stream(&self, reply: &Completion<'_>, into: &mut Stream) {
        let outputs = outputs(reply);
        let begun = Response::begun(reply);
        let mut events = Events { reply, into };
        events.send(Event { response: Some(&begun), ..Event::of("response.created") });
        events.send(Event { response: Some(&begun), ..Event::of("response.in_progress") });
        for (index, output) in outputs.iter().enumerate() {
            let item = output.begun();
            let added = Event::of("response.output_item.added");
            events.send(Event { output_index: Some(index), item: Some(&item), ..added });
            match output {
                Output::Message { id, parts } => events.message(index, id, parts),
                Output::Call { id, arguments, .. } => events.arguments(index, id, arguments),
                Output::Reasoning { id, text } => events.reasoning(index, id, text),
            }
            let item = output.done();
            let done = Event::of("response.output_item.done");
            events.send(Event { output_index: Some(index), item: Some(&item), ..done });
        }
        let whole = Response::finished(reply, &outputs);
        let last = if whole.status == "incomplete" { "response.incomplete" } else { "response.completed" };
        events.send(Event { response: Some(&whole), ..Event::of(last) });
    }

    /// Too much to do is said as such; any other error is the end of the response.
    fn broken(&self, reply: &Completion<'_>, error: &Worded<'_>, _: &About<'_>, into: &mut Stream) {
        if *error.cause == Cause::Overloaded {
            return into.event("error", &Failed::overloaded(error.message));
        }
        let code = if error.status == 429 { "rate_limit_exceeded" } else { "server_error" };
        let failed = Response::failed(reply, code, error.message);
        Events { reply, into }.send(Event { response: Some(&failed), ..Event::of("response.failed") });
    }
}

/// What the parts of a reply are here. Texts and refusals next to each other are one message.
fn outputs<'a>(reply: &Completion<'a>) -> Vec<Output<'a>> {
    let is_said = |part: &Part| matches!(part, Part::Text(_) | Part::Refusal(_));
    let runs = reply.parts.chunk_by(move |one, next| is_said(one) && is_said(next));
    let output = |run: &'a [Part]| match &run[0] {
        Part::Text(_) | Part::Refusal(_) => Output::Message { id: reply.ids.message(), parts: run },
        Part::Thinking { text, .. } => Output::Reasoning { id: reply.ids.reasoning(), text },
        Part::Tool { name, arguments } => Output::Call {
            id: reply.ids.function_call(),
            call_id: reply.ids.call(),
            name,
            arguments: arguments.get(),
        },
    };
    runs.map(output).collect()
}

/// The events of one stream.
struct Events<'a, 's> {
    reply: &'a Completion<'a>,
    into: &'s mut Stream,
}

impl Events<'_, '_> {
    fn send(&mut self, event: Event<'_>) {
        let sequence_number = self.into.len();
        self.into.event(event.r#type, &Event { sequence_number, ..event });
    }

    fn message(&mut self, output_index: usize, id: &str, parts: &[Part]) {
        for (content_index, part) in parts.iter().enumerate() {
            let at = |kind| Event {
                item_id: Some(id),
                output_index: Some(output_index),
                content_index: Some(content_index),
                ..Event::of(kind)
            };
            let (whole, refusal) = object::said(part);
            let (begun, done) = (object::Content::of("", refusal), object::Content::of(whole, refusal));
            self.send(Event { part: Some(begun), ..at("response.content_part.added") });
            for piece in self.reply.pieces(whole) {
                let delta = Some(piece);
                self.send(if refusal {
                    Event { delta, ..at("response.refusal.delta") }
                } else {
                    Event { delta, logprobs: Some([]), ..at("response.output_text.delta") }
                });
            }
            self.send(if refusal {
                Event { refusal: Some(whole), ..at("response.refusal.done") }
            } else {
                Event { text: Some(whole), logprobs: Some([]), ..at("response.output_text.done") }
            });
            self.send(Event { part: Some(done), ..at("response.content_part.done") });
        }
    }

    fn arguments(&mut self, output_index: usize, id: &str, arguments: &str) {
        let at = |kind| Event { item_id: Some(id), output_index: Some(output_index), ..Event::of(kind) };
        for piece in self.reply.pieces(arguments) {
            self.send(Event { delta: Some(piece), ..at("response.function_call_arguments.delta") });
        }
        self.send(Event { arguments: Some(arguments), ..at("response.function_call_arguments.done") });
    }

    fn reasoning(&mut self, output_index: usize, id: &str, text: &str) {
        let at = |kind| Event {
            item_id: Some(id),
            output_index: Some(output_index),
            summary_index: Some(0),
            ..Event::of(kind)
        };
        let part = |text| Some(object::Content::SummaryText { text });
        self.send(Event { part: part(""), ..at("response.reasoning_summary_part.added") });
        for piece in self.reply.pieces(text) {
            self.send(Event { delta: Some(piece), ..at("response.reasoning_summary_text.delta") });
        }
        self.send(Event { text: Some(text), ..at("response.reasoning_summary_text.done") });
        self.send(Event { part: part(text), ..at("response.reasoning_summary_part.done") });
    }
}
