//! Reads `model`, `stream` and the declared tools out of a JSON body in one pass, without building a
//! tree of it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What a decision needs to know of a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallHead<'a> {
    /// The model, as the caller named it.
    pub model: Cow<'a, str>,
    /// Where the model's JSON string lies in the body, with its quotes.
    pub model_at: Range<usize>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The names of the tools that the request declares.
    pub tools: Vec<Cow<'a, str>>,
}

/// Why a body cannot be used; says what to mend, without repeating what was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadBody(Cow<'static, str>);

/// The members that decisions rest on. A member that another parser might take for one of them,
/// because it compares names without case, is refused.
const DECISIVE: [&str; 5] = ["model", "stream", "tools", "functions", "mcp_servers"];

/// Members that are tools by another name: each lets the provider do something beyond answering, so a
/// grant must admit a tool of that name.
const TOOLS_BY_MEMBER: [(&str, &str); 5] = [
    ("web_search_options", "web_search"),
    ("search_parameters", "search_parameters"),
    ("data_sources", "data_sources"),
    ("plugins", "plugins"),
    ("container", "container"),
];

/// Members by which some servers let a caller choose another model, address or account than the one
/// that was authorised.
const REROUTING: [&str; 9] = [
    "models",
    "route",
    "fallbacks",
    "api_base",
    "base_url",
    "api_key",
    "user_config",
    "extra_body",
    "extra_headers",
];

/// The most tools in one request, and the longest name of one, in bytes.
const MAX_TOOLS: usize = 1024;
const MAX_TOOL_NAME: usize = 256;

/// The longest name of a model, in bytes; it is looked up and audited.
const MAX_MODEL: usize = 256;

pub(super) fn read(body: &[u8]) -> Result<CallHead<'_>, BadBody> {
    // The parser does not look into strings that it skips; RFC 8259 section 8.1 wants UTF-8 throughout.
    let text = std::str::from_utf8(body).map_err(|_| BadBody("the body is not UTF-8".into()))?;
    let mut parser = serde_json::Deserializer::from_str(text);
    let found = Head.deserialize(&mut parser).and_then(|found| parser.end().map(|()| found));
    let found = found.map_err(|error| BadBody(explain(&error)))?;
    let raw = found.model.ok_or(BadBody("the body has no `model`".into()))?.get();
    let model =
        serde_json::from_str::<Text<'_>>(raw).map_err(|_| BadBody("`model` must be a string".into()))?.0;
    if !is_model(&model) {
        let says =
            "`model` must be a name of 1 to 256 characters, without spaces, commas and anything but ASCII";
        return Err(BadBody(says.into()));
    }
    // `raw` borrows from `body`, so the difference of the addresses is its place in it.
    let start = raw.as_ptr().addr() - body.as_ptr().addr();
    Ok(CallHead { model, model_at: start..start + raw.len(), stream: found.stream, tools: found.tools })
}

/// Whether that can be the name of a model. A comma would be a list of models to some servers.
pub(super) fn is_model(name: &str) -> bool {
    let good = |c: char| c.is_ascii_graphic() && c != ',';
    !name.is_empty() && name.len() <= MAX_MODEL && name.chars().all(good)
}

/// The parser's own words can quote the body, which may hold anything; only its position is kept.
fn explain(error: &serde_json::Error) -> Cow<'static, str> {
    if error.classify() == serde_json::error::Category::Data {
        // Our own words below; of "invalid type: string \"…\", expected …" only what was expected.
        let text = error.to_string();
        return match text.rfind(", expected ") {
            Some(at) => format!("the body is wrong: {}", &text[at + 2..]).into(),
            None => text.into(),
        };
    }
    let what = if error.is_eof() { "ends too early" } else { "is not valid JSON" };
    format!("the body {what} at line {} column {}", error.line(), error.column()).into()
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The name of a member; borrowed unless it holds escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default)]
struct Found<'a> {
    model: Option<&'a RawValue>,
    stream: bool,
    tools: Vec<Cow<'a, str>>,
}

