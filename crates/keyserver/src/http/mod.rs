//! The HTTP routes: strict in what they take (RFC 8693, RFC 7662, RFC 7009, RFC 6749), fixed in what they
//! say. One file for each family of routes; [`reply`] alone knows how an error looks.

mod admin;
mod asker;
mod body;
mod call;
mod explain;
mod introspect;
mod listing;
mod metadata;
mod openapi;
mod parameters;
mod reply;
mod revocations;
mod revoke;
mod token;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{delete, get, post};
use portunus_auth_core::audit::EventKind;
use portunus_auth_core::{Outcome, Reason};

pub use openapi::openapi;

use self::reply::Refused;
use crate::server::KeyServer;

/// The routes of a key server, for any application.
///
/// A [`crate::Peer`] in a request's extensions says who asks; without one, the audit does not know.
pub fn router(server: KeyServer) -> Router {
    Router::new()
        .route(token::AUTH, post(token::auth_token))
        .route(token::OAUTH, post(token::oauth_token))
        .route(introspect::ROUTE, post(introspect::introspect))
        .route(revoke::ROUTE, post(revoke::revoke))
        .route(admin::DOCUMENTED, delete(admin::revoke_one_as_documented))
        .route(admin::ONE_TOKEN, delete(admin::revoke_one))
        .route(explain::EXPLAIN, post(explain::explain))
        .route(listing::ROUTE, get(listing::list))
        .route(revocations::ROUTE, post(revocations::revoke_many))
        .route(metadata::AUDIENCE, get(metadata::audience))
        .route(metadata::SERVER, get(metadata::server))
        .route(metadata::SERVER_BELOW, get(metadata::server_below))
        .route(metadata::RESOURCE, get(metadata::resource))
        .route(metadata::RESOURCE_BELOW, get(metadata::resource_below))
        .route(openapi::ROUTE, get(openapi::document))
        .method_not_allowed_fallback(wrong_method)
        .with_state(server)
}

async fn wrong_method(State(server): State<KeyServer>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    match call::begin(&server, EventKind::ControlRequest, "unknown", &head) {
        Ok(trail) => call::refuse(trail, &Refused::WrongMethod, Outcome::Refused(Reason::UnknownRoute)),
        Err(full) => *full,
    }
}
