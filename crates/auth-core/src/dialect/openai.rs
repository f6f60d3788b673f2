//! OpenAI's chat completions. Error shapes: <https://platform.openai.com/docs/guides/error-codes>.

use serde::Serialize;

use super::{Dialect, ErrorKind, Operation, Route};

pub(super) const CHAT_COMPLETIONS: Route =
    Route { dialect: Dialect::OpenAi, operation: Operation::ChatCompletions, path: "/v1/chat/completions" };

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

pub(super) fn error_body(kind: ErrorKind, message: &str) -> String {
    let (r#type, code) = match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::Timeout
        | ErrorKind::TooLarge
        | ErrorKind::HeadTooLarge => ("invalid_request_error", None),
        ErrorKind::Authentication => ("invalid_request_error", Some("invalid_api_key")),
        ErrorKind::Permission => ("invalid_request_error", Some("permission_denied")),
        ErrorKind::NotFound => ("invalid_request_error", Some("unknown_url")),
        ErrorKind::ModelNotFound => ("invalid_request_error", Some("model_not_found")),
        ErrorKind::MethodNotAllowed => ("invalid_request_error", Some("method_not_supported")),
        ErrorKind::RateLimited => ("requests", Some("rate_limit_exceeded")),
        ErrorKind::Internal | ErrorKind::BadGateway | ErrorKind::Unavailable | ErrorKind::GatewayTimeout => {
            ("server_error", None)
        }
    };
    let body = Body { error: Inner { message, r#type, param: None, code } };
    serde_json::to_string(&body).unwrap_or_default()
}
