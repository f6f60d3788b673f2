//! What can be done to the LLM server: its requests, keys, errors and clock.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::asked::{Asked, Refusal, Span, Time};
use super::{Act, Control, Route, seen};
use crate::api_error::{ApiError, NamedError};
use crate::key::Key;
use crate::mounted;

pub(super) const ROUTES: &[Route] = &[
    get("requests", "lists what was asked of the LLM routes", requests),
    route(Method::DELETE, "requests", "forgets all requests", forget),
    #[cfg(feature = "fixtures")]
    route(Method::PUT, "fixtures", "answers by these fixtures from now on", fixtures),
    get("verify", "says whether every fixture has answered as often as expected", verify),
    post("reset", "begins anew", reset),
    get("keys", "lists the keys and what became of them", keys),
    post("keys", "admits a key", add_key),
    post("keys/revoke", "refuses a key from now on", revoke_key),
    post("keys/expire", "ends a key's time", expire_key),
    post("fail-next", "fails the next LLM requests", fail_next),
    get("clock", "tells the time", clock),
    post("clock", "moves the time", move_clock),
];

type Handle = fn(&Control, &Asked<'_>) -> Result<Value, Refusal>;

const fn get(path: &'static str, does: &'static str, act: Handle) -> Route {
    route(Method::GET, path, does, act)
}

const fn post(path: &'static str, does: &'static str, act: Handle) -> Route {
    route(Method::POST, path, does, act)
}

const fn route(method: Method, path: &'static str, does: &'static str, act: Handle) -> Route {
    Route { method, path, does, act: Act::Llm(act) }
}

fn requests(control: &Control, _: &Asked<'_>) -> Result<Value, Refusal> {
    Ok(seen::list(&control.llm.log.requests()))
}

fn forget(control: &Control, _: &Asked<'_>) -> Result<Value, Refusal> {
    control.llm.log.clear();
    #[cfg(feature = "oauth")]
    control.idp.iter().for_each(crate::oauth::MockIdp::forget_requests);
    Ok(json!({}))
}

#[cfg(feature = "fixtures")]
fn fixtures(control: &Control, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let fixtures = crate::fixture::Fixture::parse("fixtures", asked.yaml()?);
    let fixtures = fixtures.map_err(|error| Refusal::bad(error.to_string()))?;
    let count = fixtures.len();
    control.llm.rules.replace(fixtures).map_err(|error| Refusal::bad(error.to_string()))?;
    Ok(json!({ "fixtures": count }))
}

fn verify(control: &Control, _: &Asked<'_>) -> Result<Value, Refusal> {
    Ok(match mounted::verify(&control.llm) {
        Ok(()) => json!({ "met": true }),
        Err(unmet) => json!({"met": false, "report": unmet.to_string()}),
    })
}

fn reset(control: &Control, _: &Asked<'_>) -> Result<Value, Refusal> {
    control.llm.reset();
    #[cfg(feature = "oauth")]
    control.idp.iter().for_each(crate::oauth::MockIdp::reset);
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    token: Option<String>,
    aws: Option<NewAwsKey>,
    uses: Option<u32>,
    ttl: Option<Span>,
    models: Option<Vec<String>>,
    paths: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAwsKey {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    region: Option<String>,
}

impl NewKey {
    fn key(self) -> Result<Key, Refusal> {
        let mut key = match (self.token, self.aws) {
            (Some(token), None) => Key::new(token),
            (None, Some(aws)) => {
                let mut key = Key::aws(aws.access_key_id, aws.secret_access_key);
                if let Some(token) = aws.session_token {
                    key = key.session_token(token);
                }
                if let Some(region) = aws.region {
                    key = key.region(region);
                }
                key
            }
            _ => return Err(Refusal::bad("a key has either `token` or `aws`")),
        };
        if let Some(uses) = self.uses {
            key = key.uses(uses);
        }
        if let Some(ttl) = self.ttl {
            key = key.ttl(ttl.0);
        }
        if let Some(models) = self.models {
            key = key.models(models);
        }
        if let Some(paths) = self.paths {
            key = key.paths(paths);
        }
        if key.is_incomplete() {
            return Err(Refusal::bad("a key must not be empty"));
        }
        Ok(key)
    }
}

fn add_key(control: &Control, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let key = asked.json::<NewKey>()?.key()?;
    control.llm.gate.add(key, control.llm.clock.now());
    Ok(json!({}))
}

fn keys(control: &Control, _: &Asked<'_>) -> Result<Value, Refusal> {
    let keys = control.llm.gate.states().into_iter().map(|key| {
        json!({
            "key": key.redacted,
            "uses_left": key.uses_left,
            "expires_at": key.ends_at.map(|end| humantime::format_rfc3339_millis(end).to_string()),
            "revoked": key.revoked,
            "models": key.models,
            "paths": key.paths,
        })
    });
    Ok(json!({ "keys": keys.collect::<Vec<_>>() }))
}

/// A key's token, or an AWS key's id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    token: String,
}

fn revoke_key(control: &Control, asked: &Asked<'_>) -> Result<Value, Refusal> {
    control.llm.gate.revoke(&asked.json::<Named>()?.token);
    Ok(json!({}))
}

fn expire_key(control: &Control, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let known = control.llm.gate.expire(&asked.json::<Named>()?.token, control.llm.clock.now());
    if known { Ok(json!({})) } else { Err(Refusal::unknown("there is no such key")) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failing {
    count: Option<NonZeroU32>,
    status: Option<u16>,
    kind: Option<NamedError>,
    message: Option<String>,
    retry_after: Option<Span>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

fn fail_next(control: &Control, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let failing: Failing = asked.json()?;
    let mut error = match (failing.status, failing.kind) {
        (Some(status), None) => ApiError::new(status, "scripted error"),
        (None, Some(named)) => named.error(),
        _ => return Err(Refusal::bad("an error has either `status` or `kind`")),
    };
    if let Some(message) = failing.message {
        error = error.message(message);
    }
    if let Some(after) = failing.retry_after {
        error = error.retry_after(after.0);
    }
    for (name, value) in &failing.headers {
        error = error.header(name, value);
    }
    if let Some(problem) = error.problem() {
        return Err(Refusal::bad(problem));
    }
    control.llm.failing.add(count(failing.count), error);
    Ok(json!({}))
}

/// How many requests fail: one, unless it is said.
pub(super) fn count(count: Option<NonZeroU32>) -> usize {
    count.map_or(1, |count| usize::try_from(count.get()).unwrap_or(usize::MAX))
}

fn clock(control: &Control, _: &Asked<'_>) -> Result<Value, Refusal> {
    let clock = &control.llm.clock;
    let now = humantime::format_rfc3339_millis(clock.now()).to_string();
    Ok(json!({"now": now, "frozen": clock.is_frozen()}))
}

/// What is to happen to the clock, in this order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    freeze_at: Option<Time>,
    advance: Option<Span>,
    freeze: Option<bool>,
}

fn move_clock(control: &Control, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let clock = &control.llm.clock;
    let wanted: Move = asked.json()?;
    if let Some(at) = wanted.freeze_at {
        clock.freeze_at(at.0);
    }
    if let Some(by) = wanted.advance {
        clock.advance(by.0);
    }
    match wanted.freeze {
        Some(true) => clock.freeze(),
        Some(false) => clock.resume(),
        None => {}
    }
    self::clock(control, asked)
}
