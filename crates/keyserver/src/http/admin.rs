//! The administrator's routes.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use portunus_auth_core::audit::{Actor, EventKind};
use portunus_auth_core::{KeyId, Outcome, Reason, Trail};
use portunus_store::StoreError;

use super::call;
use super::reply::{Refused, not_to_be_stored};
use crate::keys::Revoke;
use crate::server::{KeyServer, revocation};

pub(super) const ONE_TOKEN: &str = "/auth/token/{jti}";

pub(super) async fn revoke_one(
    State(server): State<KeyServer>,
    jti: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let mut trail = match call::begin(&server, EventKind::AdminDenied, ONE_TOKEN, &head) {
        Ok(trail) => trail,
        Err(full) => return *full,
    };
    if !call::bearer(&head.headers).is_some_and(|token| server.is_admin(&token)) {
        call::note(&mut trail, Refused::NotAdmin.status());
        trail.finish(Outcome::Refused(Reason::Unauthorized));
        return Refused::NotAdmin.response();
    }
    trail.event().kind = EventKind::TokenRevoked;
    // What is no UUID is no key's name, and needs no look-up.
    let revoked = match jti.ok().and_then(|Path(jti)| uuid::Uuid::try_parse(&jti).ok()) {
        Some(jti) => {
            let which = Revoke::Key(KeyId(jti.to_string().into()));
            server.revoke_as(Actor::Admin, which, trail, conclude).await
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
    trail.finish(revocation(revoked));
}

fn answer(revoked: &Result<usize, StoreError>) -> Response {
    match revoked {
        Ok(0) => Refused::NoSuchKey.response(),
        Ok(_) => not_to_be_stored(StatusCode::NO_CONTENT.into_response()),
        Err(_) => Refused::Unavailable.response(),
    }
}
