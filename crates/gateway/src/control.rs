//! The control plane's routes: health, and the key server's endpoints.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use portunus_auth_core::audit::{EventKind, HttpFacts};
use portunus_auth_core::{Outcome, Reason};
use portunus_keyserver::Peer;
use serde::Serialize;
use tower_service::Service as _;

use crate::body::Body;
use crate::gateway::Gateway;
use crate::reply::REQUEST_ID;
use crate::worker::Worker;

/// How long a request of the control plane may take, its body included.
const TIME: Duration = Duration::from_secs(30);

/// Whether a path belongs to the control plane; every other one is an LLM route, known or not.
pub(crate) fn owns(path: &str) -> bool {
    let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    matches!(first, "healthz" | "readyz" | "auth" | "oauth" | "admin" | ".well-known")
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
        .fallback(async || unrouted(StatusCode::NOT_FOUND, "not_found"))
        .method_not_allowed_fallback(async || unrouted(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"))
}

/// Marks an answer that no route gave. The routes audit what they decide; this is decided here.
#[derive(Clone)]
struct Unrouted;

#[derive(Serialize)]
struct Problem {
    error: &'static str,
}

fn unrouted(status: StatusCode, error: &'static str) -> Response {
    let mut response = (status, Json(Problem { error })).into_response();
    response.extensions_mut().insert(Unrouted);
    response
}

/// Answers one request of the control plane.
pub(crate) async fn handle(
    worker: &Worker,
    request: Request<Incoming>,
    peer: IpAddr,
) -> http::Response<Body> {
    let id = worker.next_id();
    let method = request.method().clone();
    let mut request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(Peer { ip: Some(peer), request_id: Some(id) });
    let mut response = match tokio::time::timeout(TIME, worker.control().call(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        // The route that took too long has left its own event.
        Err(_) => (StatusCode::REQUEST_TIMEOUT, Json(Problem { error: "timeout" })).into_response(),
    };
    if response.extensions().get::<Unrouted>().is_some() {
        let Ok(mut trail) = worker.trail(EventKind::ControlRequest) else {
            return unrouted(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable").map(Body::Control);
        };
        let status = Some(response.status().as_u16());
        trail.event().peer = Some(peer);
        trail.event().http = Some(HttpFacts { method, route: "unknown", status, request_id: id });
        trail.finish(Outcome::Refused(Reason::UnknownRoute));
    }
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(&REQUEST_ID, id);
    }
    response.map(Body::Control)
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
