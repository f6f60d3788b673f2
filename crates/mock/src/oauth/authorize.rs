//! The authorization endpoint. Nobody is asked: the current user consents to everything.

use std::sync::atomic::Ordering;

use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use super::Idp;
use super::client::Client;
use super::error::OAuthError;
use super::grant::Code;
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;

/// `GET /authorize` and `POST /authorize` (OIDC Core §3.1.2.1).
pub(super) fn authorize(idp: &Idp, request: &Recorded) -> Answer {
    let form = if request.method() == Method::POST {
        Form::of_body(request).unwrap_or_default()
    } else {
        Form::parse(request.query().unwrap_or_default().as_bytes())
    };
    // A user is never sent to an address that is not registered (RFC 6749 §4.1.2.1).
    let Some((client, mut back)) = known_return(idp, &form) else {
        let page = "The client is unknown, or the redirect URI is not one of its own.";
        return answer::text(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", page);
    };
    let outcome = grant(idp, client, &form);
    {
        let mut query = back.query_pairs_mut();
        match &outcome {
            Ok(code) => query.append_pair("code", code),
            Err(error) => {
                query.append_pair("error", error.error).append_pair("error_description", error.description)
            }
        };
        if let Some(state) = form.get("state").filter(|_| !form.repeats("state")) {
            query.append_pair("state", state);
        }
        // RFC 9207 §2: also in error responses.
        query.append_pair("iss", &idp.issuer);
    }
    let mut answer = answer::text(StatusCode::FOUND, "text/plain; charset=utf-8", "");
    if let Ok(location) = HeaderValue::try_from(String::from(back)) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn known_return<'i>(idp: &'i Idp, form: &Form) -> Option<(&'i Client, Url)> {
    if form.repeats("client_id") || form.repeats("redirect_uri") {
        return None;
    }
    let client = idp.client(form.get("client_id")?)?;
    let uri = form.get("redirect_uri").filter(|uri| client.may_return_to(uri))?;
    Some((client, Url::parse(uri).ok()?))
}

/// A code, if everything about the request is right.
fn grant(idp: &Idp, client: &Client, form: &Form) -> Result<String, OAuthError> {
    let invalid = |says| OAuthError::new("invalid_request", says);
    if form.repeated().is_some() {
        return Err(invalid("a parameter is there twice"));
    }
    match form.get("response_type") {
        Some("code") => {}
        None => return Err(invalid("`response_type` is missing")),
        Some(_) => return Err(OAuthError::new("unsupported_response_type", "only `code` is supported")),
    }
    if form.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(invalid("only the response mode `query` is supported"));
    }
    if form.get("request").is_some() {
        return Err(OAuthError::new("request_not_supported", "request objects are not supported"));
    }
    if form.get("request_uri").is_some() {
        return Err(OAuthError::new("request_uri_not_supported", "request objects are not supported"));
    }
    let scopes = client.scopes(form.get("scope"))?;
    let challenge = form.get("code_challenge").ok_or_else(|| invalid("PKCE is required"))?;
    // RFC 7636 §4.3: an absent method means `plain`.
    if form.get("code_challenge_method") != Some("S256") || !is_challenge(challenge) {
        return Err(invalid("PKCE needs an S256 challenge"));
    }
    let resource = form.get("resource").map(super::grant::resource).transpose()?;
    // There is no session, so whoever must not be asked cannot be known.
    if form.get("prompt") == Some("none") {
        return Err(OAuthError::new("login_required", "nobody is signed in"));
    }
    if idp.deny_next.swap(false, Ordering::AcqRel) {
        return Err(OAuthError::new("access_denied", "the user said no"));
    }
    Ok(idp.grants.add(Code {
        client_id: client.id.clone(),
        redirect_uri: form.get("redirect_uri").unwrap_or_default().to_owned(),
        challenge: challenge.to_owned(),
        scopes,
        nonce: form.get("nonce").map(str::to_owned),
        resource,
        user: idp.user(),
        authenticated_at: idp.now(),
    }))
}

/// The base64url of a SHA-256 (RFC 7636 §4.2).
fn is_challenge(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
