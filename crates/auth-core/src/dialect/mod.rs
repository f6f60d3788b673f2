//! What the gateway and the mock must both know of each provider's API: routes, where a caller puts a
//! key, how model, stream and tools are named, how an error looks.

mod anthropic;
mod body;
mod openai;

use http::{HeaderMap, HeaderName, Method};

pub use body::{BadBody, CallHead};

/// A family of provider APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// OpenAI, and whoever speaks like it.
    OpenAi,
    /// Anthropic.
    Anthropic,
}

/// One operation of a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `POST /v1/chat/completions` (OpenAI).
    ChatCompletions,
    /// `POST /v1/messages` (Anthropic).
    Messages,
}

/// A request's route, once and typed. Whatever is authorised is authorised on this, never on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The dialect.
    pub dialect: Dialect,
    /// The operation.
    pub operation: Operation,
    /// The path, as the provider documents it.
    pub path: &'static str,
}

/// Why a path and a method are no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// Nothing is there.
    UnknownPath,
    /// Something is there, for the given method.
    WrongMethod(&'static str),
}

const ROUTES: [Route; 2] = [openai::CHAT_COMPLETIONS, anthropic::MESSAGES];

/// Every header in which some provider's client sends its key. None of them ever reaches an upstream.
pub static KEY_HEADERS: [HeaderName; 4] = [
    http::header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// What kind of error is answered, apart from how a dialect words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be understood. Status 400.
    InvalidRequest,
    /// No good credential. Status 401.
    Authentication,
    /// Known, but not allowed. Status 403.
    Permission,
    /// No such route. Status 404.
    NotFound,
    /// No such model. Status 404.
    ModelNotFound,
    /// The route takes another method. Status 405.
    MethodNotAllowed,
    /// The body did not arrive in time. Status 408.
    Timeout,
    /// Too large. Status 413.
    TooLarge,
    /// The body is not JSON. Status 415.
    UnsupportedMediaType,
    /// The headers are too large. Status 431.
    HeadTooLarge,
    /// Too many. Status 429.
    RateLimited,
    /// Our own fault. Status 500.
    Internal,
    /// The upstream answered nonsense, or not at all. Status 502.
    BadGateway,
    /// Something needed is not there now. Status 503.
    Unavailable,
    /// The upstream took too long. Status 504.
    GatewayTimeout,
}

impl Dialect {
    /// The route of a method and a path, compared exactly as they came: a path that would need
    /// decoding or cleaning is no route.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn route(method: &Method, path: &str) -> Result<Route, NoRoute> {
        match ROUTES.iter().find(|route| route.path == path) {
            Some(route) if method == Method::POST => Ok(*route),
            Some(_) => Err(NoRoute::WrongMethod("POST")),
            None => Err(NoRoute::UnknownPath),
        }
    }

    /// The dialect to answer an error in when there is no route.
    pub fn guess(path: &str, headers: &HeaderMap) -> Self {
        if path.starts_with("/v1/messages") || headers.contains_key("anthropic-version") {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }

    /// The name of this dialect, for configuration and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// The header that names a request in an answer.
    pub fn request_id_header(self) -> HeaderName {
        match self {
            Self::OpenAi => HeaderName::from_static("x-request-id"),
            Self::Anthropic => HeaderName::from_static("request-id"),
        }
    }

    /// The error's JSON body, as this provider words it.
    pub fn error_body(self, kind: ErrorKind, message: &str, request_id: &str) -> String {
        match self {
            Self::OpenAi => openai::error_body(kind, message),
            Self::Anthropic => anthropic::error_body(kind, message, request_id),
        }
    }

    /// Reads what a decision needs out of a request's body, and nothing else.
    ///
    /// # Errors
    /// [`BadBody`], worded for the caller.
    pub fn read(self, body: &[u8]) -> Result<CallHead<'_>, BadBody> {
        body::read(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_exact() {
        assert_eq!(Dialect::route(&Method::POST, "/v1/messages").unwrap().dialect, Dialect::Anthropic);
        assert_eq!(
            Dialect::route(&Method::POST, "/v1/chat/completions").unwrap().operation,
            Operation::ChatCompletions
        );
        assert_eq!(Dialect::route(&Method::GET, "/v1/messages"), Err(NoRoute::WrongMethod("POST")));
        for path in
            ["/v1/messages/", "//v1/messages", "/v1/Messages", "/v1/%6Dessages", "/v1/messages/..", ""]
        {
            assert_eq!(Dialect::route(&Method::POST, path), Err(NoRoute::UnknownPath), "{path}");
        }
    }

    #[test]
    fn errors_look_like_the_providers_own() {
        assert_eq!(
            Dialect::OpenAi.error_body(ErrorKind::Authentication, "no \"key\"", "req_1"),
            r#"{"error":{"message":"no \"key\"","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
        );
        assert_eq!(
            Dialect::Anthropic.error_body(ErrorKind::Permission, "no", "req_1"),
            r#"{"type":"error","error":{"type":"permission_error","message":"no"},"request_id":"req_1"}"#
        );
    }
}
