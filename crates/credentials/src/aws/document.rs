//! Temporary keys as the metadata services of instances and containers write them.

use std::time::{Duration, SystemTime};

use ::http::StatusCode;
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use portunus_auth_core::{Credential, CredentialError, Issued};
use serde::Deserialize;

use crate::http::Answer;

/// What a metadata service answered instead of keys: the status and its code, never its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the metadata service answered {}{}", status.as_u16(), code.as_ref().map(|code| format!(" {code}")).unwrap_or_default())]
#[non_exhaustive]
pub struct MetadataError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The service's code, if it looks like one.
    pub code: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("the metadata service's answer does not hold temporary keys")]
struct NotKeys;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: SecretString,
    secret_access_key: SecretString,
    token: SecretString,
    expiration: String,
    role_arn: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(alias = "Code")]
    code: Option<String>,
}

/// The keys in an answer.
pub(crate) fn keys(answer: &Answer) -> Result<Issued, CredentialError> {
    let found = answer.json::<Document>().and_then(|document| {
        let Document { access_key_id, secret_access_key, token, expiration, role_arn } = document;
        let all = [&access_key_id, &secret_access_key, &token];
        let whole = all.iter().all(|secret| !secret.expose_secret().trim().is_empty());
        let expires_at: SystemTime = humantime::parse_rfc3339(expiration.trim()).ok()?;
        let session_token = Some(token);
        let credential = Credential::AwsCredentials { access_key_id, secret_access_key, session_token };
        let mut issued = whole.then(|| Issued::new(credential, expires_at))?;
        issued.subject = role_arn.as_deref().and_then(arn_in);
        Some(issued)
    });
    found.ok_or_else(|| match code(answer) {
        // IMDS says with status 200 that it has none.
        Some(code) => {
            CredentialError::Invalid(MetadataError { status: answer.status(), code: Some(code) }.into())
        }
        None => unavailable(answer.retry_after(), NotKeys),
    })
}

/// The text, if it is an ARN: whatever else stands in its place is not repeated.
pub(super) fn arn_in(text: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "+=,.@-_/:".contains(c);
    let text = text.trim();
    let is_arn = text.starts_with("arn:") && text.len() <= 2_048 && text.chars().all(good);
    is_arn.then(|| text.to_owned())
}

fn unavailable(retry_after: Option<Duration>, source: NotKeys) -> CredentialError {
    CredentialError::Unavailable { retry_after, source: source.into() }
}

/// What can be done about an answer that is no success.
pub(crate) fn refusal(answer: &Answer) -> CredentialError {
    let status = answer.status();
    let source = MetadataError { status, code: code(answer) };
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        CredentialError::Unavailable { retry_after: answer.retry_after(), source: source.into() }
    } else if matches!(status.as_u16(), 401 | 403) {
        CredentialError::Rejected(source.into())
    } else {
        CredentialError::Invalid(source.into())
    }
}

fn code(answer: &Answer) -> Option<String> {
    let code = answer.json::<Refusal>()?.code?;
    let looks_like_one = (1..=64).contains(&code.len()) && code.chars().all(|c| c.is_ascii_alphanumeric());
    (looks_like_one && code != "Success").then_some(code)
}
