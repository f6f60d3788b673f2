//! What every dialect's request says, in common words.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::Failure;

/// A request, as far as a reply can depend on it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// Whether a stream is to end with the usage (OpenAI's `stream_options.include_usage`).
    pub(crate) include_usage: bool,
    /// The text of the last user message.
    pub(crate) user_text: String,
    /// Whether the last message is a tool's result.
    pub(crate) answers_tool: bool,
    /// The first tool that the caller runs itself.
    pub(crate) tool: Option<Tool>,
    /// The bytes of all text.
    pub(crate) input_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// The JSON schema of its arguments.
    pub(crate) schema: Option<Box<RawValue>>,
}

impl Call {
    pub(crate) fn input_tokens(&self) -> u64 {
        tokens(self.input_bytes)
    }
}

/// An estimate: four bytes a token, and no text without one.
pub(crate) fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4).max(1) as u64
}

/// Reads a body. The parser's own words can quote the body; only what names a member of ours, or a
/// place, is passed on.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let at = format!("at line {} column {}", error.line(), error.column());
        let says = error.to_string();
        let says = match error.classify() {
            Category::Data if says.starts_with("missing field") || says.starts_with("duplicate field") => {
                says
            }
            Category::Data => format!("the body has a member of the wrong type {at}"),
            _ => format!("the body is not valid JSON {at}"),
        };
        Failure::new(400, says)
    })
}

/// The content of a message: a text, a list of parts, or nothing.
#[derive(Debug, Default)]
pub(super) struct Content<'a> {
    /// The text of the text parts. A text without escapes is not copied.
    pub(super) text: Cow<'a, str>,
    /// The bytes of the text in tools' results.
    nested_bytes: usize,
    /// Whether a part is a tool's result.
    pub(super) tool_result: bool,
}

impl Content<'_> {
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.nested_bytes
    }
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(default, borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextOrParts)
    }
}

struct TextOrParts;

impl<'de> Visitor<'de> for TextOrParts {
    type Value = Content<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of parts")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Content<'de>, E> {
        Ok(Content::default())
    }
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Content<'de>, E> {
        Ok(Content { text: text.into(), ..Content::default() })
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Content<'de>, E> {
        Ok(Content { text: text.to_owned().into(), ..Content::default() })
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content<'de>, A::Error> {
        let mut content = Content::default();
        while let Some(part) = parts.next_element::<Part<'de>>()? {
            match part.text {
                Some(text) if content.text.is_empty() => content.text = text,
                Some(text) => content.text.to_mut().push_str(&text),
                None => {}
            }
            content.nested_bytes += part.content.map_or(0, |nested| nested.bytes());
            content.tool_result |= part.r#type == "tool_result";
        }
        Ok(content)
    }
}

/// One message of a conversation.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) role: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(super) content: Content<'a>,
}

/// The text of the last message of the user, and the bytes of all.
pub(super) fn texts(messages: &mut [Message<'_>]) -> (String, usize) {
    let bytes = messages.iter().map(|message| message.content.bytes()).sum();
    let last = messages.iter_mut().rev().find(|message| message.role == "user");
    let text = last.map(|message| std::mem::take(&mut message.content.text).into_owned());
    (text.unwrap_or_default(), bytes)
}
