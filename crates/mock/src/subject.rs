//! A request as conditions see it. Its body is read as JSON once, and only if a condition asks.

use std::cell::OnceCell;

use portunus_auth_core::{BearerToken, Dialect};
use serde_json::Value;

use crate::capture::Recorded;
use crate::llm::Call;
use crate::text::Text;

pub(crate) struct Subject<'a> {
    pub(crate) call: &'a Call,
    pub(crate) dialect: Dialect,
    pub(crate) key: Option<&'a BearerToken>,
    pub(crate) seen: &'a Recorded,
    body: OnceCell<Value>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(
        call: &'a Call,
        dialect: Dialect,
        key: Option<&'a BearerToken>,
        seen: &'a Recorded,
    ) -> Self {
        Self { call, dialect, key, seen, body: OnceCell::new() }
    }

    pub(crate) fn body(&self) -> &Value {
        self.body.get_or_init(|| self.seen.json().unwrap_or_default())
    }

    /// The conversation, whatever the dialect calls it.
    fn turns(&self) -> impl DoubleEndedIterator<Item = &Value> {
        let lists = ["messages", "contents", "input"].map(|name| self.body()[name].as_array());
        lists.into_iter().flatten().flatten()
    }

    /// What the system is told, wherever the dialect puts it.
    pub(crate) fn system(&self) -> String {
        let mut text = String::new();
        for name in ["system", "instructions", "systemInstruction", "system_instruction"] {
            texts(&self.body()[name], &mut text);
        }
        for turn in self.turns().filter(|turn| matches!(turn["role"].as_str(), Some("system" | "developer")))
        {
            texts(&turn["content"], &mut text);
        }
        text
    }

    /// The text of the tools' results in the last turn.
    pub(crate) fn tool_result(&self) -> Option<String> {
        let last = self.turns().next_back().filter(|_| self.call.answers_tool)?;
        let mut text = String::new();
        strings(last, &mut text);
        Some(text)
    }

    /// Which answer of the model's is asked for, counted from 1.
    pub(crate) fn turn(&self) -> usize {
        let answers =
            self.turns().filter(|turn| matches!(turn["role"].as_str(), Some("assistant" | "model")));
        answers.count() + 1
    }

    pub(crate) fn temperature(&self) -> Option<f64> {
        let body = self.body();
        let places = [
            &body["temperature"],
            &body["generationConfig"]["temperature"],
            &body["inferenceConfig"]["temperature"],
        ];
        places.into_iter().find_map(Value::as_f64)
    }

    pub(crate) fn offers_tool(&self, name: &Text) -> bool {
        let body = self.body();
        let lists = [&body["tools"], &body["toolConfig"]["tools"]];
        let tools = lists.into_iter().filter_map(Value::as_array).flatten();
        tools.into_iter().any(|tool| {
            let one = [&tool["name"], &tool["function"]["name"], &tool["toolSpec"]["name"]];
            let many = ["functionDeclarations", "function_declarations"].map(|list| tool[list].as_array());
            let many = many.into_iter().flatten().flatten().map(|declared| &declared["name"]);
            one.into_iter().chain(many).filter_map(Value::as_str).any(|offered| name.holds(offered))
        })
    }

    /// Whether the answer is to be JSON.
    pub(crate) fn wants_json(&self) -> bool {
        let body = self.body();
        let openai = [
            &body["response_format"]["type"],
            &body["text"]["format"]["type"],
            &body["output_format"]["type"],
        ];
        openai.into_iter().any(|kind| kind == "json_object" || kind == "json_schema")
            || body["generationConfig"]["responseMimeType"] == "application/json"
    }
}

/// The texts of a content: itself, or of its parts.
fn texts(content: &Value, into: &mut String) {
    match content {
        Value::String(text) => into.push_str(text),
        Value::Array(parts) => parts.iter().for_each(|part| texts(part, into)),
        Value::Object(part) => {
            ["text", "parts"].iter().filter_map(|name| part.get(*name)).for_each(|inner| texts(inner, into));
        }
        _ => {}
    }
}

/// All strings in a value.
fn strings(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            into.push_str(text);
            into.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        Value::Object(members) => members.values().for_each(|member| strings(member, into)),
        _ => {}
    }
}
