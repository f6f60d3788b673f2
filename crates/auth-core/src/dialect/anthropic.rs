//! Anthropic's messages. Error shapes: <https://docs.anthropic.com/en/api/errors>.

use serde::Serialize;

use super::path::Template;
use super::{ErrorKind, Operation};

pub(super) const ROUTES: &[Template] = &[
    Template::new(Operation::Messages, "/v1/messages"),
    Template::new(Operation::CountMessageTokens, "/v1/messages/count_tokens"),
];

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    error: Inner<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Inner<'a> {
    r#type: &'a str,
    message: &'a str,
}

pub(super) fn error_body(kind: ErrorKind, message: &str, request_id: &str) -> String {
    let r#type = match kind {
        ErrorKind::InvalidRequest | ErrorKind::UnsupportedMediaType | ErrorKind::MethodNotAllowed => {
            "invalid_request_error"
        }
        ErrorKind::Authentication => "authentication_error",
        ErrorKind::Permission => "permission_error",
        ErrorKind::NotFound | ErrorKind::ModelNotFound => "not_found_error",
        ErrorKind::TooLarge | ErrorKind::HeadTooLarge => "request_too_large",
        ErrorKind::RateLimited => "rate_limit_error",
        ErrorKind::Timeout | ErrorKind::GatewayTimeout => "timeout_error",
        ErrorKind::Internal | ErrorKind::BadGateway => "api_error",
        ErrorKind::Unavailable => "overloaded_error",
    };
    let body = Body { r#type: "error", error: Inner { r#type, message }, request_id };
    serde_json::to_string(&body).unwrap_or_default()
}
