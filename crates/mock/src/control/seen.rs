//! Requests that came, as JSON and without their secrets.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use crate::capture::Recorded;
use crate::form::FORM;

/// The parameters, and members of a body, in which secrets are sent.
const SECRET: [&str; 14] = [
    "access_token",
    "actor_token",
    "assertion",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "id_token_hint",
    "key",
    "password",
    "refresh_token",
    "subject_token",
    "token",
];

pub(super) fn list(requests: &[Recorded]) -> Value {
    json!({ "requests": requests.iter().map(one).collect::<Vec<_>>() })
}

fn one(seen: &Recorded) -> Value {
    json!({
        "at": humantime::format_rfc3339_millis(seen.at()).to_string(),
        "method": seen.method().as_str(),
        "path": seen.path(),
        "model": seen.model(),
        "credential": seen.redacted_credential(),
        "fixture": seen.fixture(),
        "query": pairs(seen.query().unwrap_or_default().as_bytes()),
        "headers": headers(seen.headers_with_secrets()),
        "body": body(seen),
        "status": seen.status(),
    })
}

fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut shown = Map::new();
    for name in headers.keys() {
        let text = |value: &http::HeaderValue| match value.is_sensitive() {
            true => "***".to_owned(),
            false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        let values: Vec<_> = headers.get_all(name).iter().map(text).collect();
        shown.insert(name.to_string(), values.join(", ").into());
    }
    shown
}

/// A query or a form. Of a parameter that comes more than once, all values.
fn pairs(text: &[u8]) -> Map<String, Value> {
    let mut shown = Map::new();
    for (name, value) in form_urlencoded::parse(text) {
        let value = if SECRET.contains(&&*name) { "***".into() } else { value };
        match shown.get_mut(&*name) {
            Some(Value::String(before)) => *before += &format!(", {value}"),
            _ => drop(shown.insert(name.into_owned(), value.into_owned().into())),
        }
    }
    shown
}

fn body(seen: &Recorded) -> Value {
    let media = seen.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    if media.starts_with(FORM) {
        return pairs(seen.body()).into();
    }
    match seen.json() {
        Some(Value::Object(mut members)) => {
            for name in SECRET {
                if let Some(value) = members.get_mut(name) {
                    *value = "***".into();
                }
            }
            members.into()
        }
        Some(value) => value,
        None => String::from_utf8_lossy(seen.body()).into(),
    }
}
