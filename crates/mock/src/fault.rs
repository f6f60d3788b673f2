//! What goes wrong instead of an answer, when a test asks for it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use crate::answer::{self, Answer};
use crate::body::{End, Frames, Jitter};

/// What a service does instead of answering. The request is counted all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Answers with that status and a body that is not an error of the service's own shape.
    Status {
        /// The status, 200 to 599.
        status: u16,
        /// Sent as `Retry-After`, in whole seconds.
        retry_after: Option<Duration>,
    },
    /// Answers 307 with that `Location`, which a client that holds a secret must not follow.
    Redirect(String),
    /// Never answers; ends when the client gives up or the mock is dropped.
    Hang,
    /// Answers 200 with JSON that ends in the middle.
    Malformed,
    /// Answers 200 with a well-formed JSON object of 16 MiB, which a reader without a limit accepts.
    Oversized,
}

impl Fault {
    /// That status, without `Retry-After`.
    pub fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None }
    }

    pub(crate) async fn answer(self) -> Answer {
        match self {
            Self::Status { status, retry_after } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut answer = answer::text(status, "text/plain", "scripted fault");
                if let Some(after) = retry_after {
                    answer.headers_mut().insert(RETRY_AFTER, after.as_secs().into());
                }
                answer
            }
            Self::Redirect(to) => {
                let mut answer = answer::text(StatusCode::TEMPORARY_REDIRECT, "text/plain", "scripted fault");
                if let Ok(to) = HeaderValue::try_from(to) {
                    answer.headers_mut().insert(LOCATION, to);
                }
                answer
            }
            Self::Hang => std::future::pending().await,
            Self::Malformed => answer::json(StatusCode::OK, r#"{"access_token":"cut-of"#),
            Self::Oversized => oversized(),
        }
    }
}

fn oversized() -> Answer {
    static PADDING: [u8; 64 << 10] = [b'x'; 64 << 10];
    let head =
        br#"{"token_type":"Bearer","expires_in":3599,"access_token":"oversized","keys":[],"padding":""#;
    let mut frames = vec![Bytes::from_static(head)];
    frames.extend((0..256).map(|_| Bytes::from_static(&PADDING)));
    frames.push(Bytes::from_static(br#""}"#));
    answer::stream(
        "application/json",
        Frames::new(frames, Duration::ZERO, Jitter::new(Duration::ZERO, 0), End::Clean),
    )
}

/// What becomes of the next requests.
#[derive(Debug)]
pub(crate) struct Faults<F = Fault>(Mutex<VecDeque<(usize, F)>>);

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<F: Clone> Faults<F> {
    pub(crate) fn add(&self, requests: usize, fault: F) {
        if requests > 0 {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back((requests, fault));
        }
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn next(&self) -> Option<F> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, fault) = queue.front_mut()?;
        *left -= 1;
        if *left > 0 {
            return Some(fault.clone());
        }
        queue.pop_front().map(|(_, fault)| fault)
    }
}
