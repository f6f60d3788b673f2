//! Values that a fixture file may hold, checked where they stand.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::rate_limits::{Quota, RateLimits};
use crate::text::Text;
use crate::times::Times;

/// The longest wait that a file may ask for: a day.
const LONGEST: u64 = 24 * 60 * 60 * 1_000;

/// A text to compare with: a part of it, or `{is: …}`, or `{regex: …}`.
pub(super) struct Pattern(pub(super) Text);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Comparison {
    Is(String),
    Regex(Regex),
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Regex(Text);

impl TryFrom<String> for Regex {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, String> {
        usable(Text::matches(&pattern)).map(Self)
    }
}

fn usable(text: Text) -> Result<Text, String> {
    text.problem().map(str::to_owned).map_or(Ok(text), Err)
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text (in quotes, if it looks like something else), `{is: …}` or `{regex: …}`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Pattern, E> {
                usable(Text::contains(text)).map(Pattern).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Pattern, A::Error> {
                Ok(Pattern(match Comparison::deserialize(MapAccessDeserializer::new(map))? {
                    Comparison::Is(text) => Text::is(text),
                    Comparison::Regex(Regex(text)) => text,
                }))
            }
        }
        from.deserialize_any(Reader)
    }
}

/// Names and what they stand for, in their order.
pub(super) struct Named<N, V>(pub(super) Vec<(N, V)>);

impl<N, V> Default for Named<N, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, N: Deserialize<'de> + PartialEq, V: Deserialize<'de>> Deserialize<'de> for Named<N, V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader<N, V>(PhantomData<(N, V)>);
        impl<'de, N: Deserialize<'de> + PartialEq, V: Deserialize<'de>> Visitor<'de> for Reader<N, V> {
            type Value = Named<N, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names with a value each: `{name: value}`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<N, V>, A::Error> {
                let mut named = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    if named.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom("a name stands there twice"));
                    }
                    named.push((name, value));
                }
                Ok(Named(named))
            }
        }
        from.deserialize_map(Reader(PhantomData))
    }
}

/// The name of a header.
#[derive(Deserialize, PartialEq)]
#[serde(try_from = "String")]
pub(super) struct Header(pub(super) HeaderName);

impl TryFrom<String> for Header {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        HeaderName::try_from(name).map(Self).map_err(|_| "that is no name of a header")
    }
}

/// The value of a header.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct HeaderText(pub(super) String);

impl TryFrom<String> for HeaderText {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match HeaderValue::try_from(&text) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err("a header's value is one line of text"),
        }
    }
}

/// A text that says something.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Nonempty(pub(super) String);

impl TryFrom<String> for Nonempty {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.is_empty() { Err("it must not be empty") } else { Ok(Self(text)) }
    }
}

/// A number of things, of which there is at least one.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "usize")]
pub(super) struct Count(pub(super) usize);

impl TryFrom<usize> for Count {
    type Error = &'static str;

    fn try_from(count: usize) -> Result<Self, &'static str> {
        if count == 0 { Err("it is at least 1") } else { Ok(Self(count)) }
    }
}

/// How often something is to happen: a number, or `{min: …, max: …}` with one of them at least.
#[derive(Clone, Copy)]
pub(super) struct Expected(pub(super) Times);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    min: Option<usize>,
    max: Option<usize>,
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Expected;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of times, or `{min: …, max: …}`")
            }
            fn visit_u64<E: Error>(self, times: u64) -> Result<Expected, E> {
                usize::try_from(times).map(|times| Expected(times.into())).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, times: i64) -> Result<Expected, E> {
                u64::try_from(times).map_err(E::custom).and_then(|times| self.visit_u64(times))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expected, A::Error> {
                let times = match Range::deserialize(MapAccessDeserializer::new(map))? {
                    Range { min: None, max: None } => {
                        return Err(A::Error::custom("a range has `min` or `max`"));
                    }
                    Range { min, max: None } => Times::from(min.unwrap_or_default()..),
                    Range { min, max: Some(max) } => Times::from(min.unwrap_or_default()..=max),
                };
                if times.is_empty() {
                    return Err(A::Error::custom("no number of times is in that range"));
                }
                Ok(Expected(times))
            }
        }
        from.deserialize_any(Reader)
    }
}

/// A wait, in milliseconds.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Millis(pub(super) Duration);

impl TryFrom<i64> for Millis {
    type Error = &'static str;

    fn try_from(millis: i64) -> Result<Self, &'static str> {
        match u64::try_from(millis) {
            Ok(millis @ ..=LONGEST) => Ok(Self(Duration::from_millis(millis))),
            _ => Err("a wait is a number of milliseconds, at most a day"),
        }
    }
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
pub(super) struct Probability(pub(super) f64);

impl TryFrom<f64> for Probability {
    type Error = &'static str;

    fn try_from(number: f64) -> Result<Self, &'static str> {
        if (0.0..=1.0).contains(&number) {
            Ok(Self(number))
        } else {
            Err("a probability is a number from 0 to 1")
        }
    }
}

/// What is left of a caller's limits.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    requests: Left,
    tokens: Left,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Left {
    limit: u64,
    remaining: u64,
    reset_ms: Millis,
}

impl From<Limits> for RateLimits {
    fn from(limits: Limits) -> Self {
        let quota = |left: Left| Quota::new(left.limit, left.remaining, left.reset_ms.0);
        Self { requests: quota(limits.requests), tokens: quota(limits.tokens) }
    }
}

/// What `apply` makes of it, if there is a value.
pub(super) fn with<S, T>(subject: S, value: Option<T>, apply: impl FnOnce(S, T) -> S) -> S {
    match value {
        Some(value) => apply(subject, value),
        None => subject,
    }
}
