//! The way of a request, and the only place that orders its steps.
//!
//! Each step yields what the next one needs, so reordering them does not compile; each `?` is a
//! refusal in the caller's dialect, and audited.

use std::net::IpAddr;

use http::{Request, Response};
use hyper::body::Incoming;
use portunus_auth_core::audit::{EventKind, HttpFacts};
use portunus_auth_core::dialect::{NoRoute, Route};
use portunus_auth_core::{Dialect, Trail};

use crate::body::Body;
use crate::call::{Call, check_head, route};
use crate::limit::Hold;
use crate::reply::Refusal;
use crate::upstream::Reply;
use crate::worker::Worker;

/// Answers one request, and leaves exactly one event in the audit, also when the caller goes away.
pub(crate) async fn handle(worker: &Worker, request: Request<Incoming>, peer: IpAddr) -> Response<Body> {
    let id = worker.next_id();
    let route = route(request.method(), request.uri().path());
    let dialect = match &route {
        Ok(route) => route.dialect,
        Err(_) => Dialect::guess(request.uri().path(), request.headers()),
    };
    let Ok(mut trail) = worker.trail(EventKind::LlmRequest) else {
        return Refusal::AuditFull.answer(dialect, id, &worker.gateway().challenges);
    };
    let event = trail.event();
    event.peer = Some(peer);
    let template = route.map_or("unknown", |route| route.path);
    event.http =
        Some(HttpFacts { method: request.method().clone(), route: template, status: None, request_id: id });
    match forward(worker, request, route, peer, &mut trail).await {
        Ok((reply, hold)) => reply.metered(hold, trail, id),
        Err(refusal) => {
            let answer = refusal.answer(dialect, id, &worker.gateway().challenges);
            if let Some(http) = &mut trail.event().http {
                http.status = Some(answer.status().as_u16());
            }
            match refusal.cause() {
                Some(cause) => tracing::warn!(request = %id, cause, "a request failed"),
                None => tracing::debug!(request = %id, ?refusal, "a request was refused"),
            }
            trail.finish(refusal.outcome());
            answer
        }
    }
}

async fn forward(
    worker: &Worker,
    request: Request<Incoming>,
    route: Result<Route, NoRoute>,
    peer: IpAddr,
    trail: &mut Trail,
) -> Result<(Reply, Hold), Refusal> {
    let gateway = worker.gateway();
    check_head(&request)?;
    let (head, body) = Call::split(request, route)?;
    let caller = gateway.authn.authenticate(&head, peer).await?;
    trail.identify(&caller);
    let turn = gateway.limits.take_turn(&caller)?;
    let (call, _room) = head.read(body, &turn, &gateway.body_limits).await?;
    trail.event().target.model = Some(call.model.clone());
    let permit = caller.permit(&call.action()).map_err(Refusal::Denied)?;
    let hold = gateway.limits.reserve(permit, turn, &call);
    let target = gateway.routes.pick(&hold, &call)?;
    trail.event().target.provider = Some(target.provider.name.clone());
    let reply = worker.upstreams().send(call, target).await?;
    Ok((reply, hold))
}
