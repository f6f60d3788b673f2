//! What is answered: parts of text and tool calls, and HTTP answers in general.

use std::cell::RefCell;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, DATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

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
pub(crate) fn write(value: &impl Serialize) -> Vec<u8> {
    // Most bodies fit, and are then written without growing.
    let mut body = Vec::with_capacity(1 << 10);
    serde_json::to_writer(&mut body, value).expect("plain structs are always written");
    body
}

/// JSON that is put together from what never changes and from values.
pub(crate) struct Json(Vec<u8>);

impl Json {
    pub(crate) fn new() -> Self {
        // Most answers fit.
        Self(Vec::with_capacity(2 << 10))
    }

    /// Adds JSON, which begins or ends within a value.
    pub(crate) fn raw(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    pub(crate) fn value(&mut self, value: &(impl Serialize + ?Sized)) -> &mut Self {
        serde_json::to_writer(&mut self.0, value).expect("plain values are always written");
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// What was put together, which is checked here.
    pub(crate) fn into_raw(self) -> Box<RawValue> {
        let json = String::from_utf8(self.0).expect("JSON is UTF-8");
        RawValue::from_string(json).expect("what was put together is JSON")
    }
}

thread_local! {
    /// The second since 1970 that was written last, and how. A server has a thread of its own.
    static WRITTEN: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// Says when it is sent, by the mock's clock. Without it hyper would say so by its own.
pub(crate) fn date(mut answer: Answer, now: SystemTime) -> Answer {
    // Later years have no form (RFC 9110 §5.6.7), and no test is earlier.
    const YEAR_10000: u64 = 253_402_300_800;
    let since = now.duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs());
    if let Ok(second @ ..YEAR_10000) = since {
        WRITTEN.with_borrow_mut(|written| {
            if written.as_ref().is_none_or(|(last, _)| *last != second) {
                let date = HeaderValue::try_from(httpdate::fmt_http_date(now));
                *written = date.ok().map(|date| (second, date));
            }
            if let Some((_, date)) = written {
                answer.headers_mut().insert(DATE, date.clone());
            }
        });
    }
    answer
}
