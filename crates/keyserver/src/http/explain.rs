//! `POST /admin/policies:explain`: which policy decides about somebody and why, as a dry run.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use portunus_auth_core::audit::EventKind;
use portunus_auth_core::{BearerToken, Outcome, Reason};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::body::BadBody;
use super::reply::{Problem, Refused, json};
use super::{admin, call};
use crate::policy::{Explanation, Question};
use crate::server::{ExplainError, KeyServer};

pub(super) const EXPLAIN: &str = "/admin/policies:explain";

/// What the body asks.
enum Asks {
    About(Question),
    Token { token: BearerToken, policy: Option<String> },
}

/// What to decide about somebody (`claims` and, where they do not name it, `issuer`), or about whoever a token is
/// about (`token`).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainRequest {
    /// What an issuer would say of somebody.
    #[schema(value_type = Option<Object>, nullable = false)]
    claims: Option<Map<String, Value>>,
    /// The issuer of these claims, by its name in the configuration.
    #[schema(min_length = 1, nullable = false)]
    issuer: Option<String>,
    /// A token, instead of claims.
    #[schema(min_length = 1, nullable = false)]
    token: Option<String>,
    /// The policy that the caller would name.
    #[schema(min_length = 1, nullable = false)]
    policy: Option<String>,
}

/// Says which policy decides about somebody and why, without doing it.
///
/// The body of nobody but the administrator is read.
#[utoipa::path(
    post,
    path = "/admin/policies:explain",
    operation_id = "explain",
    tag = "admin",
    security(("admin" = [])),
    request_body = ExplainRequest,
    responses(
        (status = 200, description = "What is decided, and why.", body = Object),
        (status = 400, description = "The request is malformed, or about nobody who could ask.", body = Problem),
        (status = 401, description = "Not the administrator.", body = Problem,
            headers(("www-authenticate" = String, description = "How to authenticate."))),
        (status = 413, description = "The body is longer than 32 KiB.", body = Problem),
        (status = 415, description = "The body is not JSON.", body = Problem),
        (status = 503, description = "The issuer or the audit cannot answer.", body = Problem,
            headers(("retry-after" = u64, description = "After how many seconds to try again."))),
    ),
)]
pub(super) async fn explain(State(server): State<KeyServer>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let read = admin::read(&server, &head, body).await;
    let mut trail = match admin::begin(&server, EventKind::PolicyExplained, EXPLAIN, &head) {
        Ok(trail) => trail,
        Err(response) => return *response,
    };
    let asks = read.and_then(|members| parse(members).ok_or(BadBody::Malformed));
    let asks = match asks {
        Ok(asks) => asks,
        Err(bad) => return call::refuse(trail, &Refused::Body(bad), Outcome::Refused(bad.reason())),
    };
    match answer(&server, asks).await {
        Ok(explanation) => {
            trail.event().target.policy.clone_from(&explanation.policy);
            call::note(&mut trail, StatusCode::OK);
            trail.finish(Outcome::Allowed);
            json(StatusCode::OK, &explanation)
        }
        Err(error) => call::refuse(trail, &Refused::Explain(&error), outcome(&error)),
    }
}

async fn answer(server: &KeyServer, asks: Asks) -> Result<Explanation, ExplainError> {
    match asks {
        Asks::About(question) => server.explain(&question),
        Asks::Token { token, policy } => server.explain_token(&token, policy.as_deref()).await,
    }
}

/// Either claims or a token, and nothing that is not understood.
fn parse(members: Map<String, Value>) -> Option<Asks> {
    if members.values().any(Value::is_null) {
        return None;
    }
    let asked: ExplainRequest = serde_json::from_value(Value::Object(members)).ok()?;
    match asked {
        ExplainRequest { claims: Some(claims), token: None, issuer, policy } => {
            Some(Asks::About(Question { claims, issuer, policy }))
        }
        ExplainRequest { claims: None, token: Some(token), issuer: None, policy } => {
            Some(Asks::Token { token: BearerToken::new(token), policy })
        }
        _ => None,
    }
}

fn outcome(error: &ExplainError) -> Outcome {
    match error {
        ExplainError::Claims(_) => Outcome::Refused(Reason::WrongClaims),
        ExplainError::Token(refused) => Outcome::Refused((*refused).into()),
        ExplainError::Unavailable(_) => Outcome::Failed(Reason::IssuerUnavailable),
    }
}
