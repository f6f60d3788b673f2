//! What the server says about itself to whoever asks.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::reply::json;
use crate::server::KeyServer;

pub(super) const AUDIENCE: &str = "/auth/audience";

/// What identity tokens must be made for.
#[derive(Serialize)]
pub(super) struct Audience {
    audience: String,
}

pub(super) async fn audience(State(server): State<KeyServer>) -> Response {
    json(StatusCode::OK, &Audience { audience: server.audience().to_owned() })
}
