//! A source that a test scripts, and an environment that is a map.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portunus_auth_core::clock::ManualClock;
use portunus_auth_core::secret::ExposeSecret;
use portunus_auth_core::{Clock, SecretSource};
use portunus_credentials::{Credential, CredentialError, CredentialSource, Issued};
use tokio::sync::Semaphore;

/// What the source does on one fetch.
#[derive(Debug)]
pub(crate) enum Step {
    Fail(CredentialError),
    Panic,
    /// This token, which ends so many seconds from the fetch, or never.
    Token(&'static str, Option<i64>),
}

/// Issues `token-1`, `token-2`, … for an hour each, unless scripted otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<ManualClock>,
    fetches: AtomicUsize,
    script: Mutex<VecDeque<Step>>,
    gate: Semaphore,
    yields: AtomicUsize,
}

impl Source {
    pub(crate) fn new(clock: &Arc<ManualClock>) -> Self {
        Self(Arc::new(Inner {
            clock: clock.clone(),
            fetches: AtomicUsize::new(0),
            script: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            yields: AtomicUsize::new(0),
        }))
    }

    /// The next fetch that is not scripted yet does this.
    pub(crate) fn then(&self, step: Step) -> &Self {
        self.0.script.lock().unwrap().push_back(step);
        self
    }

    /// Forgets what is scripted.
    pub(crate) fn clear(&self) {
        self.0.script.lock().unwrap().clear();
    }

    /// From now on a fetch hangs until it is let go.
    pub(crate) fn hold(&self) {
        self.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn let_one_go(&self) {
        self.0.gate.add_permits(1);
    }

    /// Each fetch gives way to other tasks so often.
    pub(crate) fn yields(&self, times: usize) {
        self.0.yields.store(times, Ordering::SeqCst);
    }

    pub(crate) fn fetches(&self) -> usize {
        self.0.fetches.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl CredentialSource for Source {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let count = self.0.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.gate.acquire().await.unwrap().forget();
        for _ in 0..self.0.yields.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        let now = self.0.clock.now();
        let at = |seconds: i64| {
            let span = Duration::from_secs(seconds.unsigned_abs());
            if seconds < 0 { now - span } else { now + span }
        };
        let step = self.0.script.lock().unwrap().pop_front();
        match step {
            None => Ok(issued(&format!("token-{count}"), Some(at(3600)))),
            Some(Step::Token(token, seconds)) => Ok(issued(token, seconds.map(at))),
            Some(Step::Fail(error)) => Err(error),
            // Resumed, not raised: the panic hook stays silent.
            Some(Step::Panic) => std::panic::resume_unwind(Box::new("scripted")),
        }
    }
}

pub(crate) fn issued(token: &str, expires_at: Option<SystemTime>) -> Issued {
    Issued::new(Credential::BearerToken(token.into()), expires_at)
}

pub(crate) fn unavailable(retry_after: Option<u64>) -> CredentialError {
    CredentialError::Unavailable {
        retry_after: retry_after.map(Duration::from_secs),
        source: "the issuer is down".into(),
    }
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at_unix(1_700_000_000))
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A JWT with these claims, and a signature that nobody verifies.
#[cfg(feature = "http")]
pub(crate) fn jwt(claims: &serde_json::Value) -> String {
    use base64::Engine;
    let encode = |part: &serde_json::Value| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let header = serde_json::json!({ "alg": "RS256", "kid": "1", "typ": "JWT" });
    format!("{}.{}.canary-signature", encode(&header), encode(claims))
}

/// The text of a bearer token.
pub(crate) fn text(credential: &Credential) -> &str {
    match credential {
        Credential::BearerToken(token) | Credential::BearerTokenWith { token, .. } => token.expose_secret(),
        other => panic!("not a bearer token: {other:?}"),
    }
}

/// `Display` and `Debug` of an error and of all its causes.
pub(crate) fn everything(error: &(dyn Error + 'static)) -> String {
    let mut all = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        all += &format!(" {error} {error:?}");
        cause = error.source();
    }
    all
}

/// An environment and its files, and what was asked for.
#[derive(Default)]
pub(crate) struct Env {
    values: HashMap<String, String>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Env {
    pub(crate) fn of(values: &[(&str, &str)]) -> Self {
        let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self { values, asked: Mutex::default() }
    }
}

impl SecretSource for Env {
    fn env(&self, name: &str) -> Option<String> {
        self.asked.lock().unwrap().push(name.to_owned());
        self.values.get(name).cloned()
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        let text = path.to_str().and_then(|path| self.values.get(path));
        text.cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
}
