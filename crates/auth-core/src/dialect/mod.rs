//! What the gateway and the mock must both know of each provider's API: routes, where a caller puts a
//! key, how model, stream and tools are named, how an error looks.

mod anthropic;
mod azure;
mod bedrock;
mod body;
mod gemini;
mod google;
mod openai;
mod path;
mod vertex;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use body::{BadBody, CallHead};
use path::{ModelAt, Template};

/// A family of provider APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// OpenAI, and whoever speaks like it.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
    /// OpenAI's models on Azure.
    Azure,
    /// Google's and Anthropic's models on Vertex AI.
    Vertex,
    /// Models on Amazon Bedrock.
    Bedrock,
}

/// One operation of a dialect. The same one may be at different paths in different dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `POST …/chat/completions` (OpenAI, Azure).
    ChatCompletions,
    /// `POST …/responses` (OpenAI, Azure).
    Responses,
    /// `POST …/embeddings` (OpenAI, Azure).
    Embeddings,
    /// `POST /v1/messages` (Anthropic).
    Messages,
    /// `POST /v1/messages/count_tokens` (Anthropic, Vertex).
    CountMessageTokens,
    /// `POST …:generateContent` (Gemini, Vertex).
    GenerateContent,
    /// `POST …:streamGenerateContent` (Gemini, Vertex).
    StreamGenerateContent,
    /// `POST …:countTokens` (Gemini, Vertex).
    CountTokens,
    /// `POST …:embedContent` (Gemini).
    EmbedContent,
    /// `POST …:batchEmbedContents` (Gemini).
    BatchEmbedContents,
    /// `POST …:rawPredict`: Anthropic's messages on Vertex.
    RawPredict,
    /// `POST …:streamRawPredict`: Anthropic's messages on Vertex, streamed.
    StreamRawPredict,
    /// `POST …/converse` (Bedrock).
    Converse,
    /// `POST …/converse-stream` (Bedrock).
    ConverseStream,
    /// `POST …/invoke`: a model's own format on Bedrock, such as Anthropic's messages.
    InvokeModel,
    /// `POST …/invoke-with-response-stream` (Bedrock).
    InvokeModelWithResponseStream,
    /// `GET …/models` (all but Vertex and Bedrock).
    ListModels,
    /// `GET …/models/{model}` (all but Vertex and Bedrock).
    GetModel,
}

impl Operation {
    /// The one method that it takes.
    fn method(self) -> &'static str {
        if matches!(self, Self::ListModels | Self::GetModel) { "GET" } else { "POST" }
    }
}

/// A request's route, once and typed. Whatever is authorised is authorised on this, never on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The dialect.
    pub dialect: Dialect,
    /// The operation.
    pub operation: Operation,
    /// The path, as the provider documents it: `{…}` in place of what varies.
    pub path: &'static str,
    model_at: Option<ModelAt>,
}

impl Route {
    /// The model that the path names, if one does, decoded; `path` is the one that the route was found by.
    pub fn model<'p>(&self, path: &'p str) -> Option<Cow<'p, str>> {
        self.model_at.and_then(|at| at.read(path))
    }

    /// The route, if that is its method.
    ///
    /// # Errors
    /// [`NoRoute::WrongMethod`].
    pub fn taking(self, method: &Method) -> Result<Self, NoRoute> {
        let allowed = self.operation.method();
        if method.as_str() == allowed { Ok(self) } else { Err(NoRoute::WrongMethod(allowed)) }
    }
}

/// Why a path and a method are no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// Nothing is there.
    UnknownPath,
    /// Something is there, for the given method.
    WrongMethod(&'static str),
}

