//! What a dialect needs to word a reply.

use std::cell::OnceCell;

use super::call::{Call, tokens};
use super::ids::Ids;
use crate::reply::{Chunks, Ending, Part, Reply, Stop};

/// A reply to a request.
#[derive(Debug)]
pub(super) struct Completion<'a> {
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) model: &'a str,
    pub(super) parts: &'a [Part],
    pub(super) usage: Tokens,
    pub(super) finish: Finish,
    /// Whether a stream is to end with the usage (OpenAI's `stream_options.include_usage`).
    pub(super) include_usage: bool,
    /// The names of what the reply is made of.
    pub(super) ids: &'a Ids,
    reply: &'a Reply,
    id: OnceCell<String>,
}

/// What it cost. The input holds what came from the cache, the output what was thought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cache_read: u64,
    pub(super) cache_written: u64,
    pub(super) reasoning: u64,
}

/// Why a reply ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Complete,
    Tool,
    Refusal,
    MaxTokens,
    ContentFilter,
}

impl<'a> Completion<'a> {
    pub(super) fn new(call: &'a Call, reply: &'a Reply, ids: &'a Ids, created: u64) -> Self {
        let any = |kind: fn(&Part) -> bool| reply.parts.iter().any(kind);
        let finish = match reply.stop {
            Some(Stop::MaxTokens) => Finish::MaxTokens,
            Some(Stop::ContentFilter) => Finish::ContentFilter,
            None if any(|part| matches!(part, Part::Refusal(_))) => Finish::Refusal,
            None if any(|part| matches!(part, Part::Tool { .. })) => Finish::Tool,
            None => Finish::Complete,
        };
        Self {
            created,
            model: reply.model.as_deref().unwrap_or(&call.model),
            parts: &reply.parts,
            usage: Tokens::of(call, reply),
            finish,
            include_usage: call.include_usage,
            ids,
            reply,
            id: OnceCell::new(),
        }
    }

    /// The reply's own name, or else a fresh one, the same each time.
    pub(super) fn id(&self, fresh: impl FnOnce(&Ids) -> String) -> &str {
        self.reply.id.as_deref().unwrap_or_else(|| self.id.get_or_init(|| fresh(self.ids)))
    }

    /// After how many frames a stream of it ends too early, and how.
    pub(super) fn end(&self) -> Option<&'a (usize, Ending)> {
        self.reply.end.as_ref()
    }

    pub(super) fn fingerprint(&self) -> &'a str {
        self.reply.fingerprint.as_deref().unwrap_or("fp_mock")
    }

    /// Cuts a text into pieces, none of them empty and none through a character.
    pub(super) fn pieces<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> + use<'t> {
        let chars = text.chars().count();
        let chunks = self.reply.chunks;
        let pieces = match chunks {
            Chunks::Pieces(pieces) => pieces.min(chars),
            Chunks::Size(size) => chars.div_ceil(size),
        };
        let mut rest = text;
        (0..pieces).map(move |n| {
            let take = match chunks {
                // About equal ones.
                Chunks::Pieces(_) => (n + 1) * chars / pieces - n * chars / pieces,
                Chunks::Size(size) => size,
            };
            let end = rest.char_indices().nth(take).map_or(rest.len(), |(at, _)| at);
            let (piece, after) = rest.split_at(end);
            rest = after;
            piece
        })
    }
}

impl Tokens {
    fn of(call: &Call, reply: &Reply) -> Self {
        let said = reply.usage;
        let thought: usize =
            reply.parts.iter().filter(|part| matches!(part, Part::Thinking { .. })).map(Part::bytes).sum();
        let estimate = || (call.input_tokens(), tokens(reply.parts.iter().map(Part::bytes).sum()));
        let (input, output) = said.tokens.unwrap_or_else(estimate);
        let thought = if thought == 0 { 0 } else { tokens(thought) };
        Self {
            input,
            output,
            cache_read: said.cache_read.min(input),
            cache_written: said.cache_written.min(input.saturating_sub(said.cache_read)),
            reasoning: said.reasoning.unwrap_or(thought).min(output),
        }
    }
}
