//! The one place that turns an outcome into HTTP.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::BadBody;
use crate::exchange::ExchangeError;
use crate::server::ExplainError;

/// How soon to try again when something is down, in seconds.
const TRY_AGAIN: u64 = 5;

/// Why a request does not get what it asks for, by what the caller can do about it.
#[derive(Debug)]
pub(super) enum Refused<'e> {
    /// No key is issued.
    Exchange(&'e ExchangeError),
    /// Nothing is explained.
    Explain(&'e ExplainError),
    /// There is no such live key.
    NoSuchKey,
    /// None of the selected keys is alive.
    NoneSelected,
    /// Of some keys it cannot be told whether they are selected.
    AddressNotKept,
    /// There is no such document.
    NoDocument,
    /// The route has no such method.
    WrongMethod,
    /// The body is not what the route asks for.
    Body(BadBody),
    /// The query is not what the route asks for.
    BadQuery,
    /// More than one way to authenticate (RFC 6749 section 2.3).
    Ambiguous,
    /// Neither a client nor anybody else who may ask.
    NotAsker,
    /// Not the administrator: the same for a wrong token, none, and where none is configured.
    NotAdmin,
    /// It cannot be told, or not be audited.
    Unavailable,
}

/// How a refusal looks.
struct Look {
    status: StatusCode,
    /// The code of RFC 6749 section 5.2, or the like.
    error: &'static str,
    /// After how many seconds to try again.
    wait: Option<u64>,
    /// How to authenticate (RFC 9110 section 11.6.1).
    challenges: &'static [&'static str],
}

impl Refused<'_> {
    fn look(&self) -> Look {
        let plain = |status, error| Look { status, error, wait: None, challenges: &[] };
        let down = |status, wait| Look { wait: Some(wait), ..plain(status, "temporarily_unavailable") };
        match self {
            Self::Exchange(error) => match error {
                // RFC 6749 has no code for a request that is too slow.
                ExchangeError::Malformed | ExchangeError::TooSlow | ExchangeError::BadSubject(_) => {
                    plain(StatusCode::BAD_REQUEST, "invalid_request")
                }
                ExchangeError::TooLarge => plain(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
                ExchangeError::UnsupportedGrantType => {
                    plain(StatusCode::BAD_REQUEST, "unsupported_grant_type")
                }
                ExchangeError::BadProof(_) => plain(StatusCode::BAD_REQUEST, "invalid_dpop_proof"),
                ExchangeError::InvalidScope => plain(StatusCode::BAD_REQUEST, "invalid_scope"),
                ExchangeError::InvalidTarget => plain(StatusCode::BAD_REQUEST, "invalid_target"),
                ExchangeError::TooOften { retry_after } | ExchangeError::TooManyKeys { retry_after } => {
                    down(StatusCode::TOO_MANY_REQUESTS, retry_after.as_secs())
                }
                ExchangeError::Unavailable { .. } => down(StatusCode::SERVICE_UNAVAILABLE, TRY_AGAIN),
            },
            Self::Explain(ExplainError::Claims(_) | ExplainError::Token(_)) => {
                plain(StatusCode::BAD_REQUEST, "invalid_request")
            }
            Self::Explain(ExplainError::Unavailable(_)) => down(StatusCode::SERVICE_UNAVAILABLE, TRY_AGAIN),
            Self::NoSuchKey | Self::NoneSelected | Self::NoDocument => {
                plain(StatusCode::NOT_FOUND, "not_found")
            }
            Self::AddressNotKept => plain(StatusCode::CONFLICT, "address_not_kept"),
            Self::WrongMethod => plain(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Body(BadBody::Malformed | BadBody::TooSlow) | Self::BadQuery | Self::Ambiguous => {
                plain(StatusCode::BAD_REQUEST, "invalid_request")
            }
            Self::Body(BadBody::WrongType) => plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request"),
            Self::Body(BadBody::TooLarge) => plain(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            Self::NotAsker => Look {
                challenges: &["Basic realm=\"portunus\"", "Bearer"],
                ..plain(StatusCode::UNAUTHORIZED, "invalid_client")
            },
            Self::NotAdmin => {
                Look { challenges: &["Bearer"], ..plain(StatusCode::UNAUTHORIZED, "invalid_token") }
            }
            Self::Unavailable => down(StatusCode::SERVICE_UNAVAILABLE, TRY_AGAIN),
        }
    }

    /// A fixed text: nothing of the request, or of what exactly was wrong with it, gets out.
    fn says(&self) -> String {
        let says = match self {
            Self::Exchange(error) => return error.to_string(),
            // The administrator asks in order to be told. These texts are fixed too.
            Self::Explain(ExplainError::Claims(why)) => return why.to_string(),
            Self::Explain(ExplainError::Token(why)) => return why.to_string(),
            Self::NoSuchKey => "there is no such live key",
            Self::NoneSelected => "no live key is selected: nothing was revoked",
            Self::AddressNotKept => {
                "no address was kept of some of these keys, select by subject: nothing was revoked"
            }
            Self::NoDocument => "there is no such document",
            Self::WrongMethod => "the method is not allowed here",
            Self::Body(BadBody::Malformed) => "the request is malformed",
            Self::Body(BadBody::WrongType) => "the request is of another media type than this route takes",
            Self::Body(BadBody::TooLarge) => "the request is too large",
            Self::Body(BadBody::TooSlow) => "the request did not arrive in time",
            Self::BadQuery => "the query is malformed",
            Self::Ambiguous => "authenticate in one way only",
            Self::NotAsker => "a client's secret, or a live key, is needed",
            Self::NotAdmin => "the administrator's token is needed",
            Self::Explain(ExplainError::Unavailable(_)) | Self::Unavailable => {
                "the key server cannot answer now"
            }
        };
        says.to_owned()
    }

    pub(super) fn status(&self) -> StatusCode {
        self.look().status
    }

    pub(super) fn response(&self) -> Response {
        let Look { status, error, wait, challenges } = self.look();
        let mut response = json(status, &Problem { error, error_description: self.says() });
        let headers = response.headers_mut();
        if let Some(seconds) = wait {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        for challenge in challenges {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Why a request was refused (RFC 6749 section 5.2).
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    /// A code.
    #[schema(value_type = String, example = "invalid_request")]
    error: &'static str,
    /// A fixed text.
    error_description: String,
}

/// An answer that nobody may keep.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    not_to_be_stored((status, axum::Json(body)).into_response())
}

/// RFC 6749 section 5.1.
pub(super) fn not_to_be_stored(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// An answer that is the same for everybody, for a while.
pub(super) fn published(body: &impl Serialize) -> Response {
    let mut response = axum::Json(body).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
