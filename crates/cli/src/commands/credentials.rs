//! `portunus credentials …`

use std::sync::Arc;

use portunus_auth_core::{Clock, SystemClock};
use portunus_credentials::{ProcessEnv, ProviderConfig};
use portunus_gateway::ProviderCredential;
use serde_json::Value;

use crate::args::CredentialsTest;
use crate::exit::Failure;
use crate::report::{Severity, as_json, as_text, severity};

/// Asks each issuer once, and says who answered, for whom and until when; never what.
pub(crate) async fn test(args: CredentialsTest) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let credentials = chosen(&args, &clock)?;
    let mut told = Vec::new();
    let mut worst = None;
    for credential in credentials {
        let asked = clock.now();
        let result = credential.source.fetch().await;
        if args.json {
            told.push(as_json(&credential, &result, asked));
        } else {
            println!("{}", as_text(&credential, &result, asked));
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
        let source = source.map_err(|problem| Failure::Config(format!("--source: {problem}")))?;
        let (kind, renewal) = (config.name(), config.policy());
        return Ok(vec![ProviderCredential { provider: "-".to_owned(), kind, renewal, source }]);
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
        // Not the text: somebody may have written a secret into it.
        Failure::Usage(format!("--source: {}", error.message().lines().next().unwrap_or_default()))
    })
}
