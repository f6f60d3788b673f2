//! How Google's APIs word an error: <https://google.aip.dev/193>.

use serde::Serialize;

use super::ErrorKind;

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: u16,
    message: &'a str,
    status: &'a str,
}

pub(super) fn error_body(kind: ErrorKind, message: &str) -> String {
    let (code, status) = match kind {
        ErrorKind::InvalidRequest => (400, "INVALID_ARGUMENT"),
        ErrorKind::Authentication => (401, "UNAUTHENTICATED"),
        ErrorKind::Permission => (403, "PERMISSION_DENIED"),
        ErrorKind::NotFound | ErrorKind::ModelNotFound => (404, "NOT_FOUND"),
        ErrorKind::MethodNotAllowed => (405, "UNIMPLEMENTED"),
        ErrorKind::Timeout => (408, "DEADLINE_EXCEEDED"),
        ErrorKind::TooLarge => (413, "INVALID_ARGUMENT"),
        ErrorKind::UnsupportedMediaType => (415, "INVALID_ARGUMENT"),
        ErrorKind::HeadTooLarge => (431, "INVALID_ARGUMENT"),
        ErrorKind::RateLimited => (429, "RESOURCE_EXHAUSTED"),
        ErrorKind::Internal => (500, "INTERNAL"),
        ErrorKind::BadGateway => (502, "UNAVAILABLE"),
        ErrorKind::Unavailable => (503, "UNAVAILABLE"),
        ErrorKind::GatewayTimeout => (504, "DEADLINE_EXCEEDED"),
    };
    serde_json::to_string(&Body { error: Inner { code, message, status } }).unwrap_or_default()
}
