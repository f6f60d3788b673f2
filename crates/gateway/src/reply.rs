//! The one place that turns a refusal into an answer and names a status.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use portunus_auth_core::audit::RequestId;
use portunus_auth_core::dialect::{BadBody, ErrorKind, NoRoute};
use portunus_auth_core::{AuthError, BoxError, CredentialError, Denied, Dialect, Outcome, Reason};
use portunus_keyserver::{DPOP_ALGORITHMS, PublicUrl};

use crate::body::Body;

/// Names our own request in every answer, beside whatever id the upstream gave its own.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("portunus-request-id");

/// Why a request is not forwarded, or did not come back.
#[derive(Debug)]
pub(crate) enum Refusal {
    AuditFull,
    Route(NoRoute),
    BadHead(&'static str),
    HeadTooLarge,
    NotJson,
    Overloaded,
    Auth(AuthError),
    /// The caller's token needs a DPoP proof (RFC 9449), and there is none that counts.
    Proof(Reason),
    /// As [`Refusal::Auth`], of a token that is, or was presented as, bound to a key.
    Bound(AuthError),
    BodyTooLarge(usize),
    BodyTimeout,
    BodyBroken,
    BadBody(BadBody),
    Denied(Denied),
    RateLimited(Duration),
    UnknownModel,
    Credential(CredentialError),
    Unreachable(BoxError),
    UpstreamTimeout,
}

impl Refusal {
    /// The reason, for the audit.
    pub(crate) fn outcome(&self) -> Outcome {
        use Reason as R;
        match self {
            Self::AuditFull => Outcome::Refused(R::Overloaded),
            Self::Route(_) => Outcome::Refused(R::UnknownRoute),
            Self::BadHead(_) | Self::NotJson | Self::BadBody(_) => Outcome::Refused(R::MalformedRequest),
            Self::Overloaded => Outcome::Refused(R::Overloaded),
            Self::HeadTooLarge | Self::BodyTooLarge(_) => Outcome::Refused(R::RequestTooLarge),
            Self::Auth(error) | Self::Bound(error) => Outcome::Refused(match error {
                AuthError::Missing => R::MissingCredential,
                AuthError::Malformed => R::MalformedCredential,
                AuthError::Ambiguous => R::AmbiguousCredential,
                AuthError::Expired => R::ExpiredCredential,
                AuthError::Revoked => R::RevokedCredential,
                AuthError::NotAdmitted => R::NotAdmitted,
                AuthError::Unproven(reason) => *reason,
                AuthError::Unavailable(_) => R::AuthenticationUnavailable,
                _ => R::UnknownCredential,
            }),
            Self::Proof(reason) => Outcome::Refused(*reason),
            Self::BodyTimeout => Outcome::Refused(R::RequestTimeout),
            Self::BodyBroken => Outcome::Abandoned,
            Self::Denied(Denied::Tool) => Outcome::Refused(R::ToolDenied),
            Self::Denied(Denied::Upstream) => Outcome::Refused(R::UpstreamDenied),
            Self::Denied(_) => Outcome::Refused(R::ModelDenied),
            Self::RateLimited(_) => Outcome::Refused(R::RateLimited),
            Self::UnknownModel => Outcome::Refused(R::UnknownModel),
            Self::Credential(_) => Outcome::Failed(R::CredentialUnavailable),
            Self::Unreachable(_) => Outcome::Failed(R::UpstreamUnreachable),
            Self::UpstreamTimeout => Outcome::Failed(R::UpstreamTimeout),
        }
    }

