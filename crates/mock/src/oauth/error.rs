//! OAuth's errors (RFC 6749 §5.2).

use http::header::{CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::answer::{self, Answer};

#[derive(Debug)]
pub(super) struct OAuthError {
    pub(super) error: &'static str,
    pub(super) description: &'static str,
    status: StatusCode,
    challenge: bool,
}

impl OAuthError {
    pub(super) fn new(error: &'static str, description: &'static str) -> Self {
        Self { error, description, status: StatusCode::BAD_REQUEST, challenge: false }
    }

    pub(super) fn grant(description: &'static str) -> Self {
        Self::new("invalid_grant", description)
    }

    /// A client that did not prove who it is; `basic`: in the `Authorization` header.
    pub(super) fn client(basic: bool) -> Self {
        let error = Self::new("invalid_client", "the client is unknown, or its secret is wrong");
        Self { status: StatusCode::UNAUTHORIZED, challenge: basic, ..error }
    }

    pub(super) fn answer(&self) -> Answer {
        let body = json!({"error": self.error, "error_description": self.description});
        let mut answer = no_store(answer::json(self.status, answer::write(&body)));
        if self.challenge {
            let basic = HeaderValue::from_static(r#"Basic realm="portunus-mock""#);
            answer.headers_mut().insert(WWW_AUTHENTICATE, basic);
        }
        answer
    }
}

/// Marks an answer that holds a token, or could have held one (RFC 6749 §5.1).
pub(super) fn no_store(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    answer
}
