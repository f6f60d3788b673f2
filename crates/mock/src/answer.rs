//! What is answered: parts of text and tool calls, and HTTP answers in general.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use crate::body::{Body, Frames};

/// An answer on its way out.
pub(crate) type Answer = Response<Body>;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// JSON that is already written.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::Whole(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// What is sent frame by frame.
pub(crate) fn stream(content_type: &'static str, frames: Frames) -> Answer {
    let mut answer = Response::new(Body::Frames(frames));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// Plain text, or a page.
pub(crate) fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = json(status, body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Writes what cannot fail to be written: our own structs, whose maps have text keys.
pub(crate) fn write(value: &impl serde::Serialize) -> Vec<u8> {
    // Most bodies fit, and are then written without growing.
    let mut body = Vec::with_capacity(1 << 10);
    serde_json::to_writer(&mut body, value).expect("plain structs are always written");
    body
}
