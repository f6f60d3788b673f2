//! The way of a request, and the only place that orders its steps.
//!
//! Each step yields what the next one needs, so reordering them does not compile; each `?` is a
//! refusal in the caller's dialect, and audited.

use std::net::IpAddr;

use http::{Request, Response};
use hyper::body::Incoming;
use portunus_auth_core::audit::{EventKind, HttpFacts, RequestId};
use portunus_auth_core::{Dialect, Trail};

use crate::body::Body;
use crate::call::Call;
use crate::limit::Hold;
use crate::reply::Refusal;
use crate::server::Worker;
use crate::upstream::Reply;

/// Answers one request, and leaves exactly one event in the audit, also when the caller goes away.
pub(crate) async fn handle(worker: &Worker, request: Request<Incoming>, peer: IpAddr) -> Response<Body> {
    let id = worker.next_id();
    let dialect = Dialect::guess(request.uri().path(), request.headers());
    let Ok(mut trail) = worker.trail(EventKind::LlmRequest) else {
        tracing::error!("the audit is full; refusing requests until it is written");
        return Refusal::AuditFull.answer(dialect, id);
    };
    note(&mut trail, &request, peer, id);
    match forward(worker, request, &mut trail).await {
        Ok((reply, hold)) => reply.metered(hold, trail, id),
        Err(refusal) => {
            let answer = refusal.answer(dialect, id);
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
    trail: &mut Trail,
) -> Result<(Reply, Hold), Refusal> {
    let gateway = worker.gateway();
    let (head, body) = Call::split(request)?;
    let caller = gateway.authn.authenticate(&head).await?;
    trail.identify(&caller);
    let call = head.read(body, gateway.body_limits).await?;
    trail.event().target.model = Some(call.model.clone());
    let permit = caller.permit(&call.action()).map_err(Refusal::Denied)?;
    let hold = gateway.limits.reserve(permit, &call)?;
    let target = gateway.routes.pick(&hold, &call)?;
    trail.event().target.provider = Some(target.provider.name.clone());
    let reply = worker.upstreams().send(call, target).await?;
    Ok((reply, hold))
}

fn note(trail: &mut Trail, request: &Request<Incoming>, peer: IpAddr, id: RequestId) {
    let route = Dialect::route(request.method(), request.uri().path());
    let event = trail.event();
    event.peer = Some(peer);
    event.http = Some(HttpFacts {
        method: request.method().clone(),
        route: route.map_or("unknown", |route| route.path),
        status: None,
        request_id: id,
    });
}
