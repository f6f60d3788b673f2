//! What lets scripts of other origins call (the CORS protocol of the Fetch standard). Pages are not for
//! scripts.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
};
use http::{HeaderValue, Method, StatusCode};

use super::routes::Endpoint;
use crate::answer::{self, Answer};
use crate::capture::Recorded;

/// The answer to a script's question whether it may ask.
pub(super) fn preflight(endpoint: Endpoint, request: &Recorded) -> Option<Answer> {
    let asks = request.method() == Method::OPTIONS && request.header("origin").is_some();
    if !asks || !endpoint.is_for_scripts() {
        return None;
    }
    let mut answer = answer::text(StatusCode::NO_CONTENT, "text/plain", "");
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers
        .insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type, dpop"));
    Some(answer)
}

/// Lets a script read the answer, if a script asked. Cookies play no part here, so any origin may.
pub(super) fn readable(endpoint: Endpoint, request: &Recorded, mut answer: Answer) -> Answer {
    if request.header("origin").is_some() && endpoint.is_for_scripts() {
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let exposed = HeaderValue::from_static("www-authenticate, dpop-nonce");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    answer
}
