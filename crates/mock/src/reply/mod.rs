//! What a fixture replies: parts in their order.

mod sending;

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::rate_limits::RateLimits;
#[cfg(feature = "fixtures")]
use crate::template::Template;

pub(crate) use sending::{Chunks, Ending, Which};

/// The number of pieces into which a stream cuts a text, unless a reply says otherwise.
const CHUNKS: usize = 4;
/// The answer where nobody said what to answer.
pub(crate) const TEXT: &str = "Hello from the mock.";

/// A reply in parts, in their order, which each dialect words in its own way.
///
/// ```
/// use portunus_mock::{Fixture, Reply};
///
/// let reply = Reply::new()
///     .thinking("They want to know the weather.")
///     .text("Let me see.")
///     .tool_call("get_weather", serde_json::json!({"city": "Paris"}))
///     .usage(120, 30);
/// let fixture = Fixture::new().user_contains("weather").reply(reply);
/// # let _ = fixture;
/// ```
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) parts: Vec<Part>,
    /// Which of the parts are made of the request, once there is one.
    #[cfg(feature = "fixtures")]
    pub(crate) templates: Vec<(usize, Template)>,
    pub(crate) embedding: Option<Vec<f32>>,
    pub(crate) usage: Usage,
    pub(crate) id: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) stop: Option<Stop>,
    pub(crate) chunks: Chunks,
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    /// How long nothing is answered, and how long no frame is sent after that.
    pub(crate) delay: (Duration, Duration),
    pub(crate) corrupt: Option<Which>,
    pub(crate) duplicate: Option<Which>,
    pub(crate) odd_framing: bool,
    pub(crate) reset_after: Option<Duration>,
    /// After how many frames a stream ends too early, and how.
    pub(crate) end: Option<(usize, Ending)>,
    pub(crate) limits: Option<RateLimits>,
    pub(crate) problem: Option<Cow<'static, str>>,
}

/// A part of a reply.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Text(Text),
    Thinking { text: String, signature: String },
    Refusal(Text),
    Tool { name: String, arguments: Box<RawValue> },
}

/// A text of a part. As JSON it is escaped once, and not for every request.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    text: String,
    json: OnceLock<Box<RawValue>>,
}

/// Why a reply ends before it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// It reached the largest number of tokens.
    MaxTokens,
    /// A filter of the provider's cut it off.
    ContentFilter,
}

/// What a reply says that it cost, where it does not leave that to an estimate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) tokens: Option<(u64, u64)>,
    pub(crate) cache_read: u64,
    pub(crate) cache_written: u64,
    pub(crate) reasoning: Option<u64>,
}

impl Default for Reply {
    fn default() -> Self {
        Self::new()
    }
}

impl Reply {
    /// A reply without any part yet. One that gets none is a fixed text.
    pub fn new() -> Self {
        Self {
            parts: Vec::new(),
            #[cfg(feature = "fixtures")]
            templates: Vec::new(),
            embedding: None,
            usage: Usage::default(),
            id: None,
            model: None,
            fingerprint: None,
            stop: None,
            chunks: Chunks::Pieces(CHUNKS),
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            delay: (Duration::ZERO, Duration::ZERO),
            corrupt: None,
            duplicate: None,
            odd_framing: false,
            reset_after: None,
            end: None,
            limits: None,
            problem: None,
        }
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.part(Part::Text(Text::new(text)))
    }

    /// Adds a text that is made of the request, such as `"You said: {{ user_message }}"`: a template in the
    /// language of Jinja, which knows `model`, `user_message`, `system_prompt`, `tool_result`, `turn`,
    /// `request_id` and `request`, the body as JSON.
    ///
    /// One that cannot be compiled is refused when the server is built; one that fails on a request makes the
    /// answer an error 500.
    #[cfg(feature = "fixtures")]
    #[must_use]
    pub fn template(mut self, source: impl Into<String>) -> Self {
        match Template::new(source.into()) {
            Ok(template) => self.made_by(template),
            Err(says) => {
                self.problem = Some(says.into());
                self
            }
        }
    }

