//! The OAuth 2.0 and OpenID Connect server.

mod authorize;
mod client;
mod discovery;
mod dpop;
mod error;
mod grant;
mod issued;
mod keys;
mod mint;
mod token;
mod user;
mod userinfo;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use portunus_auth_core::{Clock, SystemClock};

use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::desk::Desk;
use crate::error::StartError;
use crate::fault::Fault;
use crate::form::Form;
use crate::host::{Bound, Host};
use client::Client;
use grant::Grants;
use keys::KeySet;

pub use client::OAuthConfig;
pub use dpop::{DpopKey, DpopProof};
pub(crate) use issued::IssuedTokens;
pub use keys::Algorithm;
pub use mint::{Mint, TokenFault};
pub use user::User;

/// The audience of access tokens, unless one is chosen.
const AUDIENCE: &str = "portunus-mock";
/// How long tokens live, unless a time is chosen.
const TOKEN_TTL: Duration = Duration::from_secs(3_600);

/// What is chosen before an identity provider starts.
#[derive(Debug)]
pub struct IdpBuilder {
    clock: Arc<dyn Clock>,
    port: u16,
    clients: Vec<Result<Client, StartError>>,
    user: User,
    audience: String,
    token_ttl: Duration,
    algorithm: Algorithm,
}

impl IdpBuilder {
    /// Where every time and expiry comes from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The port on 127.0.0.1; 0, the default, is any.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Adds a client with a secret. Without any client there is [`OAuthConfig::default`].
    #[must_use]
    pub fn client(mut self, client: OAuthConfig) -> Self {
        self.clients.push(Client::confidential(client));
        self
    }

    /// Adds a client without a secret, such as a command line tool.
    #[must_use]
    pub fn public_client<S: Into<String>>(
        mut self,
        id: impl Into<String>,
        redirect_uris: impl IntoIterator<Item = S>,
        scopes: impl IntoIterator<Item = S>,
    ) -> Self {
        let redirect_uris = redirect_uris.into_iter().map(Into::into).collect();
        let scopes = scopes.into_iter().map(Into::into).collect();
        self.clients.push(Client::public(id.into(), redirect_uris, scopes));
        self
    }

    /// Who signs in.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.user = user;
        self
    }

    /// The audience of access tokens.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// How long tokens live.
    #[must_use]
    pub fn token_ttl(mut self, ttl: Duration) -> Self {
        self.token_ttl = ttl;
        self
    }

    /// How tokens are signed.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Starts the identity provider.
    ///
    /// # Errors
    /// [`StartError`] when the port is taken or a client is incomplete.
    pub fn build(self) -> Result<MockIdp, StartError> {
        let mut clients = self.clients.into_iter().collect::<Result<Vec<_>, _>>()?;
        if clients.is_empty() {
            clients.push(Client::confidential(OAuthConfig::default())?);
        }
        let bound = Bound::new(self.port)?;
        let idp = Arc::new(Idp {
            issuer: bound.url(),
            audience: self.audience,
            token_ttl: self.token_ttl,
            algorithm: self.algorithm,
            clients,
            keys: Mutex::new(KeySet::new()),
            issued: Arc::default(),
            grants: Grants::default(),
            user: Mutex::new(self.user),
            counter: AtomicU64::new(0),
            down: AtomicBool::new(false),
            deny_next: AtomicBool::new(false),
            desk: Desk::new(self.clock),
        });
        let serving = Arc::clone(&idp);
        let host = bound.serve(move |request| {
            let idp = Arc::clone(&serving);
            async move { idp.desk.serve(request, |request| idp.answer(request)).await }
        })?;
        Ok(MockIdp { host, idp })
    }
}

#[derive(Debug)]
struct Idp {
    issuer: String,
    audience: String,
    token_ttl: Duration,
    algorithm: Algorithm,
    clients: Vec<Client>,
    keys: Mutex<KeySet>,
    issued: Arc<IssuedTokens>,
    grants: Grants,
    user: Mutex<User>,
    counter: AtomicU64,
    down: AtomicBool,
    deny_next: AtomicBool,
    desk: Desk,
}

impl Idp {
    fn answer(self: &Arc<Self>, request: &Recorded) -> Answer {
        if self.down.load(Ordering::Acquire) {
            return answer::text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "down");
        }
        match (request.path(), request.method()) {
            (
                "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server",
                &Method::GET,
            ) => answer::json(StatusCode::OK, discovery::metadata(self)),
            ("/jwks.json", &Method::GET) => {
                let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                answer::json(StatusCode::OK, answer::write(&keys.jwks()))
            }
            ("/authorize", &Method::GET | &Method::POST) => authorize::authorize(self, request),
            ("/token", _) => token::token(self, request),
            ("/userinfo", _) => userinfo::userinfo(self, request),
            ("/__mock/id_token", &Method::GET | &Method::POST) => self.minted(request),
            _ => answer::json(StatusCode::NOT_FOUND, r#"{"error":"not_found"}"#),
        }
    }

