//! Anthropic's token endpoint: workload identity federation.
//! <https://platform.claude.com/docs/en/manage-claude/wif-reference>

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode};
use portunus_auth_core::BearerToken;
use serde_json::json;

use super::{Cloud, json_body, next, text};
use crate::answer::{self, Answer};
use crate::capture::Recorded;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const BETAS: &str = "oauth-2025-04-20,oidc-federation-2026-04-01";

/// A federation rule of an organisation, and the identity tokens that it admits.
#[derive(Clone, Debug)]
pub struct FederationRule {
    id: String,
    organization: String,
    service_account: Option<String>,
    workspace: Option<String>,
    trusted: Vec<BearerToken>,
    once: Arc<Mutex<Vec<BearerToken>>>,
}

impl FederationRule {
    /// A rule (`fdrl_…`) of an organisation, which admits nobody yet.
    pub fn new(id: impl Into<String>, organization: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            organization: organization.into(),
            service_account: None,
            workspace: None,
            trusted: Vec::new(),
            once: Arc::default(),
        }
    }

    /// For requests that name this service account, and only those.
    #[must_use]
    pub fn for_service_account(self, id: impl Into<String>) -> Self {
        Self { service_account: Some(id.into()), ..self }
    }

    /// For requests that name this workspace, and only those.
    #[must_use]
    pub fn in_workspace(self, id: impl Into<String>) -> Self {
        Self { workspace: Some(id.into()), ..self }
    }

    /// Admits that identity token.
    #[must_use]
    pub fn trusting(mut self, token: impl Into<String>) -> Self {
        self.trusted.push(BearerToken::new(token));
        self
    }

    /// Admits that identity token for one exchange, as one with a `jti`.
    #[must_use]
    pub fn trusting_once(self, token: impl Into<String>) -> Self {
        self.once.lock().unwrap_or_else(PoisonError::into_inner).push(BearerToken::new(token));
        self
    }

    fn admits(&self, token: &str) -> bool {
        if self.trusted.iter().any(|trusted| trusted.expose() == token) {
            return true;
        }
        let mut once = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        let found = once.iter().position(|trusted| trusted.expose() == token);
        found.map(|n| once.swap_remove(n)).is_some()
    }
}

/// `POST /v1/oauth/token`.
pub(super) fn token(cloud: &Cloud, request: &Recorded) -> Answer {
    if let Err((status, kind, says)) = check(&cloud.federation_rules, request) {
        return refused(cloud, status, kind, says);
    }
    let mut answer = answer::json(
        StatusCode::OK,
        answer::write(&json!({
            "access_token": format!("sk-ant-oat01-mock-token-{}", next(&cloud.tokens)),
            "token_type": "Bearer",
            "expires_in": cloud.lifetime.load(Ordering::Relaxed),
            "scope": "workspace:developer",
        })),
    );
    answer.headers_mut().insert("request-id", HeaderValue::from_static("req_mock"));
    answer
}

type Problem = (StatusCode, &'static str, &'static str);

fn check(rules: &[FederationRule], request: &Recorded) -> Result<(), Problem> {
    let wrong = |says| (StatusCode::BAD_REQUEST, "invalid_request_error", says);
    if request.method() != Method::POST || request.query().is_some() {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", "Method Not Allowed"));
    }
    let headers = request.headers_with_secrets();
    if headers.contains_key(AUTHORIZATION) || headers.contains_key("x-api-key") {
        return Err(wrong("an exchange is authenticated by its assertion only"));
    }
    if request.header("anthropic-beta") != Some(BETAS)
        || headers.get_all("anthropic-beta").iter().count() != 1
    {
        return Err(wrong("anthropic-beta: the federation's betas are missing, or there are others"));
    }
    let body = json_body(request).ok_or(wrong("the body has to be a JSON object"))?;
    let known = [
        "grant_type",
        "assertion",
        "federation_rule_id",
        "organization_id",
        "service_account_id",
        "workspace_id",
    ];
    if body.keys().any(|name| !known.contains(&&**name)) {
        return Err(wrong("the body has a member that an exchange does not have"));
    }
    if text(&body, "grant_type") != Some(JWT_BEARER) {
        return Err(wrong("grant_type: unsupported"));
    }
    let assertion = text(&body, "assertion").ok_or(wrong("assertion: field required"))?;
    let id = text(&body, "federation_rule_id").ok_or(wrong("federation_rule_id: field required"))?;
    if !id.starts_with("fdrl_") {
        return Err(wrong("federation_rule_id: malformed"));
    }
    let organization = text(&body, "organization_id").ok_or(wrong("organization_id: field required"))?;
    let workspace = text(&body, "workspace_id");
    if body.contains_key("workspace_id")
        && workspace.is_none_or(|id| id != "default" && !id.starts_with("wrkspc_"))
    {
        return Err(wrong("workspace_id: expected a wrkspc_ ID or the literal default"));
    }
    let service_account = text(&body, "service_account_id");
    let fits = |rule: &&FederationRule| {
        (&*rule.id, &*rule.organization) == (id, organization)
            && rule.service_account.as_deref() == service_account
            && rule.workspace.as_deref() == workspace
    };
    let is_admitted = rules.iter().find(fits).is_some_and(|rule| rule.admits(assertion));
    // Whichever check failed, the answer is the same.
    let denied = (StatusCode::UNAUTHORIZED, "authentication_error", "Authentication failed");
    if is_admitted { Ok(()) } else { Err(denied) }
}

fn refused(cloud: &Cloud, status: StatusCode, kind: &str, says: &str) -> Answer {
    let request_id = format!("req_mock_{}", next(&cloud.traces));
    let body = json!({
        "type": "error",
        "error": { "type": kind, "message": says },
        "request_id": request_id,
    });
    answer::json(status, answer::write(&body))
}
