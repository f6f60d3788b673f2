//! OpenAI's chat completions, Responses, embeddings and models. Error shapes: <https://platform.openai.com/docs/guides/error-codes>.

use serde::Serialize;

use super::path::Template;
use super::{ErrorKind, Operation};

pub(super) const ROUTES: &[Template] = &[
    Template::new(Operation::ChatCompletions, "/v1/chat/completions"),
    Template::new(Operation::Responses, "/v1/responses"),
    Template::new(Operation::Embeddings, "/v1/embeddings"),
    Template::new(Operation::ListModels, "/v1/models"),
    Template::new(Operation::GetModel, "/v1/models/{model}"),
];

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
