//! Amazon Bedrock. AWS names the kind of an error in a header.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use super::super::failure::Cause;
use super::super::gate::Why;
use super::super::sigv4::{BadSignature, basic};
use super::{About, Provider, Worded, refused};
use crate::answer::write;

pub(super) struct Bedrock;

impl Provider for Bedrock {
    fn words(&self, cause: &Cause, _: &About<'_>) -> (u16, Cow<'static, str>) {
        let (status, words) = match cause {
            Cause::Refused(refused) => return refusal(&refused.why),
            Cause::Forbidden => (403, "You don't have access to the model with the specified model ID."),
            Cause::RateLimited => (429, "Too many requests, please wait before trying again."),
            Cause::OutOfQuota => (429, "Too many tokens per day, please wait before trying again."),
            Cause::Overloaded => (503, "The service is unable to process your request. Try again later."),
            Cause::Status(status) => {
                (*status, "The system encountered an unexpected error during processing. Try again.")
            }
        };
        (status, words.into())
    }

    fn error(&self, error: &Worded<'_>, _: &About<'_>) -> Vec<u8> {
        write(&Error { message: error.message })
    }

    fn error_headers(&self, error: &Worded<'_>, headers: &mut HeaderMap) {
        let kind = HeaderValue::from_static(kind(error));
        headers.insert(HeaderName::from_static("x-amzn-errortype"), kind);
    }
}

fn refusal(why: &Why) -> (u16, Cow<'static, str>) {
    let words = match why {
        Why::Missing => "Missing Authentication Token",
        Why::Wrong { .. } | Why::UnknownOAuth | Why::NoOptIn => {
            "Authentication failed: Please make sure your API Key is valid."
        }
        Why::Expired => "The security token included in the request is expired",
        Why::Revoked => "Authentication failed: the API Key was deactivated.",
        Why::Exhausted => "This API key has no uses left.",
        Why::Signature(BadSignature::UnknownKey | BadSignature::WrongToken) => {
            "The security token included in the request is invalid."
        }
        Why::Signature(BadSignature::Incomplete(part)) => {
            return (400, format!("Authorization header requires '{part}' parameter.").into());
        }
        Why::Signature(BadSignature::WrongService) => {
            "Credential should be scoped to correct service: 'bedrock'. "
        }
        Why::Signature(BadSignature::WrongRegion) => "Credential should be scoped to a valid region. ",
        Why::Signature(BadSignature::Early(at, now)) => {
            let (at, now) = (basic(*at), basic(*now));
            return (
                403,
                format!("Signature not yet current: {at} is still later than {now} + 5 min.").into(),
            );
        }
        Why::Signature(BadSignature::Late(at, now)) => {
            let (at, now) = (basic(*at), basic(*now));
            return (403, format!("Signature expired: {at} is now earlier than {now} - 5 min.").into());
        }
        Why::Signature(BadSignature::Mismatch) => {
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
        }
    };
    (403, words.into())
}

fn kind(error: &Worded<'_>) -> &'static str {
    if let Some(refused) = refused(error.cause) {
        return match &refused.why {
            Why::Missing => "MissingAuthenticationTokenException",
            Why::Expired => "ExpiredTokenException",
            Why::Signature(BadSignature::UnknownKey | BadSignature::WrongToken) => {
                "UnrecognizedClientException"
            }
            Why::Signature(BadSignature::Incomplete(_)) => "IncompleteSignatureException",
            Why::Signature(_) => "InvalidSignatureException",
            Why::Wrong { .. } | Why::Revoked | Why::Exhausted | Why::UnknownOAuth | Why::NoOptIn => {
                "AccessDeniedException"
            }
        };
    }
    exception(error.status)
}

/// The exception with that status.
pub(in super::super) fn exception(status: u16) -> &'static str {
    match status {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 | 504 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 | 529 => "ServiceUnavailableException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    }
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
}
