//! OpenAI.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use super::super::failure::Cause;
use super::super::gate::Why;
use super::{About, INVALID_TOKEN, Provider, Worded, refused, retry_after};
use crate::answer::write;
use crate::rate_limits::go_duration;

pub(super) struct OpenAi;

static ACCOUNT: [(HeaderName, HeaderValue); 3] = [
    (HeaderName::from_static("openai-organization"), HeaderValue::from_static("org-mock")),
    (HeaderName::from_static("openai-processing-ms"), HeaderValue::from_static("1")),
    (HeaderName::from_static("openai-version"), HeaderValue::from_static("2020-10-01")),
];

impl Provider for OpenAi {
    fn words(&self, cause: &Cause, about: &About<'_>) -> (u16, Cow<'static, str>) {
        match cause {
            Cause::Refused(_) if !about.faithful => INVALID_TOKEN,
            Cause::Refused(refused) => (401, refusal(&refused.why)),
            Cause::Forbidden => {
                (403, format!("Project `proj_mock` does not have access to model `{}`", about.model).into())
            }
            Cause::RateLimited => {
                let wait = about.retry_after.map_or_else(|| "644ms".to_owned(), go_duration);
                let says = format!(
                    "Rate limit reached for {} in organization org-mock on tokens per min (TPM): Limit 30000, \
                     Used 29937, Requested 385. Please try again in {wait}. Visit \
                     https://platform.openai.com/account/rate-limits to learn more.",
                    about.model
                );
                (429, says.into())
            }
            Cause::OutOfQuota => {
                (429, "You exceeded your current quota, please check your plan and billing details.".into())
            }
            Cause::Overloaded => (503, "The server is currently overloaded with other requests.".into()),
            Cause::Status(status) => {
                (*status, "The server had an error while processing your request.".into())
            }
        }
    }

    fn error(&self, error: &Worded<'_>, about: &About<'_>) -> Vec<u8> {
        write(&OpenAiError::of(error, about))
    }

    fn error_headers(&self, error: &Worded<'_>, headers: &mut HeaderMap) {
        retry_after(error, headers);
    }

    fn account(&self, headers: &mut HeaderMap) {
        for (name, value) in &ACCOUNT {
            headers.insert(name, value.clone());
        }
    }
}

fn refusal(why: &Why) -> Cow<'static, str> {
    match why {
        Why::Missing => "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API from your browser and are prompted for a username and password. You can obtain an API key from https://platform.openai.com/account/api-keys.".into(),
        Why::Wrong { masked } => format!("Incorrect API key provided: {masked}. You can find your API key at https://platform.openai.com/account/api-keys.").into(),
        Why::Expired => "Your authentication token has expired. Please try signing in again.".into(),
        Why::Revoked | Why::Signature(_) | Why::UnknownOAuth | Why::NoOptIn => {
            "Your authentication token has been invalidated. Please try signing in again.".into()
        }
        Why::Exhausted => "This API key has no uses left.".into(),
    }
}

/// Type and code, as OpenAI really says them.
fn faithful(error: &Worded<'_>) -> (&'static str, Option<&'static str>) {
    match (error.cause, error.status) {
        (Cause::RateLimited, _) => ("tokens", Some("rate_limit_exceeded")),
        (Cause::OutOfQuota, _) => ("insufficient_quota", Some("insufficient_quota")),
        (Cause::Forbidden, _) => ("invalid_request_error", Some("model_not_found")),
        (_, 401) => match refused(error.cause).map(|refused| &refused.why) {
            Some(Why::Missing) => ("invalid_request_error", None),
            Some(Why::Revoked | Why::Expired) => ("invalid_request_error", Some("invalid_authentication")),
            _ => ("invalid_request_error", Some("invalid_api_key")),
        },
        (_, 404) => ("invalid_request_error", Some("model_not_found")),
        (_, 429) => ("requests", Some("rate_limit_exceeded")),
        (_, 500..) => ("server_error", None),
        _ => ("invalid_request_error", None),
    }
}

/// Type and code, as the documentation of this mock has them.
fn documented(error: &Worded<'_>) -> (&'static str, Option<&'static str>) {
    match (error.cause, error.status) {
        (Cause::OutOfQuota, _) => ("insufficient_quota", Some("insufficient_quota")),
        (_, 400) => ("invalid_request_error", Some("invalid_request")),
        (_, 401) => ("authentication_error", Some("invalid_api_key")),
        (_, 403) => ("permission_denied_error", Some("permission_denied")),
        (_, 404) => ("not_found_error", Some("not_found")),
        (_, 429) => ("rate_limit_error", Some("rate_limit_exceeded")),
        (_, 500) => ("server_error", Some("server_error")),
        (_, 502) => ("server_error", Some("bad_gateway")),
        (_, 503) => ("server_error", Some("service_unavailable")),
        (_, 529) => ("server_error", Some("overloaded")),
        _ => ("api_error", Some("error")),
    }
}

/// Its members are in the order of the documentation, whose bodies are compared as text.
#[derive(Serialize)]
pub(in super::super) struct OpenAiError<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    r#type: &'static str,
    param: (),
    code: Option<&'static str>,
}

impl<'a> OpenAiError<'a> {
    pub(in super::super) fn of(error: &Worded<'a>, about: &About<'_>) -> Self {
        let (r#type, code) = if about.faithful { faithful(error) } else { documented(error) };
        Self { error: ErrorBody { message: error.message, r#type, param: (), code } }
    }
}