struct Head;

impl<'de> DeserializeSeed<'de> for Head {
    type Value = Found<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<Found<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Head {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        let mut seen: Vec<Cow<'de, str>> = Vec::with_capacity(16);
        while let Some(Name(name)) = map.next_key()? {
            if seen.contains(&name) {
                return Err(de::Error::custom("the body has a member twice"));
            }
            match &*name {
                "model" => found.model = Some(map.next_value()?),
                "stream" => found.stream = map.next_value::<Flag>()?.0,
                "tools" | "functions" => map.next_value_seed(Tools { into: &mut found.tools, mcp: false })?,
                // Servers that the provider calls, at addresses that the caller chooses.
                "mcp_servers" => map.next_value_seed(Tools { into: &mut found.tools, mcp: true })?,
                member if REROUTING.iter().any(|rerouting| is_spelled(rerouting, member)) => {
                    return Err(de::Error::custom(
                        "the body has a member that would choose another model, address or account",
                    ));
                }
                member if let Some(tool) = tool_by_member(member) => {
                    if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                        found.tools.push(tool.into());
                    }
                }
                other if looks_decisive(other) => {
                    return Err(de::Error::custom(
                        "the body has a member that differs only in case from one that decisions rest on, such as `model`",
                    ));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            // A body with thousands of members is no LLM request, and comparing each with each costs.
            if seen.len() == 256 {
                return Err(de::Error::custom("the body has more than 256 members"));
            }
            seen.push(name);
        }
        Ok(found)
    }
}

/// Whether a parser that ignores case would take the name for a decisive one.
fn looks_decisive(name: &str) -> bool {
    DECISIVE.iter().any(|decisive| is_spelled(decisive, name))
}

fn tool_by_member(name: &str) -> Option<&'static str> {
    TOOLS_BY_MEMBER.iter().find(|(member, _)| is_spelled(member, name)).map(|(_, tool)| *tool)
}

/// Whether a parser that ignores case would take `name` for `word`. Folds as Unicode does: U+017F is an
/// `s` and U+212A a `k` to such parsers.
fn is_spelled(word: &str, name: &str) -> bool {
    if name.is_ascii() {
        return word.eq_ignore_ascii_case(name);
    }
    let folded = name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    folded.eq(word.chars())
}

/// `true`, `false`, or `null` for `false`. Never a string.
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct BoolOrNull;

        impl Visitor<'_> for BoolOrNull {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`stream` to be true or false")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Flag, E> {
                Ok(Flag(on))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Flag, E> {
                Ok(Flag(false))
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<Flag, E> {
                Err(E::custom("`stream` must be true or false, not a string"))
            }
        }

        from.deserialize_any(BoolOrNull)
    }
}

/// A list of declared tools, or `null`.
struct Tools<'v, 'de> {
    into: &'v mut Vec<Cow<'de, str>>,
    /// Whether they are MCP servers, which are known as `mcp:HOST`: the name is the caller's to choose.
    mcp: bool,
}

impl<'de> DeserializeSeed<'de> for Tools<'_, 'de> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tools<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tools")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(tool) = list.next_element_seed(Tool { nested: false })? {
            tool.declare(self.mcp, self.into).map_err(de::Error::custom)?;
            if self.into.len() > MAX_TOOLS {
                return Err(de::Error::custom("the body declares more than 1024 tools"));
            }
        }
        Ok(())
    }
}

/// One element of a list of tools: an object with the tool's name, or with an object that has it.
struct Tool {
    nested: bool,
}

/// What a tool is called, and what it is.
#[derive(Default)]
struct Declared<'de> {
    name: Option<Cow<'de, str>>,
    kind: Option<Cow<'de, str>>,
    url: Option<Cow<'de, str>>,
}

