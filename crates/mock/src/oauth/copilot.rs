//! The second step of a Copilot sign-in: a GitHub token becomes a short-lived one of Copilot. The endpoint
//! is not documented; this is what its clients expect.

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use portunus_auth_core::BearerToken;
use serde_json::json;

use super::Idp;
use super::error::no_store;
use super::mint::seconds;
use crate::answer::{self, Answer};
use crate::capture::Recorded;

/// How long a token lives, and after how much of it clients ask for another.
const TTL: Duration = Duration::from_secs(1_800);
const REFRESH_IN: u64 = 1_500;

/// `GET /copilot_internal/v2/token`, with `Authorization: token …`.
pub(super) fn token(idp: &Idp, request: &Recorded) -> Answer {
    let says = |status, text: &str| answer::json(status, answer::write(&json!({ "message": text })));
    if request.method() != Method::GET {
        return says(StatusCode::NOT_FOUND, "Not Found");
    }
    let header = request.headers_with_secrets().get(AUTHORIZATION);
    let shown = header.and_then(|header| {
        BearerToken::with_scheme(header, "token").or_else(|| BearerToken::from_authorization(header))
    });
    let Some(shown) = shown else { return says(StatusCode::UNAUTHORIZED, "Requires authentication") };
    if shown.expose().starts_with("ghp_") || shown.expose().starts_with("github_pat_") {
        return says(StatusCode::FORBIDDEN, "Personal Access Tokens are not supported for this endpoint");
    }
    if idp.issued.find(shown.expose(), idp.now()).is_none() {
        return says(StatusCode::UNAUTHORIZED, "Bad credentials");
    }
    let Some(api) = &idp.settings.copilot else { return says(StatusCode::NOT_FOUND, "Not Found") };
    let expires_at = seconds(idp.now() + TTL);
    let sku = "mock_seat";
    let body = json!({
        "token": format!("tid=mock-{};exp={expires_at};sku={sku}", idp.issued.new_family()),
        "expires_at": expires_at,
        "refresh_in": REFRESH_IN,
        "endpoints": { "api": api },
        "sku": sku,
    });
    no_store(answer::json(StatusCode::OK, answer::write(&body)))
}