    /// What failed behind us, for whoever runs the gateway. A refusal that a stranger can bring about has
    /// none: their number would be the length of the log.
    pub(crate) fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable(error) => Some(&**error),
            Self::Credential(error) => Some(error),
            _ => None,
        }
    }

    /// The answer, worded as the caller's provider would word it. `challenges` say how to authenticate.
    pub(crate) fn answer(&self, dialect: Dialect, id: RequestId, challenges: &Challenges) -> Response<Body> {
        let (kind, message) = self.words();
        let mut answer = answer(dialect, kind, &message, id);
        let headers = answer.headers_mut();
        match self {
            Self::Route(NoRoute::WrongMethod(allowed)) => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::RateLimited(wait) => {
                // Whole seconds, rounded up: a client that waits as told must find room.
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::Proof(_) => {
                headers.insert(WWW_AUTHENTICATE, challenges.proof.clone());
            }
            Self::Bound(_) => {
                headers.insert(WWW_AUTHENTICATE, challenges.bound.clone());
            }
            _ if kind == ErrorKind::Authentication => {
                headers.insert(WWW_AUTHENTICATE, challenges.bearer.clone());
            }
            _ => {}
        }
        answer
    }

    /// What it says is for the caller to act on; what only helps an attacker stays in the audit.
    fn words(&self) -> (ErrorKind, Cow<'static, str>) {
        use ErrorKind as K;
        let (kind, message) = match self {
            Self::NotJson => (
                K::UnsupportedMediaType,
                "The body must be JSON in UTF-8, and the content-type, if any, must say application/json.",
            ),
            Self::AuditFull | Self::Overloaded => {
                (K::Unavailable, "The gateway is overloaded. Try again later.")
            }
            Self::Route(NoRoute::UnknownPath) => (
                K::NotFound,
                "Unknown route. Base URLs end in /v1 for OpenAI clients and before /v1 for Anthropic clients.",
            ),
            Self::Route(NoRoute::WrongMethod(_)) => {
                (K::MethodNotAllowed, "This route takes POST requests only.")
            }
            Self::BadHead(what) => (K::InvalidRequest, *what),
            Self::HeadTooLarge => (K::HeadTooLarge, "The request's headers are too large."),
            Self::Auth(AuthError::Unavailable(_)) => {
                (K::Unavailable, "Authentication is unavailable. Try again later.")
            }
            Self::Auth(AuthError::Ambiguous) => {
                (K::InvalidRequest, "The request carries more than one credential. Send exactly one.")
            }
            Self::Auth(_) | Self::Proof(_) | Self::Bound(_) => {
                (K::Authentication, "Invalid credential. Obtain a new key and send it as a Bearer token.")
            }
            Self::BodyTooLarge(limit) => {
                return (K::TooLarge, format!("The request's body is larger than {limit} bytes.").into());
            }
            Self::BodyTimeout => (K::Timeout, "The request's body did not arrive in time."),
            Self::BodyBroken => (K::InvalidRequest, "The request's body ended before it was complete."),
            Self::BadBody(error) => return (K::InvalidRequest, error.to_string().into()),
            Self::Denied(denied) => return (K::Permission, denied.to_string().into()),
            Self::RateLimited(_) => {
                (K::RateLimited, "Rate limit reached. Wait as long as `retry-after` says.")
            }
            Self::UnknownModel => (
                K::ModelNotFound,
                "The model does not exist here, or is not served in this API. Ask for a configured one.",
            ),
            Self::Credential(_) => {
                (K::Unavailable, "The gateway could not obtain a credential for the provider.")
            }
            Self::Unreachable(_) => (K::BadGateway, "The provider could not be reached."),
            Self::UpstreamTimeout => (K::GatewayTimeout, "The provider did not answer in time."),
        };
        (kind, message.into())
    }
}

/// How to authenticate and, where there is a key server that says how it is called, where to learn who issues
/// keys (RFC 9728 section 5.1).
#[derive(Debug)]
pub(crate) struct Challenges {
    /// RFC 6750 section 3.
    bearer: HeaderValue,
    /// With another token of the kind that comes with a proof (RFC 9449 section 7.1).
    bound: HeaderValue,
    /// With a better proof.
    proof: HeaderValue,
}

impl Challenges {
    pub(crate) fn new(keys: Option<&PublicUrl>) -> Self {
        let metadata = keys.map_or_else(String::new, |url| {
            format!("resource_metadata=\"{}\", ", url.well_known("oauth-protected-resource"))
        });
        let challenge = |scheme: &str, error: &str, more: &str| {
            let text = |metadata: &str| format!("{scheme} {metadata}error=\"{error}\"{more}");
            let plain = || HeaderValue::try_from(text("")).unwrap_or(HeaderValue::from_static("Bearer"));
            HeaderValue::try_from(text(&metadata)).unwrap_or_else(|_| plain())
        };
        let algorithms = format!(", algs=\"{DPOP_ALGORITHMS}\"");
        Self {
            bearer: challenge("Bearer", "invalid_token", ""),
            bound: challenge("DPoP", "invalid_token", &algorithms),
            proof: challenge("DPoP", "invalid_dpop_proof", &algorithms),
        }
    }
}

fn answer(dialect: Dialect, kind: ErrorKind, message: &str, id: RequestId) -> Response<Body> {
    let id = id.to_string();
    let body = dialect.error_body(kind, message, &id);
    let mut response = Response::new(Body::full(Bytes::from(body)));
    *response.status_mut() = status(kind);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(dialect.error_header(kind));
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(dialect.request_id_header(), id.clone());
        headers.insert(&REQUEST_ID, id);
    }
    response
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidRequest => StatusCode::BAD_REQUEST,
        ErrorKind::Authentication => StatusCode::UNAUTHORIZED,
        ErrorKind::Permission => StatusCode::FORBIDDEN,
        ErrorKind::NotFound | ErrorKind::ModelNotFound => StatusCode::NOT_FOUND,
        ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Timeout => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::BadGateway => StatusCode::BAD_GATEWAY,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
