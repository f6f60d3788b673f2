//! The control plane's routes: health, and the key server's endpoints.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use portunus_auth_core::audit::RequestId;
use portunus_keyserver::Peer;
use serde::Serialize;
use tower_service::Service as _;

use crate::body::Body;
use crate::gateway::Gateway;

/// Whether a path belongs to the control plane; every other one is an LLM route, known or not.
pub(crate) fn owns(path: &str) -> bool {
    let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    matches!(first, "healthz" | "readyz" | "auth" | "oauth")
}

/// The routes, for every worker.
pub(crate) fn router(gateway: &Arc<Gateway>) -> Router {
    let health = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(gateway.clone());
    let router = match &gateway.key_server {
        Some(server) => health.merge(portunus_keyserver::router(server.clone())),
        None => health,
    };
    router
        .fallback(async || (StatusCode::NOT_FOUND, Json(Problem { error: "not_found" })))
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, Json(Problem { error: "method_not_allowed" }))
        })
}

/// Answers one request of the control plane.
pub(crate) async fn handle(
    mut router: Router,
    request: Request<Incoming>,
    peer: IpAddr,
    id: RequestId,
) -> http::Response<Body> {
    let mut request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(Peer { ip: Some(peer), request_id: Some(id) });
    match router.call(request).await {
        Ok(response) => response.map(Body::Control),
        Err(never) => match never {},
    }
}

#[derive(Serialize)]
struct Problem {
    error: &'static str,
}

#[derive(Serialize)]
struct Readiness {
    store: &'static str,
    audit: &'static str,
}

/// Whether this process can do its work now, by subsystem.
async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    let word = |good: bool| if good { "ok" } else { "unavailable" };
    let store = gateway.store.get("readyz").await.is_ok();
    let audit = gateway.audit.is_healthy();
    let status = if store && audit { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { store: word(store), audit: word(audit) })).into_response()
}
