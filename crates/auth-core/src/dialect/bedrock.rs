//! Models on Amazon Bedrock: <https://docs.aws.amazon.com/bedrock/latest/APIReference>.

use http::{HeaderName, HeaderValue};
use serde::Serialize;

use super::path::Template;
use super::{ErrorKind, Operation as O};

pub(super) const ROUTES: &[Template] = &[
    Template::new(O::Converse, "/model/{model}/converse"),
    Template::new(O::ConverseStream, "/model/{model}/converse-stream"),
    Template::new(O::InvokeModel, "/model/{model}/invoke"),
    Template::new(O::InvokeModelWithResponseStream, "/model/{model}/invoke-with-response-stream"),
];

#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
}

pub(super) fn error_body(message: &str) -> String {
    serde_json::to_string(&Body { message }).unwrap_or_default()
}

/// AWS names the kind of an error outside the body.
pub(super) fn error_header(kind: ErrorKind) -> (HeaderName, HeaderValue) {
    let r#type = match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::TooLarge
        | ErrorKind::HeadTooLarge => "ValidationException",
        ErrorKind::Authentication => "UnrecognizedClientException",
        ErrorKind::Permission => "AccessDeniedException",
        ErrorKind::NotFound | ErrorKind::MethodNotAllowed => "UnknownOperationException",
        ErrorKind::ModelNotFound => "ResourceNotFoundException",
        ErrorKind::RateLimited => "ThrottlingException",
        ErrorKind::Timeout | ErrorKind::GatewayTimeout => "ModelTimeoutException",
        ErrorKind::Internal | ErrorKind::BadGateway => "InternalServerException",
        ErrorKind::Unavailable => "ServiceUnavailableException",
    };
    (HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(r#type))
}