    /// An ID token for whoever asks on this machine, so that a shell can have one too.
    fn minted(self: &Arc<Self>, request: &Recorded) -> Answer {
        const KNOWN: [&str; 4] = ["sub", "aud", "groups", "email"];
        let form = Form::of_body(request)
            .unwrap_or_else(|| Form::parse(request.query().unwrap_or_default().as_bytes()));
        let refused = form.repeated().is_some() || form.names().any(|name| !KNOWN.contains(&name));
        let Some(subject) = form.get("sub").filter(|_| !refused) else {
            let usage =
                "usage: /__mock/id_token?sub=alice[&aud=AUDIENCE][&groups=a,b][&email=a@example.com]\n";
            return answer::text(StatusCode::BAD_REQUEST, "text/plain", usage);
        };
        let mut mint = Mint::new(Arc::clone(self), subject.to_owned());
        if let Some(audience) = form.get("aud") {
            mint = mint.audience(audience);
        }
        if let Some(groups) = form.get("groups") {
            mint = mint.claim("groups", groups.split(',').collect::<Vec<_>>());
        }
        if let Some(email) = form.get("email") {
            mint = mint.claim("email", email).claim("email_verified", true);
        }
        error::no_store(answer::text(StatusCode::OK, "text/plain", mint.id_token()))
    }

    fn client(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }

    fn user(&self) -> User {
        self.user.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn now(&self) -> SystemTime {
        self.desk.clock.now()
    }

    fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A running identity provider. Dropping it closes its port and its connections.
pub struct MockIdp {
    host: Host,
    idp: Arc<Idp>,
}

impl MockIdp {
    /// An identity provider with the client and the user that are there by default.
    ///
    /// # Panics
    /// When no port of 127.0.0.1 is free; [`IdpBuilder::build`] says so instead.
    #[expect(clippy::unused_async, reason = "starts as the LLM server does")]
    pub async fn start() -> Self {
        Self::builder().build().expect("a free port on 127.0.0.1")
    }

    /// An identity provider to be adapted.
    pub fn builder() -> IdpBuilder {
        IdpBuilder {
            clock: Arc::new(SystemClock),
            port: 0,
            clients: Vec::new(),
            user: User::default(),
            audience: AUDIENCE.to_owned(),
            token_ttl: TOKEN_TTL,
            algorithm: Algorithm::default(),
        }
    }

    /// The issuer, which is the address too.
    pub fn issuer(&self) -> &str {
        &self.idp.issuer
    }

    /// Where the public keys are.
    pub fn jwks_uri(&self) -> String {
        format!("{}/jwks.json", self.idp.issuer)
    }

    /// The id and the secret of the first client that has one.
    pub fn client_credentials(&self) -> Option<(String, String)> {
        let mut clients = self.idp.clients.iter();
        clients.find_map(|client| Some((client.id.clone(), client.secret()?.expose().to_owned())))
    }

    /// Begins a token without a flow.
    pub fn mint(&self, subject: impl Into<String>) -> Mint {
        Mint::new(Arc::clone(&self.idp), subject.into())
    }

    /// Who signs in from now on.
    pub fn set_user(&self, user: User) {
        *self.idp.user.lock().unwrap_or_else(PoisonError::into_inner) = user;
    }

    /// Answers the next authorization request with `access_denied`.
    pub fn deny_next(&self) {
        self.idp.deny_next.store(true, Ordering::Release);
    }

    /// While down, every path answers 503.
    pub fn set_down(&self, down: bool) {
        self.idp.down.store(down, Ordering::Release);
    }

    /// Lets the next requests, whatever they ask, fail that way; queued behind earlier faults.
    pub fn fail_next(&self, requests: usize, fault: Fault) {
        self.idp.desk.faults.add(requests, fault);
    }

    /// Signs with new keys, of new ids, from now on. The earlier keys stay published.
    pub fn rotate_keys(&self) {
        self.idp.keys.lock().unwrap_or_else(PoisonError::into_inner).rotate();
    }

    /// Publishes only the keys that sign, so that tokens of before the last rotation fail.
    pub fn retire_keys(&self) {
        self.idp.keys.lock().unwrap_or_else(PoisonError::into_inner).retire();
    }

    /// How many requests came for that path, failed ones too.
    pub fn count(&self, path: &str) -> u64 {
        self.idp.desk.log.count(path)
    }

    /// What was asked, oldest first; at most the last [`CAPACITY`](crate::CAPACITY) requests.
    pub fn requests(&self) -> Vec<Recorded> {
        self.idp.desk.log.requests()
    }

    /// Closes the port, and waits a few seconds at most for answers under way.
    pub async fn shutdown(self) {
        self.host.shutdown().await;
    }

    pub(crate) fn issued(&self) -> Arc<IssuedTokens> {
        Arc::clone(&self.idp.issued)
    }
}

impl fmt::Debug for MockIdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockIdp").field("issuer", &self.issuer()).finish_non_exhaustive()
    }
}
