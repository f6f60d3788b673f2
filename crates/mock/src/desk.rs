//! What the identity provider and the cloud do alike with each request: note it, then fail as
//! scripted, or answer.

use http::{Request, StatusCode};
use hyper::body::Incoming;

use crate::answer::{self, Answer};
use crate::body;
use crate::capture::Recorded;
use crate::clock::VirtualClock;
use crate::fault::Faults;
use crate::log::Log;
use crate::observer::Observer;

/// How large a request may be; no token request comes near it.
const BODY_LIMIT: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) clock: VirtualClock,
    pub(crate) log: Log,
    pub(crate) faults: Faults,
    observer: Observer,
}

impl Desk {
    pub(crate) fn new(clock: VirtualClock, observer: Observer) -> Self {
        Self { clock, log: Log::default(), faults: Faults::default(), observer }
    }

    pub(crate) async fn serve(
        &self,
        request: Request<Incoming>,
        answer: impl FnOnce(&Recorded) -> Answer,
    ) -> Answer {
        let (head, incoming) = request.into_parts();
        let body = body::read(incoming, BODY_LIMIT).await;
        let kept = body.clone().unwrap_or_default();
        let seen = Recorded::new(head.method, head.uri, head.headers, kept, self.clock.now());
        let place = self.log.add(seen.clone());
        let answer = match (self.faults.next(), body) {
            (Some(fault), _) => fault.answer().await,
            (None, Ok(_)) => answer(&seen),
            (None, Err(_)) => answer::json(StatusCode::PAYLOAD_TOO_LARGE, r#"{"error":"invalid_request"}"#),
        };
        self.log.answered(place, &seen, answer.status());
        self.observer.tell(&seen);
        answer::date(answer, self.clock.now())
    }
}
