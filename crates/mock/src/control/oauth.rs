//! What can be done to the OAuth server, or to one of its tenants.

use std::num::NonZeroU32;

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::asked::{Asked, Refusal, Span};
use super::llm::count;
use super::{Act, Route, seen};
use crate::fault::Fault;
use crate::oauth::{Algorithm, DevicePoll, MockIdp, TokenFault, User};

pub(super) const ROUTES: &[Route] = &[
    post("tokens", "issues a token, right or wrong", issue),
    post("tokens/revoke", "ends a token that was issued", revoke),
    post("tokens/expire", "ends the time of one", expire),
    post("user", "says who signs in without being asked", user),
    post("device/script", "scripts the polls of the next device flow", script),
    post("device/{user_code}/approve", "approves a device", approve),
    post("device/{user_code}/deny", "refuses a device", deny),
    Route {
        method: Method::GET,
        path: "oauth/requests",
        does: "lists what was asked of the OAuth server",
        act: Act::OAuth(requests),
    },
    post("oauth/fail-next", "fails the next requests", fail_next),
    post("oauth/deny-next", "denies the next authorization", deny_next),
    post("oauth/keys/rotate", "signs with new keys", rotate),
    post("oauth/keys/retire", "publishes only the keys that sign", retire),
    post("oauth/keys/stale", "goes on publishing the keys of now", stale),
    post("oauth/down", "answers 503 to everything", down),
    post("oauth/metadata", "says something else in the metadata", metadata),
];

const fn post(path: &'static str, does: &'static str, act: Handle) -> Route {
    Route { method: Method::POST, path, does, act: Act::OAuth(act) }
}

type Handle = fn(&MockIdp, &Asked<'_>) -> Result<Value, Refusal>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    kind: Kind,
    sub: String,
    #[serde(default)]
    aud: Vec<String>,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    without: Vec<String>,
    ttl: Option<Span>,
    issuer: Option<String>,
    algorithm: Option<Algorithm>,
    fault: Option<TokenFault>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Access,
    Id,
}

