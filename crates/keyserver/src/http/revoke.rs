//! The revocation endpoint: whoever has a key may end it (RFC 7009).

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use portunus_auth_core::audit::EventKind;
use portunus_auth_core::{BearerToken, Outcome, Reason, Trail};
use portunus_store::StoreError;
use utoipa::ToSchema;

use super::body::BadBody;
use super::call;
use super::parameters::{Known, Parameters};
use super::reply::{Problem, Refused, not_to_be_stored};
use crate::server::{KeyServer, revocation};

pub(super) const ROUTE: &str = "/oauth/revoke";

pub(super) const KNOWN: Known = Known { once: &["token", "token_type_hint"], numbers: &[], often: &[] };

/// What a revocation request holds (RFC 7009 section 2.1).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the fields are read by name; this is what the description of the API shows")]
pub(super) struct RevocationParameters {
    /// The key.
    #[schema(min_length = 1)]
    token: String,
    /// Ignored: there is one kind of token.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
}

/// Ends the presented key (RFC 7009). Having it suffices. What is no live key is as good as revoked.
#[utoipa::path(
    post,
    path = "/oauth/revoke",
    operation_id = "revoke",
    tag = "keys",
    request_body(content(
        (RevocationParameters = "application/x-www-form-urlencoded"),
        (RevocationParameters = "application/json"),
    )),
    responses(
        (status = 200, description = "It does not work any more."),
        (status = 400, description = "The request is malformed.", body = Problem),
        (status = 413, description = "The body is longer than 32 KiB.", body = Problem),
        (status = 415, description = "The body is neither a form nor JSON.", body = Problem),
        (status = 503, description = "The store or the audit cannot answer; the key may still work: try again.",
            body = Problem,
            headers(("retry-after" = u64, description = "After how many seconds to try again."))),
    ),
)]
pub(super) async fn revoke(State(server): State<KeyServer>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let read = Parameters::read(&head, body, &KNOWN).await;
    let mut trail = match call::begin(&server, EventKind::TokenRevoked, ROUTE, &head) {
        Ok(trail) => trail,
        Err(full) => return *full,
    };
    let token = read.and_then(|mut parameters| parameters.take("token").ok_or(BadBody::Malformed));
    let token = match token {
        Ok(token) => BearerToken::new(token),
        Err(bad) => return call::refuse(trail, &Refused::Body(bad), Outcome::Refused(bad.reason())),
    };
    match server.presented(&token).await {
        Ok(Ok((holder, which, digest))) => {
            let revoked = server.revoke_as(holder, (which, Some(digest)), trail, conclude).await;
            answer(&revoked)
        }
        Ok(Err(reason)) => {
            call::note(&mut trail, StatusCode::OK);
            trail.finish(Outcome::Refused(reason));
            answer(&Ok(0))
        }
        Err(_) => call::refuse(trail, &Refused::Unavailable, Outcome::Failed(Reason::StoreUnavailable)),
    }
}

fn conclude(mut trail: Trail, revoked: &Result<usize, StoreError>) {
    call::note(&mut trail, answer(revoked).status());
    trail.finish(revocation(revoked.as_ref().ok().copied()));
}

fn answer(revoked: &Result<usize, StoreError>) -> Response {
    match revoked {
        Ok(_) => not_to_be_stored(StatusCode::OK.into_response()),
        Err(_) => Refused::Unavailable.response(),
    }
}