/// Every route, in the order in which they are tried: Gemini's before `/v1/models/{model}`, which would
/// take its verb for a part of a model's name.
const ROUTES: [(Dialect, &[Template]); 6] = [
    (Dialect::Anthropic, anthropic::ROUTES),
    (Dialect::Gemini, gemini::ROUTES),
    (Dialect::OpenAi, openai::ROUTES),
    (Dialect::Azure, azure::ROUTES),
    (Dialect::Vertex, vertex::ROUTES),
    (Dialect::Bedrock, bedrock::ROUTES),
];

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
    /// decoding or cleaning is no route. Only what varies in it, such as a model's name, may hold escapes.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn route(method: &Method, path: &str) -> Result<Route, NoRoute> {
        Self::find(path).ok_or(NoRoute::UnknownPath)?.taking(method)
    }

    /// The route of a path, whatever the method.
    pub fn find(path: &str) -> Option<Route> {
        ROUTES.iter().find_map(|(dialect, templates)| {
            let slashes = *dialect == Self::Bedrock;
            templates.iter().find_map(|template| template.route(*dialect, path, slashes))
        })
    }

    /// The dialect to answer an error in when there is no route, or that of a route which several
    /// dialects share.
    pub fn guess(path: &str, headers: &HeaderMap) -> Self {
        let begins = |with: &[&str]| with.iter().any(|with| path.starts_with(with));
        let has = |name: &str| headers.contains_key(name);
        if begins(&["/v1/messages"]) || has("anthropic-version") {
            Self::Anthropic
        } else if begins(&["/v1/projects/", "/v1beta1/"]) {
            Self::Vertex
        } else if begins(&["/v1beta/"]) || has("x-goog-api-key") {
            Self::Gemini
        } else if begins(&["/openai/"]) || has("api-key") {
            Self::Azure
        } else if begins(&["/model/"]) {
            Self::Bedrock
        } else {
            Self::OpenAi
        }
    }

    /// The name of this dialect, for configuration and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Azure => "azure",
            Self::Vertex => "vertex",
            Self::Bedrock => "bedrock",
        }
    }

    /// The header in which a caller may send a key, beside `Authorization`.
    pub fn key_header(self) -> Option<HeaderName> {
        match self {
            Self::Anthropic => Some(HeaderName::from_static("x-api-key")),
            Self::Gemini => Some(HeaderName::from_static("x-goog-api-key")),
            Self::Azure => Some(HeaderName::from_static("api-key")),
            Self::OpenAi | Self::Vertex | Self::Bedrock => None,
        }
    }

    /// The query parameter in which a caller may send a key.
    pub fn key_parameter(self) -> Option<&'static str> {
        (self == Self::Gemini).then_some("key")
    }

    /// The header that names a request in an answer.
    pub fn request_id_header(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::OpenAi => "x-request-id",
            Self::Anthropic => "request-id",
            // Google names none; a client that looks for one knows this name.
            Self::Gemini | Self::Vertex => "x-request-id",
            Self::Azure => "apim-request-id",
            Self::Bedrock => "x-amzn-requestid",
        })
    }

    /// The error's JSON body, as this provider words it.
    pub fn error_body(self, kind: ErrorKind, message: &str, request_id: &str) -> String {
        match self {
            Self::OpenAi | Self::Azure => openai::error_body(kind, message),
            Self::Anthropic => anthropic::error_body(kind, message, request_id),
            Self::Gemini | Self::Vertex => google::error_body(kind, message),
            Self::Bedrock => bedrock::error_body(message),
        }
    }

    /// The header in which this provider says the kind of an error, if it does so outside the body.
    pub fn error_header(self, kind: ErrorKind) -> Option<(HeaderName, HeaderValue)> {
        (self == Self::Bedrock).then(|| bedrock::error_header(kind))
    }

    /// Reads what a decision needs out of a request's body, and nothing else. Knows the bodies of OpenAI's
    /// and Anthropic's own routes; one that does not name its model is refused.
    ///
    /// # Errors
    /// [`BadBody`], worded for the caller.
    pub fn read(self, body: &[u8]) -> Result<CallHead<'_>, BadBody> {
        body::read(body)
    }
}

#[cfg(test)]
mod tests;
