//! The administrator's routes: who is one, and the revocation of one key.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use portunus_auth_core::audit::{Actor, EventKind};
use portunus_auth_core::{KeyId, Outcome, Reason, Trail};
use portunus_store::StoreError;
use serde_json::{Map, Value};

use super::body::{self, BadBody, MediaType};
use super::call;
use super::reply::{Problem, Refused, not_to_be_stored};
use crate::json::object;
use crate::keys::Revoke;
use crate::server::{KeyServer, revocation};

pub(super) const DOCUMENTED: &str = "/auth/token/{jti}";
pub(super) const ONE_TOKEN: &str = "/admin/tokens/{jti}";

/// Begins the audit event of what only the administrator may do.
///
/// # Errors
/// The answer to everybody else, which the audit knows of.
pub(super) fn begin(
    server: &KeyServer,
    kind: EventKind,
    route: &'static str,
    head: &Parts,
) -> Result<Trail, Box<Response>> {
    let mut trail = call::begin(server, EventKind::AdminDenied, route, head)?;
    if !is_admin(server, head) {
        let outcome = Outcome::Refused(Reason::Unauthorized);
        return Err(Box::new(call::refuse(trail, &Refused::NotAdmin, outcome)));
    }
    let event = trail.event();
    event.kind = kind;
    event.actor = Some(Actor::Admin);
    Ok(trail)
}

/// The members of the body, which is one JSON object. Of nobody but the administrator is it read; call this
/// before [`begin`], so that whoever trickles a body keeps no room in the audit from others.
pub(super) async fn read(
    server: &KeyServer,
    head: &Parts,
    body: Body,
) -> Result<Map<String, Value>, BadBody> {
    if !is_admin(server, head) {
        return Ok(Map::new());
    }
    let (MediaType::Json, bytes) = body::read(head, body).await? else { return Err(BadBody::WrongType) };
    // Strictly: of two members of one name, it could not be told which is meant.
    object(&bytes).ok_or(BadBody::Malformed)
}

fn is_admin(server: &KeyServer, head: &Parts) -> bool {
    call::bearer(&head.headers).is_some_and(|token| server.is_admin(&token))
}

/// Revokes one key, by its public name; the same as `DELETE /admin/tokens/{jti}`.
#[utoipa::path(
    delete,
    path = "/auth/token/{jti}",
    operation_id = "revokeOneAsDocumented",
    tag = "admin",
    security(("admin" = [])),
    params(("jti" = String, Path, description = "The key's public name.")),
    responses(
        (status = 204, description = "It does not work any more."),
        (status = 401, description = "Not the administrator.", body = Problem,
            headers(("www-authenticate" = String, description = "How to authenticate."))),
        (status = 404, description = "There is no such live key.", body = Problem),
        (status = 503, description = "The store or the audit cannot answer; repeat it.", body = Problem,
            headers(("retry-after" = u64, description = "After how many seconds to try again."))),
    ),
)]
pub(super) async fn revoke_one_as_documented(
    State(server): State<KeyServer>,
    jti: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    revoke(&server, DOCUMENTED, jti.ok(), request).await
}

/// Revokes one key, by its public name.
#[utoipa::path(
    delete,
    path = "/admin/tokens/{jti}",
    operation_id = "revokeOne",
    tag = "admin",
    security(("admin" = [])),
    params(("jti" = String, Path, description = "The key's public name.")),
    responses(
        (status = 204, description = "It does not work any more."),
        (status = 401, description = "Not the administrator.", body = Problem,
            headers(("www-authenticate" = String, description = "How to authenticate."))),
        (status = 404, description = "There is no such live key.", body = Problem),
        (status = 503, description = "The store or the audit cannot answer; repeat it.", body = Problem,
            headers(("retry-after" = u64, description = "After how many seconds to try again."))),
    ),
)]
pub(super) async fn revoke_one(
    State(server): State<KeyServer>,
    jti: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    revoke(&server, ONE_TOKEN, jti.ok(), request).await
}

async fn revoke(
    server: &KeyServer,
    route: &'static str,
    jti: Option<Path<String>>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let trail = match begin(server, EventKind::TokenRevoked, route, &head) {
        Ok(trail) => trail,
        Err(response) => return *response,
    };
    // What is no UUID is no key's name, and needs no look-up.
    let revoked = match jti.and_then(|Path(jti)| uuid::Uuid::try_parse(&jti).ok()) {
        Some(jti) => {
            let which = Revoke::Key(KeyId(jti.to_string().into()));
            server.revoke_as(Actor::Admin, (which, None), trail, conclude).await
        }
        None => {
            conclude(trail, &Ok(0));
            Ok(0)
        }
    };
    answer(&revoked)
}

fn conclude(mut trail: Trail, revoked: &Result<usize, StoreError>) {
    call::note(&mut trail, answer(revoked).status());
    trail.finish(revocation(revoked.as_ref().ok().copied()));
}

fn answer(revoked: &Result<usize, StoreError>) -> Response {
    match revoked {
        Ok(0) => Refused::NoSuchKey.response(),
        Ok(_) => not_to_be_stored(StatusCode::NO_CONTENT.into_response()),
        Err(_) => Refused::Unavailable.response(),
    }
}
