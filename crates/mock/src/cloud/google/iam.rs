//! `https://iamcredentials.googleapis.com`: a token of another service account's
//! (<https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>).

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{Cloud, GoogleCloud, reply};
use crate::answer::Answer;
use crate::capture::Recorded;

/// Tokens of these scopes may ask.
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/iam"];

/// `POST /v1/projects/-/serviceAccounts/{email}:generateAccessToken`.
pub(super) fn generate(cloud: &Cloud, google: &GoogleCloud, email: &str, request: &Recorded) -> Answer {
    match check(cloud, google, email, request) {
        Ok((scope, life)) => {
            let (token, ends) = google.issue(cloud, &scope, life);
            let ends = humantime::format_rfc3339_seconds(ends).to_string();
            reply(200, &json!({ "accessToken": token, "expireTime": ends }))
        }
        Err((code, status, says)) => {
            reply(code, &json!({ "error": { "code": code, "message": says, "status": status } }))
        }
    }
}

type Problem = (u16, &'static str, &'static str);

fn check(
    cloud: &Cloud,
    google: &GoogleCloud,
    email: &str,
    request: &Recorded,
) -> Result<(String, Duration), Problem> {
    let wrong = |says| (400, "INVALID_ARGUMENT", says);
    if request.method() != Method::POST || request.query().is_some() {
        return Err((404, "NOT_FOUND", "POST without a query is expected."));
    }
    let bearer = request.headers_with_secrets().get("authorization").and_then(|value| value.to_str().ok());
    let token = bearer.and_then(crate::capture::bearer).unwrap_or_default();
    if !google.admits(token, cloud.desk.clock.now(), &SCOPES) {
        return Err((401, "UNAUTHENTICATED", "Request had invalid authentication credentials."));
    }
    if google.account_of(email).is_none() {
        return Err((403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied."));
    }
    if request.header("content-type") != Some("application/json") {
        return Err(wrong("JSON is expected."));
    }
    let Some(Value::Object(body)) = request.json() else { return Err(wrong("An object is expected.")) };
    if body.keys().any(|name| !["scope", "lifetime", "delegates"].contains(&name.as_str())) {
        return Err(wrong("Unknown name."));
    }
    let texts = |name: &str| -> Option<Vec<&str>> {
        body.get(name)?.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()
    };
    let scopes = texts("scope").filter(|scopes| !scopes.is_empty()).ok_or(wrong("Scope is required."))?;
    if body.contains_key("delegates") {
        let good = |delegates: &Vec<&str>| {
            !delegates.is_empty()
                && delegates.iter().all(|name| name.starts_with("projects/-/serviceAccounts/"))
        };
        texts("delegates").filter(good).ok_or(wrong("Delegates are resource names."))?;
    }
    let seconds =
        body.get("lifetime").and_then(Value::as_str).and_then(|text| text.strip_suffix('s')?.parse().ok());
    match seconds {
        Some(seconds @ 1..=43_200) => Ok((scopes.join(" "), Duration::from_secs(seconds))),
        _ => Err(wrong("The lifetime is from 1s to 43200s.")),
    }
}
