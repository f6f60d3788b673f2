//! What is replied, in the words that all dialects share.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Failure;
use super::call::{Call, tokens};
use crate::body::End;

/// A part of a reply.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Text(String),
    Tool { name: String, arguments: Box<RawValue> },
}

impl Part {
    pub(crate) fn tool(name: String, arguments: &Value) -> Self {
        let arguments = serde_json::value::to_raw_value(arguments).expect("a JSON value is always written");
        Self::Tool { name, arguments }
    }
}

/// What to do about a request.
#[derive(Debug)]
pub(crate) enum Plan<'a> {
    Reply(Script<'a>),
    Fail(Failure),
}

/// What to say, and how to send it.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    pub(crate) parts: Cow<'a, [Part]>,
    pub(crate) chunks: usize,
    pub(crate) latency: Duration,
    /// After how many frames a stream ends too early, and how.
    pub(crate) end: Option<(usize, End)>,
}

/// A part with its name.
#[derive(Debug)]
pub(crate) enum Block<'a> {
    Text(&'a str),
    Tool { id: String, name: &'a str, arguments: &'a RawValue },
}

/// Everything that a dialect needs to write a reply.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: &'a str,
    pub(crate) blocks: Vec<Block<'a>>,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) chunks: usize,
    pub(crate) include_usage: bool,
}

impl<'a> Reply<'a> {
    pub(crate) fn new(
        call: &'a Call,
        script: &'a Script<'_>,
        id: String,
        created: u64,
        mut tool_id: impl FnMut() -> String,
    ) -> Self {
        let mut bytes = 0;
        let blocks = script.parts.iter().map(|part| match part {
            Part::Text(text) => {
                bytes += text.len();
                Block::Text(text)
            }
            Part::Tool { name, arguments } => {
                bytes += name.len() + arguments.get().len();
                Block::Tool { id: tool_id(), name, arguments }
            }
        });
        Self {
            id,
            created,
            model: &call.model,
            blocks: blocks.collect(),
            input_tokens: call.input_tokens(),
            output_tokens: tokens(bytes),
            chunks: script.chunks,
            include_usage: call.include_usage,
        }
    }

    pub(crate) fn calls_tools(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block, Block::Tool { .. }))
    }

    /// Cuts a text into about equal pieces, none of them empty and none through a character.
    pub(crate) fn pieces<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> + use<'t> {
        let chars = text.chars().count();
        let pieces = self.chunks.min(chars);
        let mut rest = text;
        (0..pieces).map(move |n| {
            let take = (n + 1) * chars / pieces - n * chars / pieces;
            let end = rest.char_indices().nth(take).map_or(rest.len(), |(at, _)| at);
            let (piece, after) = rest.split_at(end);
            rest = after;
            piece
        })
    }
}