fn issue(idp: &MockIdp, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let new: New = asked.json()?;
    let mut mint = idp.mint(new.sub);
    mint = new.aud.into_iter().fold(mint, |mint, audience| mint.audience(audience));
    mint = new.claims.into_iter().fold(mint, |mint, (name, value)| mint.claim(name, value));
    mint = new.without.into_iter().fold(mint, |mint, name| mint.without(name));
    if let Some(ttl) = new.ttl {
        mint = mint.ttl(ttl.0);
    }
    if let Some(issuer) = new.issuer {
        mint = mint.issuer(issuer);
    }
    if let Some(algorithm) = new.algorithm {
        mint = mint.algorithm(algorithm);
    }
    if let Some(fault) = new.fault {
        mint = mint.fault(fault);
    }
    let token = match new.kind {
        Kind::Access => mint.access_token(),
        Kind::Id => mint.id_token(),
    };
    Ok(json!({ "token": token }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    token: String,
}

fn revoke(idp: &MockIdp, asked: &Asked<'_>) -> Result<Value, Refusal> {
    known(idp.revoke(&asked.json::<Named>()?.token))
}

fn expire(idp: &MockIdp, asked: &Asked<'_>) -> Result<Value, Refusal> {
    known(idp.expire(&asked.json::<Named>()?.token))
}

fn known(is_known: bool) -> Result<Value, Refusal> {
    if is_known { Ok(json!({})) } else { Err(Refusal::unknown("no such access or refresh token is valid")) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    sub: String,
    #[serde(default)]
    claims: Map<String, Value>,
}

impl From<Person> for User {
    fn from(person: Person) -> Self {
        let user = Self::new(person.sub);
        person.claims.into_iter().fold(user, |user, (name, value)| user.claim(name, value))
    }
}

fn user(idp: &MockIdp, asked: &Asked<'_>) -> Result<Value, Refusal> {
    idp.set_user(asked.json::<Person>()?.into());
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Polls {
    polls: Vec<DevicePoll>,
}

fn script(idp: &MockIdp, asked: &Asked<'_>) -> Result<Value, Refusal> {
    idp.script_device(asked.json::<Polls>()?.polls);
    Ok(json!({}))
}

fn approve(idp: &MockIdp, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let approved = match asked.json_if_any::<Person>()? {
        Some(person) => idp.approve_device_as(asked.segment, person.into()),
        None => idp.approve_device(asked.segment),
    };
    approved.map(|()| json!({})).map_err(|unknown| Refusal::unknown(unknown.to_string()))
}

fn deny(idp: &MockIdp, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let denied = idp.deny_device(asked.segment);
    denied.map(|()| json!({})).map_err(|unknown| Refusal::unknown(unknown.to_string()))
}

fn requests(idp: &MockIdp, _: &Asked<'_>) -> Result<Value, Refusal> {
    Ok(seen::list(&idp.requests()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failing {
    count: Option<NonZeroU32>,
    error: Option<String>,
    status: Option<u16>,
    fault: Option<Other>,
    retry_after: Option<Span>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Other {
    Hang,
    Malformed,
    Oversized,
}

/// The errors of a token endpoint: RFC 6749 §5.2, RFC 8628 §3.5, RFC 8707 §2, RFC 9449 §5 and §8.
const ERRORS: [&str; 15] = [
    "access_denied",
    "authorization_pending",
    "expired_token",
    "invalid_client",
    "invalid_dpop_proof",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "server_error",
    "slow_down",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "use_dpop_nonce",
];

fn fail_next(idp: &MockIdp, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let failing: Failing = asked.json()?;
    let requests = count(failing.count);
    let retry_after = failing.retry_after.map(|after| after.0);
    let fault = match (failing.error, failing.status, failing.fault) {
        (Some(error), None, None) if retry_after.is_none() => {
            let known = ERRORS.into_iter().find(|known| *known == error);
            let unknown = || Refusal::bad(format!("`error` is one of {}", ERRORS.join(", ")));
            idp.refuse_next(requests, known.ok_or_else(unknown)?);
            return Ok(json!({}));
        }
        (None, Some(status @ 200..600), None) => Fault::Status { status, retry_after },
        (None, None, Some(Other::Hang)) => Fault::Hang,
        (None, None, Some(Other::Malformed)) => Fault::Malformed,
        (None, None, Some(Other::Oversized)) => Fault::Oversized,
        _ => {
            let says = "either `error`, or `status` (200 to 599) with or without `retry_after`, or `fault`";
            return Err(Refusal::bad(says));
        }
    };
    idp.fail_next(requests, fault);
    Ok(json!({}))
}

fn deny_next(idp: &MockIdp, _: &Asked<'_>) -> Result<Value, Refusal> {
    idp.deny_next();
    Ok(json!({}))
}

fn rotate(idp: &MockIdp, _: &Asked<'_>) -> Result<Value, Refusal> {
    idp.rotate_keys();
    Ok(json!({}))
}

fn retire(idp: &MockIdp, _: &Asked<'_>) -> Result<Value, Refusal> {
    idp.retire_keys();
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stale {
    stale: bool,
}

fn stale(idp: &MockIdp, asked: &Asked<'_>) -> Result<Value, Refusal> {
    idp.set_jwks_stale(asked.json::<Stale>()?.stale);
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Down {
    down: bool,
}

fn down(idp: &MockIdp, asked: &Asked<'_>) -> Result<Value, Refusal> {
    idp.set_down(asked.json::<Down>()?.down);
    Ok(json!({}))
}

fn metadata(idp: &MockIdp, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let members: Map<String, Value> = asked.json()?;
    members.into_iter().for_each(|(member, value)| idp.set_metadata(member, value));
    Ok(json!({}))
}
