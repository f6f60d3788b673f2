//! What a server without fixtures does: it answers a fixed text, calls the first tool that it is
//! offered, and knows a few names of models that fail.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde_json::{Map, Value};

use super::call::{Call, Tool};
use super::{Failure, Plan};
use crate::api_error::ApiError;
use crate::reply::{Part, Reply, TEXT};

/// The model that does not exist.
pub(super) const NO_MODEL: &str = "no-such-model";
/// After how many frames a stream breaks off.
const BREAK_AFTER: usize = 3;
/// How many names of models that fail once are remembered.
const REMEMBERED: usize = 65_536;

static HELLO: LazyLock<Arc<Reply>> = LazyLock::new(|| Arc::new(TEXT.into()));

/// | model | answer |
/// |---|---|
/// | `no-such-model` | 404 |
/// | `mock-429` | 429 with `retry-after: 1` |
/// | `mock-529` | 529, of Anthropic with `x-should-retry: true` |
/// | `mock-STATUS-once-ANYTHING` | that status with `retry-after: 1` for the first time, then normal |
/// | `mock-cut` | a stream breaks off with a reset |
/// | `mock-midstream` | a stream breaks off with the provider's error |
pub(super) fn plan(call: &Call, failed_once: &Mutex<HashSet<String>>) -> Result<Plan, Failure> {
    let fail = match &*call.model {
        NO_MODEL => return Err(Failure::new(404, "the model does not exist")),
        "mock-429" => Some(Failure::from(&ApiError::rate_limited()).retry_soon()),
        "mock-529" => Some(Failure::new(529, "Overloaded")),
        model => fails_once(model, failed_once),
    };
    if let Some(failure) = fail {
        return Ok(Plan::Fail(failure));
    }
    let reply = match (&*call.model, &call.tool) {
        ("mock-cut", _) => Reply::clone(&HELLO).reset_after_frames(BREAK_AFTER),
        ("mock-midstream", _) => Reply::clone(&HELLO).fail_after_frames(BREAK_AFTER, ApiError::overloaded()),
        (_, Some(tool)) if !call.answers_tool => {
            Reply::new().part(Part::tool(tool.name.clone(), &arguments(tool)))
        }
        _ => return Ok(Plan::Reply(Arc::clone(&HELLO), 0)),
    };
    Ok(Plan::Reply(Arc::new(reply), 0))
}

fn fails_once(model: &str, failed_once: &Mutex<HashSet<String>>) -> Option<Failure> {
    let (status, _) = model.strip_prefix("mock-")?.split_once("-once-")?;
    let status = status.parse().ok().filter(|status| (400..600).contains(status))?;
    let mut failed = failed_once.lock().unwrap_or_else(PoisonError::into_inner);
    let first_time = failed.len() < REMEMBERED && failed.insert(model.to_owned());
    first_time.then(|| Failure::new(status, "Try again.").retry_soon())
}

/// Arguments with every property that the tool's schema requires.
fn arguments(tool: &Tool) -> Value {
    let schema: Value =
        tool.schema.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let argument = |name: &str| (name.to_owned(), example(name, &schema["properties"][name]));
    Value::Object(required.map(argument).collect::<Map<_, _>>())
}

fn example(name: &str, schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("integer" | "number") => 1.into(),
        Some("boolean") => true.into(),
        Some("array") => Value::Array(Vec::new()),
        Some("object") => Value::Object(Map::new()),
        _ if name.contains("city") || name.contains("location") => "Paris".into(),
        _ => "example".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_hold_what_the_schema_requires() {
        let schema = json!({
            "type": "object",
            "required": ["city", "unit", "days", "exact"],
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["celsius", "kelvin"]},
                "days": {"type": "integer"},
                "exact": {"type": "boolean"},
                "optional": {"type": "string"},
            },
        });
        let schema = serde_json::value::to_raw_value(&schema).unwrap();
        let tool = Tool { name: "get_weather".into(), schema: Some(schema) };
        assert_eq!(arguments(&tool), json!({"city": "Paris", "unit": "celsius", "days": 1, "exact": true}));
        assert_eq!(arguments(&Tool { name: "now".into(), schema: None }), json!({}));
    }
}