impl<'de> Declared<'de> {
    /// A tool that the caller runs is known by its name. One that the provider runs has a type of its
    /// own, which must be admitted whatever name the caller gives it.
    fn declare(self, mcp: bool, into: &mut Vec<Cow<'de, str>>) -> Result<(), &'static str> {
        let long = |name: &Option<Cow<'_, str>>| name.as_ref().is_some_and(|name| name.len() > MAX_TOOL_NAME);
        if long(&self.name) || long(&self.kind) {
            return Err("a tool's name is longer than 256 bytes");
        }
        if mcp {
            let url = self.url.as_deref().and_then(|url| url::Url::parse(url).ok());
            let host =
                url.as_ref().and_then(url::Url::host_str).ok_or("an MCP server has no usable `url`")?;
            into.push(format!("mcp:{host}").into());
            return Ok(());
        }
        let callers_own = matches!(self.kind.as_deref(), None | Some("function" | "custom"));
        match (self.name, self.kind) {
            (Some(name), _) if callers_own => into.push(name),
            (name, Some(kind)) if !callers_own => {
                into.push(kind);
                into.extend(name);
            }
            _ => return Err("a tool has no name"),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Tool {
    type Value = Declared<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<Declared<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tool {
    type Value = Declared<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tool, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Declared<'de>, A::Error> {
        let mut tool = Declared::default();
        let mut nested = false;
        while let Some(Name(member)) = map.next_key()? {
            let twice = match &*member {
                "name" => tool.name.replace(map.next_value::<Text<'de>>()?.0).is_some(),
                "type" => tool.kind.replace(map.next_value::<Text<'de>>()?.0).is_some(),
                "url" if !self.nested => tool.url.replace(map.next_value::<Text<'de>>()?.0).is_some(),
                "function" | "custom" if !self.nested => {
                    let inner = map.next_value_seed(Tool { nested: true })?;
                    let named = inner.name.and_then(|name| tool.name.replace(name)).is_some();
                    std::mem::replace(&mut nested, true) || named
                }
                other => {
                    if ["name", "type", "function", "custom", "url"]
                        .iter()
                        .any(|word| is_spelled(word, other))
                    {
                        let says = "a tool has a member that differs only in case from one that names it";
                        return Err(de::Error::custom(says));
                    }
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if twice {
                return Err(de::Error::custom("a tool is named twice"));
            }
        }
        Ok(tool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_decision_needs_and_where_the_model_lies() {
        let body = br#" {"messages":[{"role":"user","content":"hi"}], "model" : "gpt-4o","stream":true,
            "tools":[{"type":"function","function":{"name":"f","parameters":{"name":1}}},
                     {"name":"g","input_schema":{}},{"type":"web_search"}],"functions":[{"name":"h"}]} "#;
        let head = read(body).unwrap();
        assert_eq!(head.model, "gpt-4o");
        assert_eq!(&body[head.model_at.clone()], br#""gpt-4o""#);
        assert!(head.stream);
        assert_eq!(head.tools, ["f", "g", "web_search", "h"]);
    }

    #[test]
    fn a_tool_that_the_provider_runs_is_known_by_its_type_whatever_its_name() {
        let tools = |members: &str| {
            let body = format!(r#"{{"model":"a",{members}}}"#);
            read(body.as_bytes()).unwrap().tools.join(" ")
        };
        assert_eq!(
            tools(r#""tools":[{"type":"web_search_20250305","name":"get_weather"}]"#),
            "web_search_20250305 get_weather"
        );
        assert_eq!(
            tools(r#""tools":[{"type":"custom","custom":{"name":"f"}},{"type":"custom","name":"g"}]"#),
            "f g"
        );
        assert_eq!(
            tools(r#""mcp_servers":[{"type":"url","url":"https://evil.example","name":"x"}]"#),
            "mcp:evil.example"
        );
        assert_eq!(tools(r#""web_search_options":{}"#), "web_search");
        assert_eq!(tools(r#""Web_Search_Options":{}"#), "web_search");
        assert_eq!(tools(r#""data_sources":[{"type":"azure_search"}]"#), "data_sources");
        assert_eq!(tools(r#""web_search_options":null,"mcp_servers":null"#), "");
    }

    #[test]
    fn escapes_in_the_model_are_read_and_null_means_absent() {
        let head = read(br#"{"model":"gpt\u002d4o","stream":null,"tools":null}"#).unwrap();
        assert_eq!((&*head.model, head.stream, head.tools.len()), ("gpt-4o", false, 0));
        assert_eq!(read(br#"{"mod\u0065l":"a"}"#).unwrap().model, "a");
    }

    #[test]
    fn whatever_two_parsers_could_read_differently_is_refused() {
        for body in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","mod\u0065l":"b"}"#,
            r#"{"model":"a","Model":"b"}"#,
            "{\"model\":\"a\",\"\u{17f}tream\":true}",
            r#"{"model":"a","messages":[],"messages":[]}"#,
            r#"{"model":"a","tools":[{"name":"f","name":"g"}]}"#,
            r#"{"model":"a","tools":[{"name":"f","function":{"name":"g"}}]}"#,
            r#"{"model":"a","tools":[{"type":"function","type":"web_search","name":"f"}]}"#,
            r#"{"model":"a","MCP_servers":[]}"#,
            r#"{"model":"a","tools":[{"type":"function","function":{"name":"f"},"Function":{"name":"g"}}]}"#,
            r#"{"model":"a","tools":[{"type":"function","function":{"name":"f","Name":"g"}}]}"#,
            r#"{"model":"a","tools":[{"type":"function","function":{"name":"f"},"function":{}}]}"#,
            r#"{"model":"a","tools":[{"name":"f","Type":"web_search"}]}"#,
            r#"{"model":"a","api_base":"https://evil.example"}"#,
            r#"{"model":"a","API_base":"https://evil.example"}"#,
            r#"{"model":"a","models":["b"]}"#,
            r#"{"model":"a,b"}"#,
            r#"{"model":"a"} {"model":"b"}"#,
            "\u{feff}{\"model\":\"a\"}",
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn wrong_types_and_missing_members_say_what_to_mend() {
        for (body, says) in [
            ("", "ends too early"),
            ("[]", "expected a JSON object"),
            ("{\"model\":\"a\"", "ends too early"),
            ("{\"model\":}", "not valid JSON"),
            ("{}", "no `model`"),
            (r#"{"model":1}"#, "`model` must be a string"),
            (r#"{"model":null}"#, "`model` must be a string"),
            (r#"{"model":""}"#, "a name of 1 to 256"),
            (r#"{"model":"a\nb"}"#, "a name of 1 to 256"),
            (r#"{"model":"a","mcp_servers":[{"name":"x"}]}"#, "no usable `url`"),
            (r#"{"model":"a","stream":"true"}"#, "must be true or false"),
            (r#"{"model":"a","stream":1}"#, "to be true or false"),
            (r#"{"model":"a","tools":{}}"#, "a list of tools"),
            (r#"{"model":"a","tools":[{}]}"#, "a tool has no name"),
            (r#"{"model":"a","tools":["f"]}"#, "a tool, which is an object"),
        ] {
            let error = read(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{body}: {error}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_the_body() {
        for body in [r#"{"model":"a","stream":"canary"}"#, r#"{"model":"a","tools":"canary"}"#, r#""canary""#]
        {
            let error = read(body.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn deep_and_wide_bodies_are_bounded() {
        let deep = format!(r#"{{"model":"a","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(deep.as_bytes()).is_ok());
        let tools = vec![r#"{"name":"f"}"#; 1025].join(",");
        assert!(read(format!(r#"{{"model":"a","tools":[{tools}]}}"#).as_bytes()).is_err());
        let long = "f".repeat(257);
        assert!(read(format!(r#"{{"model":"a","tools":[{{"name":"{long}"}}]}}"#).as_bytes()).is_err());
        let wide: Vec<String> = (0..300).map(|n| format!("\"k{n}\":1")).collect();
        assert!(read(format!(r#"{{"model":"a",{}}}"#, wide.join(",")).as_bytes()).is_err());
    }
}
