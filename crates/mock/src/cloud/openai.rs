//! OpenAI's token endpoint: workload identity federation.
//! <https://developers.openai.com/api/reference/workload-identity-federation>

use std::sync::atomic::Ordering;

use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use portunus_auth_core::BearerToken;
use serde_json::json;

use super::{Cloud, json_body, next, text};
use crate::answer::{self, Answer};
use crate::capture::Recorded;

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A workload identity provider that maps one identity to a service account.
#[derive(Clone, Debug)]
pub struct OpenAiMapping {
    provider: String,
    service_account: String,
    kind: &'static str,
    trusted: Vec<BearerToken>,
}

impl OpenAiMapping {
    /// A provider and a service account; it admits nobody yet.
    pub fn new(identity_provider: impl Into<String>, service_account: impl Into<String>) -> Self {
        Self {
            provider: identity_provider.into(),
            service_account: service_account.into(),
            kind: "urn:ietf:params:oauth:token-type:jwt",
            trusted: Vec::new(),
        }
    }

    /// Wants ID tokens, not just any JWT.
    #[must_use]
    pub fn of_id_tokens(self) -> Self {
        Self { kind: "urn:ietf:params:oauth:token-type:id_token", ..self }
    }

    /// Admits that identity token.
    #[must_use]
    pub fn trusting(mut self, token: impl Into<String>) -> Self {
        self.trusted.push(BearerToken::new(token));
        self
    }
}

/// `POST /oauth/token`.
pub(super) fn token(cloud: &Cloud, request: &Recorded) -> Answer {
    if let Err((status, error, says)) = check(&cloud.openai, request) {
        let body = json!({ "error": error, "error_description": says });
        return answer::json(status, answer::write(&body));
    }
    let lifetime = cloud.lifetime.load(Ordering::Relaxed);
    let now = cloud.desk.clock.now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    answer::json(
        StatusCode::OK,
        answer::write(&json!({
            "access_token": format!("openai-mock-token-{}", next(&cloud.tokens)),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": lifetime,
            "expires_at": now.as_secs() + lifetime,
        })),
    )
}

type Problem = (StatusCode, &'static str, &'static str);

fn check(mappings: &[OpenAiMapping], request: &Recorded) -> Result<(), Problem> {
    let wrong = |says| (StatusCode::BAD_REQUEST, "invalid_request", says);
    if request.method() != Method::POST || request.query().is_some() {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "POST is expected."));
    }
    if request.headers_with_secrets().contains_key(AUTHORIZATION) {
        return Err(wrong("An exchange is authenticated by its subject token only."));
    }
    let body = json_body(request).ok_or(wrong("A JSON object is expected."))?;
    let names =
        ["grant_type", "subject_token", "subject_token_type", "identity_provider_id", "service_account_id"];
    let text = |name: &str| text(&body, name);
    if body.len() != names.len() || names.iter().any(|name| text(name).is_none()) {
        return Err(wrong("A parameter is missing, or there is one that an exchange does not have."));
    }
    if text("grant_type") != Some(TOKEN_EXCHANGE) {
        return Err((StatusCode::BAD_REQUEST, "unsupported_grant_type", "Token exchange is expected."));
    }
    let provider = mappings.iter().filter(|mapping| text("identity_provider_id") == Some(&mapping.provider));
    let mut provider = provider.peekable();
    if provider.peek().is_none() {
        return Err((StatusCode::BAD_REQUEST, "invalid_grant", "The identity provider is unknown."));
    }
    let mapping = provider.find(|mapping| text("service_account_id") == Some(&mapping.service_account));
    let mapping = mapping.ok_or((
        StatusCode::FORBIDDEN,
        "invalid_grant",
        "There is no mapping to the service account.",
    ))?;
    if text("subject_token_type") != Some(mapping.kind) {
        return Err(wrong("The subject token is of another type."));
    }
    let is_admitted = mapping.trusted.iter().any(|trusted| Some(trusted.expose()) == text("subject_token"));
    let denied = (StatusCode::BAD_REQUEST, "invalid_subject_token", "The subject token was not accepted.");
    if is_admitted { Ok(()) } else { Err(denied) }
}
