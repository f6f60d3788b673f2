//! What is said of a credential that was tried out; never the credential.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use portunus_auth_core::{CredentialError, Issued};
use portunus_gateway::ProviderCredential;
use serde_json::{Value, json};

/// What a failure asks for, the worse the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Later,
    Refused,
    Wrong,
}

pub(crate) fn severity(error: &CredentialError) -> Severity {
    match error {
        CredentialError::Unavailable { .. } => Severity::Later,
        CredentialError::Rejected(_) => Severity::Refused,
        _ => Severity::Wrong,
    }
}

pub(crate) fn as_text(
    credential: &ProviderCredential,
    result: &Result<Issued, CredentialError>,
    asked: SystemTime,
) -> String {
    let ProviderCredential { provider, kind, renewal, .. } = credential;
    let mut text = format!("{provider}  {kind}  ");
    let issued = match result {
        Ok(issued) => issued,
        Err(error) => return format!("{text}FAILED: {}\n    to do: {}", causes(error), to_do(error)),
    };
    text += "ok";
    if let Some(source) = &issued.source {
        let _ = write!(text, ", from {source}");
    }
    if let Some(subject) = &issued.subject {
        let _ = write!(text, ", for {subject}");
    }
    let _ = match issued.expires_at {
        None => write!(text, ", without an end"),
        Some(end) => {
            write!(text, ", until {} ({})", humantime::format_rfc3339_seconds(end), left(end, asked))
        }
    };
    if let Some(margin) = renewal.margin_of(issued, asked) {
        let margin = humantime::format_duration(Duration::from_secs(margin.as_secs()));
        let _ = write!(text, ", renewed {margin} before");
    }
    text
}

fn left(end: SystemTime, now: SystemTime) -> String {
    let left = end.duration_since(now).map(|left| Duration::from_secs(left.as_secs()));
    left.map_or("over".to_owned(), |left| format!("in {}", humantime::format_duration(left)))
}

pub(crate) fn as_json(
    credential: &ProviderCredential,
    result: &Result<Issued, CredentialError>,
    asked: SystemTime,
) -> Value {
    let ProviderCredential { provider, kind, renewal, .. } = credential;
    match result {
        Ok(issued) => json!({
            "provider": provider,
            "configured": kind,
            "ok": true,
            "source": issued.source,
            "subject": issued.subject,
            "expires_at": issued.expires_at.map(|end| humantime::format_rfc3339_seconds(end).to_string()),
            "renewed_seconds_before": renewal.margin_of(issued, asked).map(|margin| margin.as_secs()),
        }),
        Err(error) => json!({
            "provider": provider,
            "configured": kind,
            "ok": false,
            "error": causes(error),
            "to_do": to_do(error),
        }),
    }
}

fn to_do(error: &CredentialError) -> &'static str {
    match error {
        CredentialError::NotConfigured => "set up what this source reads, or choose another source",
        CredentialError::Unavailable { .. } => {
            "try again later; see that the issuer can be reached from here"
        }
        CredentialError::Rejected(_) => "renew what was refused, or correct what the issuer knows of it",
        _ => "mend the setting that is named",
    }
}

fn causes(error: &CredentialError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
