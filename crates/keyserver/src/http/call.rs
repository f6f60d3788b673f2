//! What every audited route does with a request's head: begin the one event, note the answer, read the
//! credential.

use axum::response::Response;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use portunus_auth_core::audit::{EventKind, HttpFacts};
use portunus_auth_core::{BearerToken, Outcome, Trail};

use super::reply::Refused;
use crate::server::{KeyServer, Peer};

/// Begins the request's audit event.
///
/// # Errors
/// The answer, when the audit has no room: what cannot be audited is not done.
pub(super) fn begin(
    server: &KeyServer,
    kind: EventKind,
    route: &'static str,
    head: &Parts,
) -> Result<Trail, Box<Response>> {
    let peer = head.extensions.get::<Peer>().copied().unwrap_or_default();
    let mut trail = server.trail(kind, peer).map_err(|_full| Box::new(Refused::Unavailable.response()))?;
    if let Some(request_id) = peer.request_id {
        let method = head.method.clone();
        trail.event().http = Some(HttpFacts { method, route, status: None, request_id });
    }
    Ok(trail)
}

/// Notes the status that is answered.
pub(super) fn note(trail: &mut Trail, status: StatusCode) {
    if let Some(http) = &mut trail.event().http {
        http.status = Some(status.as_u16());
    }
}

/// The one bearer token of the request (RFC 6750 section 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<BearerToken> {
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    match (credentials.next(), credentials.next()) {
        (Some(one), None) => BearerToken::from_authorization(one),
        _ => None,
    }
}

/// Ends the trail so, and answers so.
pub(super) fn refuse(mut trail: Trail, refused: &Refused<'_>, outcome: Outcome) -> Response {
    note(&mut trail, refused.status());
    trail.finish(outcome);
    refused.response()
}
