//! What a test says beforehand: which requests, and what to answer them.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use portunus_auth_core::{BearerToken, Dialect};
use serde_json::Value;

use crate::api_error::ApiError;
use crate::capture::Recorded;
use crate::condition::Condition;
use crate::fault::Fault;
use crate::reply::Reply;
use crate::step::{Kind, Step};
use crate::text::Text;
use crate::times::Times;

/// Conditions on a request and what to answer when all of them hold.
///
/// A server tries its fixtures by priority, and then in the order of adding; the first that matches
/// answers. Without a condition, a fixture matches every request; without a reply, it answers a fixed text.
#[derive(Clone, Debug)]
pub struct Fixture {
    pub(crate) name: Option<String>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) reply: Reply,
    /// In place of the reply.
    pub(crate) steps: Vec<Step>,
    pub(crate) times: Option<usize>,
    pub(crate) priority: i32,
    pub(crate) catch_all: bool,
    pub(crate) chance: f64,
    pub(crate) seed: Option<u64>,
    pub(crate) requires: Option<(String, String)>,
    pub(crate) sets: Option<(String, String)>,
    /// How often it is to answer, if that is to be checked.
    pub(crate) expected: Option<Times>,
    pub(crate) problem: Option<Cow<'static, str>>,
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

/// Which requests it matches.
impl Fixture {
    /// A fixture that matches every request and answers a fixed text.
    pub fn new() -> Self {
        Self {
            name: None,
            conditions: Vec::new(),
            reply: Reply::new(),
            steps: Vec::new(),
            times: None,
            priority: 0,
            catch_all: false,
            chance: 1.0,
            seed: None,
            requires: None,
            sets: None,
            expected: None,
            problem: None,
        }
    }

    /// Matches requests for that model.
    #[must_use]
    pub fn on_model(self, model: impl Into<Text>) -> Self {
        self.when(Condition::Model(model.into()))
    }

    /// Matches requests in that dialect.
    #[must_use]
    pub fn on_dialect(self, dialect: Dialect) -> Self {
        self.when(Condition::Dialect(dialect))
    }

    /// Matches the text of the last user message.
    #[must_use]
    pub fn user(self, text: impl Into<Text>) -> Self {
        self.when(Condition::User(text.into()))
    }

    /// Matches when the text of the last user message contains `text`.
    #[must_use]
    pub fn user_contains(self, text: impl Into<String>) -> Self {
        self.user(Text::contains(text))
    }

    /// Matches what the system is told, wherever the dialect puts it.
    #[must_use]
    pub fn system(self, text: impl Into<Text>) -> Self {
        self.when(Condition::System(text.into()))
    }

    /// Matches a header of that name.
    #[must_use]
    pub fn header(mut self, name: &str, text: impl Into<Text>) -> Self {
        match HeaderName::try_from(name) {
            Ok(name) => self.when(Condition::Header(name, text.into())),
            Err(_) => {
                self.problem = Some("that is no name of a header".into());
                self
            }
        }
    }

    /// Matches exactly that temperature, as it is written.
    #[must_use]
    pub fn temperature(self, temperature: f64) -> Self {
        self.temperature_in(temperature..=temperature)
    }

    /// Matches temperatures in a range.
    #[must_use]
    pub fn temperature_in(self, range: RangeInclusive<f64>) -> Self {
        self.when(Condition::Temperature(range))
    }

    /// Matches when the metadata have that text under that name.
    #[must_use]
    pub fn metadata(self, name: impl Into<String>, value: impl Into<Text>) -> Self {
        self.when(Condition::Metadata(name.into(), value.into()))
    }

    /// Matches when a tool of that name is offered.
    #[must_use]
    pub fn offers_tool(self, name: impl Into<Text>) -> Self {
        self.when(Condition::OffersTool(name.into()))
    }

    /// Matches when the answer is to be JSON, with or without a schema.
    #[must_use]
    pub fn wants_json(self) -> Self {
        self.when(Condition::WantsJson)
    }

    /// Matches when the body has that value where the pointer (RFC 6901) points.
    #[must_use]
    pub fn pointer(self, pointer: impl Into<String>, value: impl Into<Value>) -> Self {
        self.when(Condition::Pointer(pointer.into(), Some(value.into())))
    }

    /// Matches when the body has anything where the pointer (RFC 6901) points.
    #[must_use]
    pub fn has_pointer(self, pointer: impl Into<String>) -> Self {
        self.when(Condition::Pointer(pointer.into(), None))
    }

    /// Matches when the last message is a tool's result.
    #[must_use]
    pub fn after_tool_result(self) -> Self {
        self.when(Condition::ToolResult(None))
    }

    /// Matches when the last message is a tool's result with that text: its content, its name and its
    /// call's id, a line each.
    #[must_use]
    pub fn tool_result(self, text: impl Into<Text>) -> Self {
        self.when(Condition::ToolResult(Some(text.into())))
    }

    /// Matches when the model is asked for its `turn`-th answer of the conversation, counted from 1.
    #[must_use]
    pub fn turn(self, turn: usize) -> Self {
        self.when(Condition::Turn(turn))
    }

    /// Matches requests that present that key or token, whether or not the server checks it.
    #[must_use]
    pub fn with_key(self, key: impl Into<String>) -> Self {
        self.when(Condition::Key(BearerToken::new(key)))
    }

    /// Matches when `predicate` says so.
    #[must_use]
    pub fn matching(self, predicate: impl Fn(&Recorded) -> bool + Send + Sync + 'static) -> Self {
        self.when(Condition::Predicate(Arc::new(predicate)))
    }

