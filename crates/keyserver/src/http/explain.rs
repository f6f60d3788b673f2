//! `POST /admin/policies:explain`: which policy decides about somebody and why, as a dry run.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use portunus_auth_core::audit::{Actor, EventKind};
use portunus_auth_core::{BearerToken, Outcome, Reason};
use serde_json::{Map, Value};

use super::body::{self, BadBody, MediaType};
use super::call;
use super::reply::{Refused, json};
use crate::exchange::ExchangeError;
use crate::policy::{Explanation, Question};
use crate::server::{ExplainError, KeyServer};

pub(super) const EXPLAIN: &str = "/admin/policies:explain";

/// What the body asks.
enum Asks {
    About(Question),
    Token { token: BearerToken, policy: Option<String> },
}

/// How it ends, but for an explanation.
enum Failed {
    /// The body is too long, too late, or asks nothing.
    Request(ExchangeError),
    Explain(ExplainError),
}

/// The body of nobody but the administrator is read.
pub(super) async fn explain(State(server): State<KeyServer>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let is_admin = call::bearer(&head.headers).is_some_and(|token| server.is_admin(&token));
    // Before the trail begins: whoever trickles a body keeps no room in the audit from others.
    let asks = if is_admin { Some(read(&head, body).await) } else { None };
    let mut trail = match call::begin(&server, EventKind::AdminDenied, EXPLAIN, &head) {
        Ok(trail) => trail,
        Err(full) => return *full,
    };
    let Some(asks) = asks else {
        call::note(&mut trail, Refused::NotAdmin.status());
        trail.finish(Outcome::Refused(Reason::Unauthorized));
        return Refused::NotAdmin.response();
    };
    trail.event().kind = EventKind::PolicyExplained;
    trail.event().actor = Some(Actor::Admin);
    let explained = match asks {
        Ok(asks) => answer(&server, asks).await.map_err(Failed::Explain),
        Err(error) => Err(Failed::Request(error)),
    };
    let (response, outcome) = match &explained {
        Ok(explanation) => {
            trail.event().target.policy.clone_from(&explanation.policy);
            (json(StatusCode::OK, explanation), Outcome::Allowed)
        }
        Err(failed) => (failed.refused().response(), failed.outcome()),
    };
    call::note(&mut trail, response.status());
    trail.finish(outcome);
    response
}

async fn answer(server: &KeyServer, asks: Asks) -> Result<Explanation, ExplainError> {
    match asks {
        Asks::About(question) => server.explain(&question),
        Asks::Token { token, policy } => server.explain_token(&token, policy.as_deref()).await,
    }
}

async fn read(head: &Parts, body: Body) -> Result<Asks, ExchangeError> {
    let (MediaType::Json, bytes) = body::read(head, body).await? else {
        return Err(BadBody::WrongType.into());
    };
    let members = crate::json::object(&bytes).ok_or(ExchangeError::Malformed)?;
    parse(members).ok_or(ExchangeError::Malformed)
}

/// Either claims or a token, and nothing that is not understood.
fn parse(mut members: Map<String, Value>) -> Option<Asks> {
    let mut text = |name: &str| match members.remove(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text)),
        Some(_) => None,
    };
    let (token, issuer, policy) = (text("token")?, text("issuer")?, text("policy")?);
    let claims = members.remove("claims");
    match (claims, token, issuer) {
        _ if !members.is_empty() => None,
        (Some(Value::Object(claims)), None, issuer) => Some(Asks::About(Question { claims, issuer, policy })),
        (None, Some(token), None) => Some(Asks::Token { token: BearerToken::new(token), policy }),
        _ => None,
    }
}

impl Failed {
    fn refused(&self) -> Refused<'_> {
        match self {
            Self::Request(error) => Refused::Exchange(error),
            Self::Explain(error) => Refused::Explain(error),
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Request(error) => Outcome::Refused(error.reason()),
            Self::Explain(ExplainError::Claims(_)) => Outcome::Refused(Reason::WrongClaims),
            Self::Explain(ExplainError::Token(refused)) => Outcome::Refused((*refused).into()),
            Self::Explain(ExplainError::Unavailable(_)) => Outcome::Failed(Reason::IssuerUnavailable),
        }
    }
}
