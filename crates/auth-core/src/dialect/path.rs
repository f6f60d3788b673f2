//! Paths with parts that vary, and the name of a model in one.

use std::borrow::Cow;

use super::body::is_model;
use super::{Dialect, Operation, Route};

/// A path as the provider documents it. `{…}` stands for one segment, or for what comes in it before a
/// verb; `{model}` is the model's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Template {
    operation: Operation,
    path: &'static str,
    /// How much of it does not vary at the beginning: most paths are told apart by that.
    fixed: usize,
}

/// Where in a path the model's name is, and whether it may hold an escaped slash, as an ARN does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ModelAt {
    start: usize,
    end: usize,
    slashes: bool,
}

impl Template {
    pub(super) const fn new(operation: Operation, path: &'static str) -> Self {
        let mut fixed = 0;
        while fixed < path.len() && path.as_bytes()[fixed] != b'{' {
            fixed += 1;
        }
        Self { operation, path, fixed }
    }

    /// The route, if the path is this template's.
    pub(super) fn route(&self, dialect: Dialect, path: &str, slashes: bool) -> Option<Route> {
        let (fixed, mut template) = self.path.split_at(self.fixed);
        let mut rest = path.strip_prefix(fixed)?;
        let mut model_at = None;
        while let Some((literal, after)) = template.split_once('{') {
            let (name, after) = after.split_once('}')?;
            rest = rest.strip_prefix(literal)?;
            // Up to the end of the segment, but for a verb that ends it.
            let verb = &after[..after.find('/').unwrap_or(after.len())];
            let value = rest[..rest.find('/').unwrap_or(rest.len())].strip_suffix(verb)?;
            let start = path.len() - rest.len();
            let at = ModelAt { start, end: start + value.len(), slashes };
            at.read(path)?;
            // Google's verbs begin with a colon; an unknown one is no part of a name.
            if matches!(dialect, Dialect::Gemini | Dialect::Vertex) && value.contains(':') {
                return None;
            }
            if name == "model" {
                model_at = Some(at);
            }
            (template, rest) = (after, &rest[value.len()..]);
        }
        (rest == template).then_some(Route { dialect, operation: self.operation, path: self.path, model_at })
    }
}

impl ModelAt {
    /// The name, decoded once. `None` for what is no name of a model: one with a segment or a list in it
    /// would be another model, or another path, to a server that decodes differently.
    pub(super) fn read(self, path: &str) -> Option<Cow<'_, str>> {
        let raw = path.get(self.start..self.end)?;
        let name: Cow<'_, str> = if raw.contains('%') { decode(raw)?.into() } else { raw.into() };
        let plain = !matches!(&*name, "." | "..") && (self.slashes || !name.contains('/'));
        (plain && !name.contains(['%', '\\', '?', '#']) && is_model(&name)).then_some(name)
    }
}

/// What RFC 3986 section 2.1 escapes, decoded; only ASCII.
fn decode(raw: &str) -> Option<String> {
    let mut name = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('%') {
        name.push_str(before);
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(digits, 16).ok().filter(u8::is_ascii)?;
        name.push(char::from(byte));
        rest = &after[2..];
    }
    name.push_str(rest);
    Some(name)
}
