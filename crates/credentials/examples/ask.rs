//! Asks any source, or signs a request, as the JSON lines on the standard input say; one line of answer
//! each. `cargo xtask interop` compares what is sent with what the vendors' own libraries send.
//!
//! The answers show the secrets: this is for made-up ones.
//!
//! ```text
//! {"do": "fetch", "config": {"source": "env", "var": "TOKEN"}, "env": {"TOKEN": "t"}, "now": 1800000000}
//! {"do": "sign", "method": "POST", "url": "https://…", "headers": {}, "body": "{}", "access_key": "…", …}
//! ```
#![expect(clippy::unwrap_used, reason = "a script's tool that cannot go on says where")]

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufRead as _};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use portunus_auth_core::clock::ManualClock;
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use portunus_auth_core::{Clock, SecretSource};
use portunus_credentials::{Credential, Issued, PayloadHash, ProviderConfig, Signer};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Question {
    Fetch {
        config: Box<ProviderConfig>,
        #[serde(default)]
        env: HashMap<String, String>,
        now: u64,
    },
    Sign(ToSign),
}

#[derive(Deserialize)]
struct ToSign {
    method: String,
    url: String,
    headers: HashMap<String, String>,
    body: String,
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
    region: String,
    service: String,
    now: u64,
}

/// The environment of a question, and the files of this machine.
struct Given(HashMap<String, String>);

impl SecretSource for Given {
    fn env(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }
}

#[tokio::main]
async fn main() {
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line.unwrap()) {
            Ok(question) => answer(question).await,
            Err(error) => Err(error.into()),
        };
        println!("{}", answer.unwrap_or_else(|error| json!({ "error": causes(&*error) })));
    }
}

async fn answer(question: Question) -> Result<Value, Box<dyn Error>> {
    match question {
        Question::Fetch { config, env, now } => {
            let clock = Arc::new(ManualClock::at_unix(now));
            Ok(told(&config.source(&Given(env), clock)?.fetch().await?))
        }
        Question::Sign(request) => signed(&request),
    }
}

fn told(issued: &Issued) -> Value {
    let open = |secret: &SecretString| secret.expose_secret().to_owned();
    let credential = match &issued.credential {
        Credential::BearerToken(token) | Credential::BearerTokenWith { token, .. } => json!([open(token)]),
        Credential::ApiKey { value, .. } => json!([open(value)]),
        Credential::AwsCredentials { access_key_id, secret_access_key, session_token } => {
            json!([open(access_key_id), open(secret_access_key), session_token.as_ref().map(open)])
        }
        other => json!(format!("{other:?}")),
    };
    let unix = |end: SystemTime| end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    json!({
        "credential": credential,
        "expires_at": issued.expires_at.map(unix),
        "source": issued.source,
        "subject": issued.subject,
    })
}

fn signed(request: &ToSign) -> Result<Value, Box<dyn Error>> {
    let credential = Credential::AwsCredentials {
        access_key_id: request.access_key.as_str().into(),
        secret_access_key: request.secret_key.as_str().into(),
        session_token: request.session_token.as_deref().map(Into::into),
    };
    let uri: Uri = request.url.parse()?;
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    let now = ManualClock::at_unix(request.now).now();
    let hash = PayloadHash::of(request.body.as_bytes());
    let method = Method::from_bytes(request.method.as_bytes())?;
    Signer::new(&request.region, &request.service).sign(
        &credential,
        &method,
        &uri,
        &mut headers,
        &hash,
        now,
    )?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Ok(json!({ "authorization": header("authorization"), "date": header("x-amz-date") }))
}

fn causes(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said += &format!(": {error}");
        cause = error.source();
    }
    said
}
