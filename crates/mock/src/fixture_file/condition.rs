//! What a file asks of a request.

use std::fmt;

use portunus_auth_core::Dialect;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::value::{Count, Header, Named, Nonempty, Pattern, with};
use crate::fixture::Fixture;

/// All of it must hold.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Match {
    user_message: Option<Pattern>,
    model: Option<Pattern>,
    #[serde(default)]
    headers: Named<Header, Pattern>,
    system_prompt: Option<Pattern>,
    temperature: Option<Temperature>,
    #[serde(default)]
    metadata: Named<String, Pattern>,
    tool_schema: Option<Pattern>,
    body_jsonpath: Option<JsonPath>,
    #[serde(default)]
    pointer: Named<Pointer, Value>,
    tool_result: Option<Pattern>,
    turn: Option<Count>,
    #[serde(default)]
    wants_json: bool,
    key: Option<Nonempty>,
}

impl Match {
    pub(super) fn apply(self, mut fixture: Fixture) -> Fixture {
        type Condition = fn(Fixture, Pattern) -> Fixture;
        let texts: [(Option<Pattern>, Condition); 5] = [
            (self.user_message, |fixture, text| fixture.user(text.0)),
            (self.model, |fixture, text| fixture.on_model(text.0)),
            (self.system_prompt, |fixture, text| fixture.system(text.0)),
            (self.tool_schema, |fixture, text| fixture.offers_tool(text.0)),
            (self.tool_result, |fixture, text| fixture.tool_result(text.0)),
        ];
        for (text, condition) in texts {
            fixture = with(fixture, text, condition);
        }
        for (Header(name), text) in self.headers.0 {
            fixture = fixture.header(name.as_str(), text.0);
        }
        for (name, text) in self.metadata.0 {
            fixture = fixture.metadata(name, text.0);
        }
        for (Pointer(pointer), value) in self.pointer.0 {
            fixture = fixture.pointer(pointer, value);
        }
        if let Some(Temperature(from, to)) = self.temperature {
            fixture = fixture.temperature_in(from..=to);
        }
        if let Some(JsonPath(path)) = self.body_jsonpath {
            fixture = fixture.json_path(&path);
        }
        if let Some(Count(turn)) = self.turn {
            fixture = fixture.turn(turn);
        }
        if let Some(Nonempty(key)) = self.key {
            fixture = fixture.with_key(key);
        }
        if self.wants_json { fixture.wants_json() } else { fixture }
    }
}

/// Whose API is called.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Provider {
    OpenAi,
    Responses,
    Anthropic,
    Gemini,
    Azure,
    Vertex,
    Bedrock,
}

impl Provider {
    pub(super) fn apply(self, fixture: Fixture) -> Fixture {
        let responses = |path: &str| path.ends_with("/responses");
        match self {
            Self::OpenAi => fixture.on_dialect(Dialect::OpenAi).matching(move |seen| !responses(seen.path())),
            Self::Responses => {
                fixture.on_dialect(Dialect::OpenAi).matching(move |seen| responses(seen.path()))
            }
            Self::Anthropic => fixture.on_dialect(Dialect::Anthropic),
            Self::Gemini => fixture.on_dialect(Dialect::Gemini),
            Self::Azure => fixture.on_dialect(Dialect::Azure),
            Self::Vertex => fixture.on_dialect(Dialect::Vertex),
            Self::Bedrock => fixture.on_dialect(Dialect::Bedrock),
        }
    }
}

/// A number, or `{min: …, max: …}` with one of them at least.
struct Temperature(f64, f64);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    min: Option<f64>,
    max: Option<f64>,
}

impl<'de> Deserialize<'de> for Temperature {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Temperature;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or `{min: …, max: …}`")
            }
            fn visit_f64<E: Error>(self, exact: f64) -> Result<Temperature, E> {
                Ok(Temperature(exact, exact))
            }
            fn visit_u64<E: Error>(self, exact: u64) -> Result<Temperature, E> {
                u32::try_from(exact).map_err(E::custom).and_then(|exact| self.visit_f64(exact.into()))
            }
            fn visit_i64<E: Error>(self, exact: i64) -> Result<Temperature, E> {
                i32::try_from(exact).map_err(E::custom).and_then(|exact| self.visit_f64(exact.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Temperature, A::Error> {
                match Range::deserialize(MapAccessDeserializer::new(map))? {
                    Range { min: None, max: None } => Err(A::Error::custom("a range has `min` or `max`")),
                    Range { min, max } => {
                        let (min, max) = (min.unwrap_or(f64::MIN), max.unwrap_or(f64::MAX));
                        if (min..=max).is_empty() {
                            return Err(A::Error::custom("no temperature is in that range"));
                        }
                        Ok(Temperature(min, max))
                    }
                }
            }
        }
        from.deserialize_any(Reader)
    }
}

/// An RFC 6901 pointer.
#[derive(Deserialize, PartialEq)]
#[serde(try_from = "String")]
struct Pointer(String);

impl TryFrom<String> for Pointer {
    type Error = &'static str;

    fn try_from(pointer: String) -> Result<Self, &'static str> {
        if pointer.is_empty() || pointer.starts_with('/') {
            Ok(Self(pointer))
        } else {
            Err("a JSON pointer begins with a slash")
        }
    }
}

/// An RFC 9535 query.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct JsonPath(String);

impl TryFrom<String> for JsonPath {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        crate::condition::json_path(&path).map(|_| Self(path))
    }
}
