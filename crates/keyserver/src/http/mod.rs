//! The HTTP routes: strict in what they take (RFC 8693, RFC 7662, RFC 7009, RFC 6749), fixed in what they
//! say. One file for each family of routes; [`reply`] alone knows how an error looks.

mod admin;
mod body;
mod call;
mod explain;
mod metadata;
mod parameters;
mod reply;
mod token;

use axum::Router;
use axum::routing::{delete, get, post};

use crate::server::KeyServer;

/// The routes of a key server, for any application.
///
/// A [`crate::Peer`] in a request's extensions says who asks; without one, the audit does not know.
pub fn router(server: KeyServer) -> Router {
    Router::new()
        .route(token::AUTH, post(token::auth_token))
        .route(token::OAUTH, post(token::oauth_token))
        .route(admin::ONE_TOKEN, delete(admin::revoke_one))
        .route(explain::EXPLAIN, post(explain::explain))
        .route(metadata::AUDIENCE, get(metadata::audience))
        .with_state(server)
}