    /// Adds what the user said.
    #[cfg(feature = "fixtures")]
    #[must_use]
    pub fn echo(self) -> Self {
        self.template("{{ user_message }}")
    }

    /// Adds what the model thinks, with a made-up signature. OpenAI's chat completions do not show it,
    /// but count it.
    #[must_use]
    pub fn thinking(self, text: impl Into<String>) -> Self {
        self.part(Part::Thinking { text: text.into(), signature: "bW9jay1zaWduYXR1cmU=".to_owned() })
    }

    /// Adds a refusal to answer. Where a dialect has no words for one it is a text, and the reason to
    /// stop tells.
    #[must_use]
    pub fn refusal(self, text: impl Into<String>) -> Self {
        self.part(Part::Refusal(Text::new(text)))
    }

    /// Adds a call of a tool. The arguments must be a JSON object.
    #[must_use]
    pub fn tool_call(mut self, name: impl Into<String>, arguments: impl Into<Value>) -> Self {
        let (name, arguments) = (name.into(), arguments.into());
        if name.is_empty() || !arguments.is_object() {
            self.problem = Some("a tool call needs a name, and a JSON object as its arguments".into());
        }
        self.part(Part::tool(name, &arguments))
    }

    /// The vector that every text is embedded as, in place of one made from the text. It must not be
    /// empty.
    #[must_use]
    pub fn embedding(mut self, vector: impl Into<Vec<f32>>) -> Self {
        let vector = vector.into();
        if vector.is_empty() || vector.iter().any(|value| !value.is_finite()) {
            self.problem = Some("an embedding needs values, all of them finite".into());
        }
        self.embedding = Some(vector);
        self
    }

    /// Says how many tokens it cost, in place of an estimate: input with what the cache gave, and output
    /// with what was thought.
    #[must_use]
    pub fn usage(mut self, input: u64, output: u64) -> Self {
        self.usage.tokens = Some((input, output));
        self
    }

    /// Says how many of the input's tokens were read from a cache, and how many written to it.
    #[must_use]
    pub fn cached_tokens(mut self, read: u64, written: u64) -> Self {
        (self.usage.cache_read, self.usage.cache_written) = (read, written);
        self
    }

    /// Says how many of the output's tokens were thought, in place of an estimate.
    #[must_use]
    pub fn reasoning_tokens(mut self, tokens: u64) -> Self {
        self.usage.reasoning = Some(tokens);
        self
    }

    /// Names the reply, in place of the next name of the server's.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Says which model answers, in place of the one that was asked for.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The `system_fingerprint` of OpenAI's chat completions.
    #[must_use]
    pub fn fingerprint(mut self, fingerprint: impl Into<String>) -> Self {
        self.fingerprint = Some(fingerprint.into());
        self
    }

    /// Ends before it is complete.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = Some(stop);
        self
    }

    /// States these limits in headers, where the provider does.
    #[must_use]
    pub fn rate_limits(mut self, limits: RateLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Adds a text that the template makes of the request; until then it is empty.
    #[cfg(feature = "fixtures")]
    pub(crate) fn made_by(mut self, template: Template) -> Self {
        self.templates.push((self.parts.len(), template));
        self.text("")
    }

    /// One that got no part is a fixed text.
    pub(crate) fn fill(&mut self) {
        if self.parts.is_empty() {
            self.parts.push(Part::Text(Text::new(TEXT)));
        }
    }

    pub(crate) fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::new().text(text)
    }
}

impl Text {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), json: OnceLock::new() }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let escape = || serde_json::value::to_raw_value(&self.text).expect("a text is always written");
        self.json.get_or_init(escape).serialize(serializer)
    }
}

impl Part {
    pub(crate) fn tool(name: String, arguments: &Value) -> Self {
        let arguments = serde_json::value::to_raw_value(arguments).expect("a JSON value is always written");
        Self::Tool { name, arguments }
    }

    /// The bytes that count as the model's output.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Refusal(text) => text.len(),
            Self::Thinking { text, .. } => text.len(),
            Self::Tool { name, arguments } => name.len() + arguments.get().len(),
        }
    }
}
