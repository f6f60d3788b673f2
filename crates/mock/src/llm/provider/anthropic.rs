//! Anthropic.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use super::super::failure::Cause;
use super::super::gate::Why;
use super::{About, INVALID_TOKEN, Provider, Worded, retry_after};
use crate::answer::write;

pub(super) struct Anthropic;

impl Provider for Anthropic {
    fn words(&self, cause: &Cause, about: &About<'_>) -> (u16, Cow<'static, str>) {
        let (status, words) = match cause {
            Cause::Refused(_) if !about.faithful => return INVALID_TOKEN,
            Cause::Refused(refused) => {
                let says = match refused.why {
                    Why::Missing => "x-api-key header is required",
                    Why::Wrong { .. } if refused.bearer => "Invalid bearer token",
                    Why::Wrong { .. } => "invalid x-api-key",
                    Why::Expired => {
                        "OAuth token has expired. Please obtain a new token or refresh your existing token."
                    }
                    Why::Revoked | Why::Signature(_) => "Invalid authentication credentials",
                    Why::UnknownOAuth => {
                        "Invalid OAuth token. The provided token was not found or is malformed."
                    }
                    Why::NoOptIn => "OAuth authentication is currently not supported.",
                    Why::Exhausted => "This API key has no uses left.",
                };
                (401, says)
            }
            Cause::Forbidden => (403, "Your API key does not have permission to use the specified resource."),
            Cause::RateLimited => {
                (429, "This request would exceed your account's rate limit. Please try again later.")
            }
            Cause::OutOfQuota => (402, "Your credit balance is too low to access the Anthropic API."),
            Cause::Overloaded => (529, "Overloaded"),
            Cause::Status(status) => (*status, "Internal server error"),
        };
        (status, words.into())
    }

    fn error(&self, error: &Worded<'_>, about: &About<'_>) -> Vec<u8> {
        write(&Error {
            r#type: "error",
            error: ErrorBody { r#type: kind(error.status), message: error.message },
            // The documented 401 is the one error without it.
            request_id: (about.faithful || error.status != 401).then_some(about.request_id),
        })
    }

    fn error_headers(&self, error: &Worded<'_>, headers: &mut HeaderMap) {
        retry_after(error, headers);
        if error.status == 529 {
            headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("true"));
        }
    }

    fn account(&self, headers: &mut HeaderMap) {
        headers.insert("anthropic-organization-id", HeaderValue::from_static("org-mock"));
    }
}

/// The type of an error with that status.
pub(in super::super) fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// Its members are in the order of the documentation, whose bodies are compared as text.
#[derive(Serialize)]
struct Error<'a> {
    r#type: &'static str,
    error: ErrorBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    r#type: &'static str,
    message: &'a str,
}
