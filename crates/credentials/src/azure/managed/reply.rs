//! What a machine answers.

use std::time::{Duration, SystemTime};

use ::http::StatusCode;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{BoxError, Credential, CredentialError, Issued};
use serde::Deserialize;
use serde_json::Value;

use super::ManagedIdentityId;
use super::host::Host;
use crate::IssuerError;
use crate::http::Answer;

/// Azure's tokens live no longer; believed at most.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// An application's id, a GUID, has 36 characters; what is longer, or looks otherwise, is not shown.
const LONGEST_ID: usize = 64;

#[derive(Deserialize)]
struct Reply {
    access_token: SecretString,
    token_type: Option<String>,
    /// Unix seconds, as text or as a number.
    expires_on: Value,
    client_id: Option<String>,
    object_id: Option<String>,
    #[serde(alias = "mi_res_id")]
    msi_res_id: Option<String>,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error_description: String,
}

#[derive(Debug, thiserror::Error)]
enum Unexpected {
    #[error("the machine's answer is not a bearer token and the second at which it ends")]
    NotAToken,
    #[error(
        "the agent of Azure Arc did not confirm that the token is that of the chosen identity; an old one knows only the machine's own"
    )]
    OtherIdentity,
}

/// Whether the machine has no identity of its own. The code is the same as for other mistakes; only the text
/// tells them apart. Where there is no metadata service, Docker Desktop answers in its place.
pub(super) fn says_that_there_is_none(answer: &Answer) -> bool {
    let refusal: Refusal = answer.json().unwrap_or_default();
    match answer.status() {
        StatusCode::BAD_REQUEST => {
            refusal.error_description.to_ascii_lowercase().contains("identity not found")
        }
        StatusCode::FORBIDDEN => answer.body().windows(11).any(|part| part == b"unreachable"),
        _ => false,
    }
}

pub(super) fn issued(
    answer: &Answer,
    host: &Host,
    id: Option<&ManagedIdentityId>,
    asked: SystemTime,
) -> Result<Issued, CredentialError> {
    if let Some(refusal) = answer.refused() {
        return Err(classify(refusal, answer.retry_after()));
    }
    let unusable = || CredentialError::Unavailable {
        retry_after: answer.retry_after(),
        source: BoxError::from(Unexpected::NotAToken),
    };
    let reply: Reply = answer.json().ok_or_else(unusable)?;
    if reply.token_type.as_ref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(unusable());
    }
    if matches!(host, Host::Arc { .. }) && !id.is_none_or(|id| reply.confirms(id)) {
        return Err(CredentialError::Invalid(Unexpected::OtherIdentity.into()));
    }
    let end = end(&reply.expires_on).ok_or_else(unusable)?.min(asked + LONGEST_LIFE);
    let mut issued = Issued::new(Credential::BearerToken(reply.access_token), end)
        .from_source(format!("Azure managed identity ({})", host.name()));
    issued.subject = reply.client_id.filter(|id| is_id(id)).map(|id| format!("application {id}"));
    Ok(issued)
}

impl Reply {
    fn confirms(&self, id: &ManagedIdentityId) -> bool {
        let (asked, got) = match id {
            ManagedIdentityId::ClientId(id) => (id, &self.client_id),
            ManagedIdentityId::ObjectId(id) => (id, &self.object_id),
            ManagedIdentityId::ResourceId(id) => (id, &self.msi_res_id),
        };
        got.as_ref().is_some_and(|got| got.eq_ignore_ascii_case(asked))
    }
}

fn end(stated: &Value) -> Option<SystemTime> {
    let seconds = match stated {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn classify(error: IssuerError, retry_after: Option<Duration>) -> CredentialError {
    if super::PASSING.contains(&error.status.as_u16()) {
        return CredentialError::Unavailable { retry_after, source: error.into() };
    }
    error.classify(retry_after)
}
