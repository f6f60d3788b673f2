//! What a test says beforehand: which requests, and what to answer them.

use std::time::Duration;

use portunus_auth_core::BearerToken;
use serde_json::Value;

use crate::body::End;
use crate::error::StartError;
use crate::llm::{Call, Failure, Part, Plan, Script};

/// The number of pieces into which a stream cuts a text, unless a fixture says otherwise.
pub(crate) const CHUNKS: usize = 4;
/// The answer where nobody said what to answer.
pub(crate) const TEXT: &str = "Hello from the mock.";

/// Conditions on a request and what to answer when all of them hold.
///
/// A server tries its fixtures in the order of adding; the first that matches answers. Without a
/// condition, a fixture matches every request; without a reply, it answers a fixed text.
#[derive(Clone, Debug)]
pub struct Fixture {
    conditions: Vec<Condition>,
    parts: Vec<Part>,
    error: Option<(u16, String)>,
    chunks: usize,
    latency: Duration,
    end: Option<(usize, End)>,
    problem: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Condition {
    Model(String),
    UserContains(String),
    Key(BearerToken),
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture {
    /// A fixture that matches every request and answers a fixed text.
    pub fn new() -> Self {
        Self {
            conditions: Vec::new(),
            parts: Vec::new(),
            error: None,
            chunks: CHUNKS,
            latency: Duration::ZERO,
            end: None,
            problem: None,
        }
    }

    /// Matches requests for exactly that model.
    #[must_use]
    pub fn on_model(self, model: impl Into<String>) -> Self {
        self.when(Condition::Model(model.into()))
    }

    /// Matches when the text of the last user message contains `text`. An empty text is refused when
    /// the server is built.
    #[must_use]
    pub fn user_contains(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        if text.is_empty() {
            self.problem = Some("`user_contains(\"\")` would match everything; leave it out to say so");
        }
        self.when(Condition::UserContains(text))
    }

    /// Matches requests that present that key or token, whether or not the server checks it.
    #[must_use]
    pub fn with_key(self, key: impl Into<String>) -> Self {
        self.when(Condition::Key(BearerToken::new(key)))
    }

    /// Answers with text; in addition to what was said before.
    #[must_use]
    pub fn respond_with_content(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Text(text.into()));
        self
    }

    /// Answers with a call of a tool; in addition to what was said before. The arguments must be a
    /// JSON object.
    #[must_use]
    pub fn respond_with_tool_call(mut self, name: impl Into<String>, arguments: impl Into<Value>) -> Self {
        let (name, arguments) = (name.into(), arguments.into());
        if name.is_empty() || !arguments.is_object() {
            self.problem = Some("a tool call needs a name, and a JSON object as its arguments");
        }
        self.parts.push(Part::tool(name, &arguments));
        self
    }

    /// Answers with an error of the provider's shape, in place of everything else. The status must be
    /// one of 400 to 599.
    #[must_use]
    pub fn respond_with_error(mut self, status: u16, message: impl Into<String>) -> Self {
        if !(400..600).contains(&status) {
            self.problem = Some("an error has a status of 400 to 599");
        }
        self.error = Some((status, message.into()));
        self
    }

    /// Cuts each text, and each tool call's arguments, into that many pieces when streamed; fewer, if
    /// it has fewer characters. At least 1.
    #[must_use]
    pub fn chunks(mut self, pieces: usize) -> Self {
        if pieces == 0 {
            self.problem = Some("a text cannot be cut into 0 pieces");
        }
        self.chunks = pieces;
        self
    }

    /// Waits that long between two frames of a stream, in real time.
    #[must_use]
    pub fn latency(mut self, between_frames: Duration) -> Self {
        self.latency = between_frames;
        self
    }

    /// Ends a stream cleanly after that many frames, as if it were whole.
    #[must_use]
    pub fn truncate_after_frames(mut self, frames: usize) -> Self {
        self.end = Some((frames, End::Clean));
        self
    }

    /// Resets the connection after that many frames of a stream.
    #[must_use]
    pub fn reset_after_frames(mut self, frames: usize) -> Self {
        self.end = Some((frames, End::Reset));
        self
    }

    fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Refuses what can never do what it says.
    pub(crate) fn checked(mut self, index: usize) -> Result<Self, StartError> {
        if let Some(says) = self.problem {
            return Err(StartError::Fixture { index, says });
        }
        if self.error.is_some() && !self.parts.is_empty() {
            return Err(StartError::Fixture { index, says: "it answers both an error and a reply" });
        }
        if self.parts.is_empty() {
            self.parts.push(Part::Text(TEXT.to_owned()));
        }
        Ok(self)
    }

    pub(crate) fn matches(&self, call: &Call, key: Option<&BearerToken>) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::Model(model) => call.model == *model,
            Condition::UserContains(text) => call.user_text.contains(text),
            Condition::Key(wanted) => key.is_some_and(|key| key.expose() == wanted.expose()),
        })
    }

    pub(crate) fn plan(&self) -> Plan<'_> {
        match &self.error {
            Some((status, message)) => Plan::Fail(Failure::new(*status, message.clone())),
            None => Plan::Reply(Script {
                parts: (&self.parts).into(),
                chunks: self.chunks,
                latency: self.latency,
                end: self.end,
            }),
        }
    }
}
