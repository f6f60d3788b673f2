//! The one place that turns an outcome into HTTP.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

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
    challenge: Option<&'static str>,
}

impl Refused<'_> {
    fn look(&self) -> Look {
        let plain = |status, error| Look { status, error, wait: None, challenge: None };
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
                ExchangeError::InvalidScope => plain(StatusCode::BAD_REQUEST, "invalid_scope"),
                ExchangeError::InvalidTarget => plain(StatusCode::BAD_REQUEST, "invalid_target"),
                ExchangeError::TooManyKeys { retry_after } => {
                    down(StatusCode::TOO_MANY_REQUESTS, retry_after.as_secs())
                }
                ExchangeError::Unavailable { .. } => down(StatusCode::SERVICE_UNAVAILABLE, TRY_AGAIN),
            },
            Self::Explain(ExplainError::Claims(_) | ExplainError::Token(_)) => {
                plain(StatusCode::BAD_REQUEST, "invalid_request")
            }
            Self::Explain(ExplainError::Unavailable(_)) => down(StatusCode::SERVICE_UNAVAILABLE, TRY_AGAIN),
            Self::NoSuchKey => plain(StatusCode::NOT_FOUND, "not_found"),
            Self::NotAdmin => {
                Look { challenge: Some("Bearer"), ..plain(StatusCode::UNAUTHORIZED, "invalid_token") }
            }
            Self::Unavailable => down(StatusCode::SERVICE_UNAVAILABLE, TRY_AGAIN),
        }
    }

    /// A fixed text: nothing of the request, or of what exactly was wrong with it, gets out.
    fn says(&self) -> String {
        match self {
            Self::Exchange(error) => error.to_string(),
            // The administrator asks in order to be told. These texts are fixed too.
            Self::Explain(ExplainError::Claims(why)) => why.to_string(),
            Self::Explain(ExplainError::Token(why)) => why.to_string(),
            Self::NoSuchKey => "there is no such live key".to_owned(),
            Self::NotAdmin => "the administrator's token is needed".to_owned(),
            Self::Explain(ExplainError::Unavailable(_)) | Self::Unavailable => {
                "the key server cannot answer now".to_owned()
            }
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.look().status
    }

    pub(super) fn response(&self) -> Response {
        let Look { status, error, wait, challenge } = self.look();
        let mut response = json(status, &Problem { error, error_description: self.says() });
        let headers = response.headers_mut();
        if let Some(seconds) = wait {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Why a request was refused (RFC 6749 section 5.2).
#[derive(Serialize)]
pub(super) struct Problem {
    error: &'static str,
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
