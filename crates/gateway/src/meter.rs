//! Passes an upstream's answer on, frame by frame, and ends the request's accounts when it ends: the
//! connection goes back to its pool, the hold is settled, the audit gets its event.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use portunus_auth_core::audit::RequestId;
use portunus_auth_core::{BoxError, Outcome, Reason, Trail};
use tokio::time::{Sleep, sleep};

use crate::body::Body;
use crate::limit::Hold;
use crate::reply::REQUEST_ID;
use crate::upstream::{Lease, Reply};

/// A body on its way from an upstream to a caller.
///
/// Dropped before its end, because the caller went away, it drops the connection, so that the upstream
/// stops, and the trail, which then says `abandoned`.
#[derive(Debug)]
pub(crate) struct Metered {
    body: Incoming,
    idle: Idle,
    bytes: u64,
    open: Option<Open>,
}

/// What a request holds until its answer has ended.
#[derive(Debug)]
struct Open {
    lease: Lease,
    hold: Hold,
    trail: Trail,
}

impl Reply {
    /// The answer for the caller. From here on its body settles the hold and ends the trail.
    pub(crate) fn metered(self, hold: Hold, mut trail: Trail, id: RequestId) -> Response<Body> {
        let (mut head, body) = self.response.into_parts();
        if let Some(http) = &mut trail.event().http {
            http.status = Some(head.status.as_u16());
        }
        strip(&mut head.headers);
        if let Ok(id) = HeaderValue::try_from(id.to_string()) {
            head.headers.entry(self.dialect.request_id_header()).or_insert_with(|| id.clone());
            head.headers.insert(&REQUEST_ID, id);
        }
        let open = Open { lease: self.lease, hold, trail };
        let idle = Idle { limit: self.idle_timeout, timer: None, moved: false };
        let mut metered = Metered { body, idle, bytes: 0, open: Some(open) };
        if metered.body.is_end_stream() {
            metered.end();
        }
        let mut response = Response::new(Body::Metered(Box::new(metered)));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }
}

impl Metered {
    /// The answer is complete.
    fn end(&mut self) {
        if let Some(open) = self.open.take() {
            open.lease.give_back();
            close(open.trail, &open.hold, self.bytes, Outcome::Allowed);
        }
    }

    /// The answer broke off. The connection is not used again.
    fn fail(&mut self, reason: Reason) {
        if let Some(open) = self.open.take() {
            close(open.trail, &open.hold, self.bytes, Outcome::Failed(reason));
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            close(open.trail, &open.hold, self.bytes, Outcome::Abandoned);
        }
    }
}

fn close(mut trail: Trail, hold: &Hold, bytes: u64, outcome: Outcome) {
    tracing::debug!(subject = %hold.principal().id().subject, bytes, ?outcome, "request ended");
    trail.event().bytes_out = Some(bytes);
    trail.finish(outcome);
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.idle.moved = true;
                self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.body.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            // Passed on as an error, so that the caller's connection breaks: an answer that was cut
            // off must not look complete.
            Poll::Ready(Some(Err(error))) => {
                self.fail(Reason::UpstreamBroken);
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Pending if self.idle.is_over(cx) => {
                self.fail(Reason::UpstreamTimeout);
                Poll::Ready(Some(Err("the upstream paused for too long".into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Notices when nothing arrives for too long: after one limit at least and two at most. A frame only
/// sets a mark, which the timer looks at when it fires, so frames cost nothing in the timer wheel.
#[derive(Debug)]
struct Idle {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    moved: bool,
}

impl Idle {
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        while timer.as_mut().poll(cx).is_ready() {
            if !std::mem::take(&mut self.moved) {
                return true;
            }
            timer.set(sleep(limit));
        }
        false
    }
}

/// Leaves of an upstream's headers what its clients read: what describes the body, limits and retries,
/// names of requests. Everything else concerns its own connection, its account with the vendor, or would
/// speak for our origin: a cookie set for it, another address for it, a policy on how to reach it.
fn strip(headers: &mut HeaderMap) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| !passes(name.as_str())).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

fn passes(name: &str) -> bool {
    match name {
        "content-type" | "content-length" | "content-encoding" | "content-language" | "cache-control" => true,
        "date" | "retry-after" | "retry-after-ms" | "x-should-retry" | "request-id" | "x-request-id" => true,
        "apim-request-id" | "openai-processing-ms" | "openai-version" | "openai-model" => true,
        _ => name.starts_with("x-ratelimit-") || name.starts_with("anthropic-ratelimit-"),
    }
}