    /// Matches `times` requests, and then no more.
    #[must_use]
    pub fn up_to(mut self, times: usize) -> Self {
        if times == 0 {
            self.problem = Some("a fixture that matches 0 times would never answer".into());
        }
        self.times = Some(times);
        self
    }

    /// Comes before fixtures of a lower priority; 0 unless it is said.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Comes after all fixtures that are not catch-alls, whatever their priority.
    #[must_use]
    pub fn catch_all(mut self) -> Self {
        self.catch_all = true;
        self
    }

    /// Matches with that probability, of 0 to 1; a request that it does not match goes on to the next
    /// fixture. The same seed draws the same.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        if !(0.0..=1.0).contains(&probability) {
            self.problem = Some("a probability is a number from 0 to 1".into());
        }
        self.chance = probability;
        self
    }

    /// What it leaves to chance is drawn from that seed, in place of the server's: the same for the same
    /// number of requests, whatever other fixtures do.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Matches while the scenario is in that state; `""` is that of one that was not entered yet.
    #[must_use]
    pub fn in_state(mut self, scenario: impl Into<String>, state: impl Into<String>) -> Self {
        self.requires = Some((scenario.into(), state.into()));
        self
    }

    /// Sets the scenario's state once it has matched.
    #[must_use]
    pub fn sets_state(mut self, scenario: impl Into<String>, state: impl Into<String>) -> Self {
        self.sets = Some((scenario.into(), state.into()));
        self
    }

    /// Names it, for reports and [`Recorded::fixture`]. Without a name it is `fixture N`, counted from 0 in
    /// the order of adding.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How often it is to answer, as in `expect(2)` or `expect(1..)`; see [`MockServer::verify`].
    ///
    /// [`MockServer::verify`]: crate::MockServer::verify
    #[must_use]
    pub fn expect(mut self, times: impl Into<Times>) -> Self {
        let times = times.into();
        if times.is_empty() {
            self.problem = Some("no number of times is in that range".into());
        }
        self.expected = Some(times);
        self
    }

    fn when(mut self, condition: Condition) -> Self {
        self.problem = self.problem.or_else(|| condition.problem().map(|says| says.to_owned().into()));
        self.conditions.push(condition);
        self
    }
}

/// What it answers.
impl Fixture {
    /// Answers with that, in place of what was said before about the reply.
    #[must_use]
    pub fn reply(mut self, reply: impl Into<Reply>) -> Self {
        self.reply = reply.into();
        self
    }

    /// Answers with a reply that is made of the request, in place of everything else.
    #[must_use]
    pub fn reply_with(mut self, make: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        self.steps = vec![Step(Kind::Made(Arc::new(make)))];
        self
    }

    /// Answers with one after the other, in place of everything else, and matches no more after the last.
    ///
    /// ```
    /// use portunus_mock::{ApiError, Fixture, Reply, Step};
    ///
    /// let fixture = Fixture::new().sequence([Step::from(ApiError::rate_limited()), Reply::from("ok").into()]);
    /// # let _ = fixture;
    /// ```
    #[must_use]
    pub fn sequence<S: Into<Step>>(mut self, steps: impl IntoIterator<Item = S>) -> Self {
        self.steps = steps.into_iter().map(Into::into).collect();
        self.times = Some(self.times.map_or(self.steps.len(), |times| times.min(self.steps.len())));
        if self.steps.is_empty() {
            self.problem = Some("a sequence without a step would never answer".into());
        }
        self
    }

    /// Answers with text; in addition to what was said before.
    #[must_use]
    pub fn respond_with_content(self, text: impl Into<String>) -> Self {
        self.change(|reply| reply.text(text))
    }

    /// Answers with a call of a tool; in addition to what was said before. The arguments must be a
    /// JSON object.
    #[must_use]
    pub fn respond_with_tool_call(self, name: impl Into<String>, arguments: impl Into<Value>) -> Self {
        self.change(|reply| reply.tool_call(name, arguments))
    }

    /// Answers with an error of the provider's shape, in place of everything else. The status must be
    /// one of 400 to 599.
    #[must_use]
    pub fn respond_with_error(self, status: u16, message: impl Into<String>) -> Self {
        self.respond_with(ApiError::new(status, message))
    }

    /// Answers with an error, in place of everything else.
    #[must_use]
    pub fn respond_with(mut self, error: ApiError) -> Self {
        self.steps = vec![error.into()];
        self
    }

    /// Does that instead of answering, in place of everything else. It costs a use all the same.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.steps = vec![fault.into()];
        self
    }

    /// See [`Reply::chunks`].
    #[must_use]
    pub fn chunks(self, pieces: usize) -> Self {
        self.change(|reply| reply.chunks(pieces))
    }

    /// See [`Reply::latency`].
    #[must_use]
    pub fn latency(self, between_frames: Duration) -> Self {
        self.change(|reply| reply.latency(between_frames))
    }

    /// See [`Reply::jitter`].
    #[must_use]
    pub fn jitter(self, most: Duration) -> Self {
        self.change(|reply| reply.jitter(most))
    }

    /// See [`Reply::truncate_after_frames`].
    #[must_use]
    pub fn truncate_after_frames(self, frames: usize) -> Self {
        self.change(|reply| reply.truncate_after_frames(frames))
    }

    /// See [`Reply::reset_after_frames`].
    #[must_use]
    pub fn reset_after_frames(self, frames: usize) -> Self {
        self.change(|reply| reply.reset_after_frames(frames))
    }

    fn change(mut self, change: impl FnOnce(Reply) -> Reply) -> Self {
        self.reply = change(self.reply);
        self
    }
}
