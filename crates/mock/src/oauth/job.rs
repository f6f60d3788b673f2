//! Identity tokens without a sign-in: those of a GitHub Actions job, and those for a shell.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use portunus_auth_core::BearerToken;
use serde_json::json;

use super::error::no_store;
use super::{Idp, Mint};
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;
use crate::loopback;

/// The token with which a job asks for its identity tokens, `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
pub const JOB_REQUEST_TOKEN: &str = "mock-request-token";

/// `GET /idtoken?api-version=2.0&audience=…`: the caller chooses the audience.
/// <https://docs.github.com/en/actions/reference/security/oidc>
pub(super) fn of_job(idp: &Arc<Idp>, request: &Recorded) -> Answer {
    let says = |status, text: &str| answer::json(status, answer::write(&json!({ "message": text })));
    if request.method() != Method::GET {
        return says(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    }
    let shown = request.headers_with_secrets().get(AUTHORIZATION).and_then(BearerToken::from_authorization);
    if shown.is_none_or(|shown| shown.expose() != JOB_REQUEST_TOKEN) {
        return says(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    let query = Form::parse(request.query().unwrap_or_default().as_bytes());
    let owner = "https://github.com/mock-org";
    let audience = query.get("audience").unwrap_or(owner).to_owned();
    let token =
        Mint::of_user(Arc::clone(idp), &idp.user()).audience(audience).without("auth_time").id_token();
    no_store(answer::json(StatusCode::OK, answer::write(&json!({"count": token.len(), "value": token}))))
}

/// `/__mock/id_token?sub=…`: an ID token for whoever asks on this machine, but for no web page.
pub(super) fn for_shell(idp: &Arc<Idp>, request: &Recorded) -> Answer {
    const KNOWN: [&str; 4] = ["sub", "aud", "groups", "email"];
    if let Some(says) = loopback::refusal(request.headers_with_secrets()) {
        return answer::text(StatusCode::FORBIDDEN, "text/plain", says);
    }
    let form =
        Form::of_body(request).unwrap_or_else(|| Form::parse(request.query().unwrap_or_default().as_bytes()));
    let refused = form.repeated().is_some() || form.names().any(|name| !KNOWN.contains(&name));
    let Some(subject) = form.get("sub").filter(|_| !refused) else {
        let usage = "usage: /__mock/id_token?sub=alice[&aud=AUDIENCE][&groups=a,b][&email=a@example.com]\n";
        return answer::text(StatusCode::BAD_REQUEST, "text/plain", usage);
    };
    let mut mint = Mint::new(Arc::clone(idp), subject.to_owned());
    if let Some(audience) = form.get("aud") {
        mint = mint.audience(audience);
    }
    if let Some(groups) = form.get("groups") {
        mint = mint.claim("groups", groups.split(',').collect::<Vec<_>>());
    }
    if let Some(email) = form.get("email") {
        mint = mint.claim("email", email).claim("email_verified", true);
    }
    no_store(answer::text(StatusCode::OK, "text/plain", mint.id_token()))
}
