//! Google: the Gemini API and Vertex AI.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};

use super::super::failure::Cause;
use super::super::gate::{Refused, Why};
use super::{About, INVALID_TOKEN, Provider, Worded, refused};
use crate::answer::write;

pub(in super::super) struct Google {
    pub(super) vertex: bool,
}

const BAD_TOKEN: &str = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";
const BAD_KEY: &str = "API key not valid. Please pass a valid API key.";

impl Provider for Google {
    fn words(&self, cause: &Cause, about: &About<'_>) -> (u16, Cow<'static, str>) {
        let (status, words) = match cause {
            Cause::Refused(_) if !about.faithful => return INVALID_TOKEN,
            Cause::Refused(refused) => self.refusal(refused),
            Cause::Forbidden => (403, "The caller does not have permission"),
            Cause::RateLimited => {
                let wait = about.retry_after.unwrap_or(WAIT).as_secs_f64();
                let says = format!(
                    "You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.\nPlease retry in {wait}s."
                );
                return (429, says.into());
            }
            Cause::OutOfQuota => (429, "Resource has been exhausted (e.g. check quota)."),
            Cause::Overloaded => (503, "The model is overloaded. Please try again later."),
            Cause::Status(status) => (*status, "An internal error has occurred."),
        };
        (status, words.into())
    }

    fn error(&self, error: &Worded<'_>, about: &About<'_>) -> Vec<u8> {
        write(&Self::worded(error, self.details(error, about)))
    }

    fn error_headers(&self, _: &Worded<'_>, _: &mut HeaderMap) {}
}

/// How long to wait, where nobody said.
const WAIT: Duration = Duration::from_secs(47);

impl Google {
    fn refusal(&self, Refused { why, bearer }: &Refused) -> (u16, &'static str) {
        match why {
            // Vertex knows no API keys.
            _ if self.vertex && !bearer => (401, BAD_TOKEN),
            Why::Missing => (
                403,
                "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.",
            ),
            Why::Wrong { .. } | Why::Signature(_) | Why::UnknownOAuth | Why::NoOptIn => {
                if *bearer {
                    (401, BAD_TOKEN)
                } else {
                    (400, BAD_KEY)
                }
            }
            Why::Expired if *bearer => (401, "Request had expired authentication credentials."),
            Why::Expired => (400, "API key expired. Please renew the API key."),
            Why::Revoked if *bearer => (401, "Request had revoked authentication credentials."),
            Why::Revoked => (400, "API key not found. Please pass a valid API key."),
            Why::Exhausted if *bearer => (401, "This access token has no uses left."),
            Why::Exhausted => (400, "This API key has no uses left."),
        }
    }

    /// The body of an error that breaks a stream off.
    pub(in super::super) fn body(error: &Worded<'_>) -> Value {
        Self::worded(error, Vec::new())
    }

    fn worded(error: &Worded<'_>, details: Vec<Value>) -> Value {
        let mut body =
            json!({"code": error.status, "message": error.message, "status": status(error.status)});
        if !details.is_empty() {
            body["details"] = details.into();
        }
        json!({"error": body})
    }

    fn details(&self, error: &Worded<'_>, about: &About<'_>) -> Vec<Value> {
        let service =
            if self.vertex { "aiplatform.googleapis.com" } else { "generativelanguage.googleapis.com" };
        let info = |reason: &str| {
            json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": reason,
                "domain": "googleapis.com",
                "metadata": {"service": service},
            })
        };
        match refused(error.cause) {
            Some(_) if !about.faithful => Vec::new(),
            Some(refused) if self.vertex && !refused.bearer => vec![info("CREDENTIALS_MISSING")],
            Some(_) if error.status == 400 => vec![
                info("API_KEY_INVALID"),
                json!({
                    "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
                    "locale": "en-US",
                    "message": error.message,
                }),
            ],
            None if *error.cause == Cause::RateLimited => exceeded(error, about),
            None => error.retry_after.map(retry).into_iter().collect(),
            Some(_) => Vec::new(),
        }
    }
}

/// Which quota was exceeded, and when to come back.
fn exceeded(error: &Worded<'_>, about: &About<'_>) -> Vec<Value> {
    vec![
        json!({
            "@type": "type.googleapis.com/google.rpc.Help",
            "links": [{
                "description": "Learn more about Gemini API quotas",
                "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
            }],
        }),
        json!({
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_paid_tier_input_token_count",
                "quotaId": "GenerateContentPaidTierInputTokensPerModelPerMinute",
                "quotaDimensions": {"location": "global", "model": about.model},
                "quotaValue": "4000000",
            }],
        }),
        retry(error.retry_after.unwrap_or(WAIT)),
    ]
}

fn retry(wait: Duration) -> Value {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")})
}

fn status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}
