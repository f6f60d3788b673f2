//! OAuth's errors (RFC 6749 §5.2).

use http::header::{CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::{Idp, github};
use crate::answer::{self, Answer};
use crate::capture::Recorded;

#[derive(Debug)]
pub(super) struct OAuthError {
    pub(super) error: &'static str,
    pub(super) description: &'static str,
    status: StatusCode,
    challenge: bool,
    /// What the next DPoP proof has to contain (RFC 9449 §8).
    nonce: Option<String>,
    /// What GitHub calls it, and the interval that it tells with it, in seconds.
    github: Option<(&'static str, Option<u64>)>,
}

impl OAuthError {
    pub(super) fn new(error: &'static str, description: &'static str) -> Self {
        Self {
            error,
            description,
            status: StatusCode::BAD_REQUEST,
            challenge: false,
            nonce: None,
            github: None,
        }
    }

    pub(super) fn grant(description: &'static str) -> Self {
        Self::new("invalid_grant", description)
    }

    /// A client that did not prove who it is; `basic`: in the `Authorization` header.
    pub(super) fn client(basic: bool) -> Self {
        let error = Self::new("invalid_client", "the client is unknown, or did not prove who it is");
        Self { status: StatusCode::UNAUTHORIZED, challenge: basic, ..error }
    }

    pub(super) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn at_github(self, error: &'static str, interval: Option<u64>) -> Self {
        Self { github: Some((error, interval)), ..self }
    }

    pub(super) fn nonce(self, nonce: String) -> Self {
        Self { nonce: Some(nonce), ..self }
    }

    /// The error of a token endpoint, in the provider's own way.
    pub(super) fn answer_for(&self, idp: &Idp, request: &Recorded) -> Answer {
        if idp.settings.profile.metadata {
            return self.answer();
        }
        // <https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors>
        let (error, interval) = self.github.unwrap_or(match self.error {
            "invalid_client" => ("incorrect_client_credentials", None),
            "invalid_grant" => ("bad_verification_code", None),
            other => (other, None),
        });
        let mut body = json!({"error": error, "error_description": self.description});
        if let Some(seconds) = interval {
            body["interval"] = seconds.into();
        }
        github::worded(request, self.status, body)
    }

    pub(super) fn answer(&self) -> Answer {
        let body = json!({"error": self.error, "error_description": self.description});
        let mut answer = no_store(answer::json(self.status, answer::write(&body)));
        if self.challenge {
            let basic = HeaderValue::from_static(r#"Basic realm="portunus-mock""#);
            answer.headers_mut().insert(WWW_AUTHENTICATE, basic);
        }
        if let Some(nonce) = self.nonce.as_ref().and_then(|nonce| HeaderValue::try_from(nonce).ok()) {
            answer.headers_mut().insert("dpop-nonce", nonce);
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
