//! `portunus credentials …`

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_auth_core::{Clock, CredentialError, Issued, SystemClock};
use portunus_credentials::{ProcessEnv, ProviderConfig};
use portunus_gateway::ProviderCredential;
use serde_json::{Value, json};

use crate::args::CredentialsTest;
use crate::exit::Failure;

/// Asks each issuer once, and says who answered, for whom and until when; never what.
pub(crate) async fn test(args: CredentialsTest) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let credentials = chosen(&args, &clock)?;
    let mut told = Vec::new();
    let mut worst = None;
    for credential in credentials {
        let result = credential.source.fetch().await;
        if args.json {
            told.push(as_json(&credential, &result));
        } else {
            println!("{}", as_text(&credential, &result, clock.now()));
        }
        if let Err(error) = &result {
            worst = worst.max(Some(severity(error)));
        }
    }
    if args.json {
        println!("{}", Value::from(told));
    }
    let says = || "a credential could not be obtained; its line above says why".to_owned();
    match worst {
        None => Ok(()),
        Some(Severity::Later) => Err(Failure::Retry(says())),
        Some(Severity::Refused) => Err(Failure::Denied(says())),
        Some(Severity::Wrong) => Err(Failure::Config(says())),
    }
}

fn chosen(args: &CredentialsTest, clock: &Arc<dyn Clock>) -> Result<Vec<ProviderCredential>, Failure> {
    if let Some(text) = &args.source {
        let config = parse(text)?;
        let source = config.source(&ProcessEnv, clock.clone());
        let source = source.map_err(|problem| Failure::Config(format!("{text}: {problem}")))?;
        return Ok(vec![ProviderCredential { provider: "-".to_owned(), kind: config.name(), source }]);
    }
    let mut found = portunus_gateway::credentials(&args.config, &ProcessEnv, clock)?;
    if let Some(name) = &args.provider {
        found.retain(|credential| credential.provider == *name);
    }
    if found.is_empty() {
        let wanted =
            args.provider.as_ref().map_or("no provider".to_owned(), |name| format!("no provider `{name}`"));
        return Err(Failure::Config(format!("{}: {wanted} with a credential", args.config.display())));
    }
    Ok(found)
}

/// A source's name, or all its settings as the configuration has them.
fn parse(text: &str) -> Result<ProviderConfig, Failure> {
    #[derive(serde::Deserialize)]
    struct Wrapped {
        credential: ProviderConfig,
    }
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let settings = if is_name { format!("{{ source = \"{text}\" }}") } else { text.to_owned() };
    let parsed: Result<Wrapped, _> = toml::from_str(&format!("credential = {settings}"));
    parsed.map(|wrapped| wrapped.credential).map_err(|error| {
        Failure::Usage(format!("--source {text}: {}", error.message().lines().next().unwrap_or_default()))
    })
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    Later,
    Refused,
    Wrong,
}

fn severity(error: &CredentialError) -> Severity {
    match error {
        CredentialError::Unavailable { .. } => Severity::Later,
        CredentialError::Rejected(_) => Severity::Refused,
        _ => Severity::Wrong,
    }
}

fn as_text(
    credential: &ProviderCredential,
    result: &Result<Issued, CredentialError>,
    now: SystemTime,
) -> String {
    let ProviderCredential { provider, kind, .. } = credential;
    let mut text = format!("{provider}  {kind}  ");
    let issued = match result {
        Ok(issued) => issued,
        Err(error) => return text + "FAILED: " + &causes(error),
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
        Some(end) => write!(text, ", until {} ({})", humantime::format_rfc3339_seconds(end), left(end, now)),
    };
    text
}

fn left(end: SystemTime, now: SystemTime) -> String {
    let left = end.duration_since(now).map(|left| Duration::from_secs(left.as_secs()));
    left.map_or("over".to_owned(), |left| format!("in {}", humantime::format_duration(left)))
}

fn as_json(credential: &ProviderCredential, result: &Result<Issued, CredentialError>) -> Value {
    let ProviderCredential { provider, kind, .. } = credential;
    match result {
        Ok(issued) => json!({
            "provider": provider,
            "configured": kind,
            "ok": true,
            "source": issued.source,
            "subject": issued.subject,
            "expires_at": issued.expires_at.map(|end| humantime::format_rfc3339_seconds(end).to_string()),
        }),
        Err(error) => {
            json!({ "provider": provider, "configured": kind, "ok": false, "error": causes(error) })
        }
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
