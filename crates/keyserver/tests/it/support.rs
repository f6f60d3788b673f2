//! A world to test in: an identity provider, a clock, a store, and a key server.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use portunus_auth_core::audit::{EventKind, MemorySink};
use portunus_auth_core::clock::ManualClock;
use portunus_auth_core::{AuditEvent, AuditSink, BearerToken, SecretSource};
use portunus_keyserver::{
    Config, ExchangeError, IssuedKey, KeyServer, KeyServerConfig, Parts, Peer, SetupError, TokenKind,
    TokenRequest, router,
};
use portunus_mock::MockIdp;
use portunus_store::{Held, Memory, NewValue, Reservation, Store, StoreError, Subscription, Window};
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;

pub(crate) const NOW: u64 = 1_767_225_600;
pub(crate) const ADMIN: &str = "canary-admin-token-0123456789";
pub(crate) const PEPPER: &str = "canary-pepper-0123456789-0123456789";
/// A secret that is another text when it is encoded as in a form, and when it is decoded.
pub(crate) const CLIENT: &str = "canary+client%25secret";
pub(crate) const PUBLIC_URL: &str = "https://llm.example.com/portunus";

/// Engineers get the small models for eight hours; the server's maximum is one hour.
pub(crate) const ENGINEERS: &str = r#"
[[policies]]
name = "engineers"
match = { issuer = "idp", groups = ["eng"] }
grant = { models = ["gpt-4o*", "claude-*"], tools = ["search"], tier = "standard", ttl = "8h" }
"#;

pub(crate) struct World {
    pub(crate) idp: MockIdp,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<Switch>,
    pub(crate) audit: Arc<MemorySink>,
    pub(crate) server: KeyServer,
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at_unix(NOW))
}

pub(crate) fn idp(clock: &Arc<ManualClock>) -> MockIdp {
    MockIdp::builder().clock(clock.clone()).build().unwrap()
}

/// One issuer named `idp`, and whatever else is said.
pub(crate) fn configuration(issuer: &str, more: &str) -> Config {
    let text = format!(
        r#"
[server]
public_url = "{PUBLIC_URL}"

[key_server]
audience = "portunus"
admin = {{ bearer_token = "${{env:ADMIN}}" }}
pepper = "${{env:PEPPER}}"
# Tests move the clock by more than a server ever sleeps.
fail_static = "1d"

[[key_server.clients]]
id = "proxy"
secret = "${{env:CLIENT}}"
tenant = "acme"

[[key_server.clients]]
id = "stranger"
secret = "${{env:CLIENT}}"
tenant = "another"

[[issuers]]
name = "idp"
issuer = "{issuer}"
tenant = "acme"

{more}
"#
    );
    toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn server(
    config: Config,
    store: Arc<dyn Store>,
    clock: &Arc<ManualClock>,
    audit: &Arc<MemorySink>,
) -> Result<KeyServer, SetupError> {
    KeyServer::new(config, parts(store, clock, audit.clone())).await
}

pub(crate) fn parts(
    store: Arc<dyn Store>,
    clock: &Arc<ManualClock>,
    audit: Arc<dyn AuditSink>,
) -> Parts<'static> {
    Parts::new(store, clock.clone(), audit, &Secrets)
}

impl World {
    pub(crate) async fn new(policies: &str) -> Self {
        let clock = clock();
        let store = Arc::new(Switch::over(Arc::new(Memory::new(clock.clone()))));
        Self::with(policies, clock, store).await
    }

    pub(crate) async fn with(policies: &str, clock: Arc<ManualClock>, store: Arc<Switch>) -> Self {
        let idp = idp(&clock);
        let audit = Arc::new(MemorySink::default());
        let config = configuration(idp.issuer(), policies);
        let server = server(config, store.clone(), &clock, &audit).await.unwrap();
        Self { idp, clock, store, audit, server }
    }

    /// The same with another configuration.
    pub(crate) async fn configured(policies: &str, change: impl FnOnce(&mut KeyServerConfig)) -> Self {
        let clock = clock();
        let store = Arc::new(Switch::over(Arc::new(Memory::new(clock.clone()))));
        let (idp, audit) = (idp(&clock), Arc::new(MemorySink::default()));
        let mut config = configuration(idp.issuer(), policies);
        change(&mut config.key_server);
        let server = server(config, store.clone(), &clock, &audit).await.unwrap();
        Self { idp, clock, store, audit, server }
    }

    /// Another server on the same store.
    pub(crate) async fn another(&self, policies: &str) -> KeyServer {
        self.another_over(policies, self.store.clone()).await
    }

    /// Another server, with its own way to the same store.
    pub(crate) async fn another_over(&self, policies: &str, store: Arc<Switch>) -> KeyServer {
        let config = configuration(self.idp.issuer(), policies);
        server(config, store, &self.clock, &self.audit).await.unwrap()
    }

    /// A new token about somebody in the group `eng`.
    pub(crate) fn engineer(&self, subject: &str) -> portunus_mock::Mint {
        static TOKENS: AtomicUsize = AtomicUsize::new(0);
        let jti = format!("token-{}", TOKENS.fetch_add(1, Ordering::SeqCst));
        self.idp.mint(subject).audience("portunus").claim("groups", vec!["eng"]).claim("jti", jti)
    }

    pub(crate) async fn exchange(&self, token: impl Into<String>) -> Result<IssuedKey, ExchangeError> {
        self.exchange_for(token, |_| {}).await
    }

    pub(crate) async fn exchange_for(
        &self,
        token: impl Into<String>,
        change: impl FnOnce(&mut TokenRequest),
    ) -> Result<IssuedKey, ExchangeError> {
        let mut request = TokenRequest::new(BearerToken::new(token), TokenKind::Identity);
        change(&mut request);
        self.server.exchange(request, Peer::default()).await
    }

    /// A key that could be ours and that nobody issued.
    pub(crate) fn key_text(&self) -> BearerToken {
        portunus_keyserver::TempKey::mint(&aws_lc_rs::rand::SystemRandom::new()).unwrap().into_token()
    }

    /// Exchanges a key for a narrower one.
    pub(crate) async fn narrow(
        &self,
        parent: &IssuedKey,
        change: impl FnOnce(&mut TokenRequest),
    ) -> Result<IssuedKey, ExchangeError> {
        let mut request = TokenRequest::new(parent.access_token.clone(), TokenKind::Access);
        change(&mut request);
        self.server.exchange(request, Peer::default()).await
    }

    /// A key that descends from this one and may do the same.
    pub(crate) async fn child(&self, parent: &IssuedKey) -> IssuedKey {
        self.narrow(parent, |_| {}).await.unwrap()
    }

    pub(crate) async fn key(&self, subject: &str) -> IssuedKey {
        self.exchange(self.engineer(subject).id_token()).await.unwrap()
    }

    /// The events about keys and administrators, leaving out those about the issuer's keys.
    pub(crate) fn events(&self) -> Vec<AuditEvent> {
        let about_keys =
            |event: &AuditEvent| !matches!(event.kind, EventKind::JwksRefreshed | EventKind::JwksFailed);
        self.audit.events().into_iter().filter(about_keys).collect()
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Calls a route, whose answer must be one that the description of the API knows.
    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = router(self.server.clone()).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let answer = Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.into()).unwrap(),
            json,
        };
        crate::documented::check(&method, &path, &answer);
        answer
    }

    /// Sends a form, as whom it says.
    pub(crate) async fn send(&self, path: &str, authorization: &str, parameters: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        self.call(request.body(Body::from(form(parameters))).unwrap()).await
    }

    /// Asks the administrator's route for keys.
    pub(crate) async fn list(&self, query: &str) -> Answer {
        let request = Request::get(format!("/admin/tokens{query}"));
        self.call(request.header("authorization", admin()).body(Body::empty()).unwrap()).await
    }

    /// Revokes many, as the administrator.
    pub(crate) async fn revoke_many(&self, body: impl Into<String>) -> Answer {
        let request = Request::post("/admin/revocations").header("content-type", "application/json");
        self.call(request.header("authorization", admin()).body(Body::from(body.into())).unwrap()).await
    }

    pub(crate) async fn post(&self, content_type: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post("/oauth/token").header("content-type", content_type);
        self.call(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn form(&self, parameters: &[(&str, &str)]) -> Answer {
        self.post("application/x-www-form-urlencoded", form(parameters)).await
    }

    pub(crate) async fn delete(&self, jti: &str, authorization: &str) -> Answer {
        let request = Request::delete(format!("/auth/token/{jti}")).header("authorization", authorization);
        self.call(request.body(Body::empty()).unwrap()).await
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn error(&self) -> (u16, &str) {
        (self.status.as_u16(), self.json["error"].as_str().unwrap_or(&self.text))
    }
}

pub(crate) fn admin() -> String {
    format!("Bearer {ADMIN}")
}

pub(crate) fn basic(id: &str, secret: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
    format!("Basic {pair}")
}

pub(crate) fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

pub(crate) const GRANT_TYPE: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
pub(crate) const ID_TOKEN: (&str, &str) = ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token");

/// The parameters of a plain exchange.
pub(crate) fn exchange_of(token: &str) -> [(&str, &str); 3] {
    [GRANT_TYPE, ID_TOKEN, ("subject_token", token)]
}

pub(crate) struct Secrets;

impl SecretSource for Secrets {
    fn env(&self, name: &str) -> Option<String> {
        let known = HashMap::from([
            ("ADMIN", ADMIN),
            ("PEPPER", PEPPER),
            ("CLIENT", CLIENT),
            ("SHORT", "canary"),
            ("SPACED", "canary admin token 0123456789"),
        ]);
        known.get(name).map(|text| (*text).to_owned())
    }

    fn file(&self, _: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

/// Whichever operation it is.
const ANY: &str = "any";

/// A store that can be switched off, that can do what it is asked and be late with the answer, and that
/// counts what it is asked.
#[derive(Debug)]
pub(crate) struct Switch {
    store: Arc<dyn Store>,
    off: AtomicBool,
    mute: AtomicBool,
    scans_off: AtomicBool,
    deaf: AtomicBool,
    /// How many operations succeed before it is off.
    left: AtomicUsize,
    asked: AtomicUsize,
    /// How many operations are done before one is held, if any is to be.
    left_to_hold: AtomicUsize,
    held: watch::Sender<Option<&'static str>>,
    late: watch::Sender<usize>,
}

impl Switch {
    pub(crate) fn over(store: Arc<dyn Store>) -> Self {
        let (off, mute, asked) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
        let (scans_off, deaf) = (AtomicBool::new(false), AtomicBool::new(false));
        let (left, held, late) =
            (AtomicUsize::new(usize::MAX), watch::Sender::default(), watch::Sender::default());
        Self { store, off, mute, scans_off, deaf, left, asked, left_to_hold: AtomicUsize::new(0), held, late }
    }

    /// Does so many operations, and begins others only after [`Switch::answer`].
    pub(crate) fn hold_after(&self, operations: usize) {
        self.left_to_hold.store(operations, Ordering::SeqCst);
        self.hold(ANY);
    }

    /// Whether somebody waits, or has waited.
    pub(crate) fn holds_somebody(&self) -> bool {
        *self.late.borrow() > 0
    }

    /// Does what it is asked in this operation from now on, but does not answer until [`Switch::answer`].
    pub(crate) fn hold(&self, operation: &'static str) {
        self.held.send_replace(Some(operation));
    }

    /// Gives all answers again.
    pub(crate) fn answer(&self) {
        self.held.send_replace(None);
    }

    /// Until somebody waits for an answer that is held back.
    pub(crate) async fn until_somebody_waits(&self) {
        self.late.subscribe().wait_for(|late| *late > 0).await.unwrap();
    }

    async fn answered<T>(&self, operation: &'static str, answer: T) -> T {
        if *self.held.borrow() == Some(operation) {
            self.late.send_modify(|late| *late += 1);
            self.held.subscribe().wait_for(|held| *held != Some(operation)).await.unwrap();
        }
        answer
    }

    /// How many entries it holds with this prefix.
    pub(crate) async fn scan_all(&self, prefix: &str) -> usize {
        self.store.scan(prefix, None, 10_000).await.unwrap().len()
    }

    /// Announces nothing any more, though it says so.
    pub(crate) fn set_mute(&self, mute: bool) {
        self.mute.store(mute, Ordering::SeqCst);
    }

    /// Whoever subscribes is told at once that there will be nothing to hear.
    pub(crate) fn set_deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::SeqCst);
    }

    /// Scans nothing, while it does all else.
    pub(crate) fn set_scans_off(&self, off: bool) {
        self.scans_off.store(off, Ordering::SeqCst);
    }

    pub(crate) fn set_off(&self, off: bool) {
        self.off.store(off, Ordering::SeqCst);
        self.left.store(usize::MAX, Ordering::SeqCst);
    }

    /// Is off after so many operations.
    pub(crate) fn fail_after(&self, operations: usize) {
        self.left.store(operations, Ordering::SeqCst);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Lets others run before every answer, as a store beyond a network does.
    async fn on(&self) -> Result<&dyn Store, StoreError> {
        tokio::task::yield_now().await;
        self.asked.fetch_add(1, Ordering::SeqCst);
        let count = |left: usize| left.checked_sub(1);
        if *self.held.borrow() == Some(ANY)
            && self.left_to_hold.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_err()
        {
            self.answered(ANY, ()).await;
        }
        let spend = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        let is_spent = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_err();
        if is_spent || self.off.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("switched off".into()));
        }
        Ok(&*self.store)
    }
}

#[async_trait]
impl Store for Switch {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.on().await?.get(key).await
    }

    async fn put(&self, key: &str, value: &[u8], until: Option<SystemTime>) -> Result<(), StoreError> {
        self.on().await?.put(key, value, until).await
    }

    async fn put_if_absent(
        &self,
        key: &str,
        value: &[u8],
        until: Option<SystemTime>,
    ) -> Result<bool, StoreError> {
        let set = self.on().await?.put_if_absent(key, value, until).await;
        self.answered("put_if_absent", set).await
    }

    async fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: Option<NewValue<'_>>,
    ) -> Result<bool, StoreError> {
        self.on().await?.compare_and_swap(key, expected, new).await
    }

    async fn delete(&self, key: &str) -> Result<bool, StoreError> {
        let deleted = self.on().await?.delete(key).await;
        self.answered("delete", deleted).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let store = self.on().await?;
        if self.scans_off.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("scans are off".into()));
        }
        store.scan(prefix, after, limit).await
    }

    async fn reserve(
        &self,
        counter: &str,
        amount: u64,
        cap: u64,
        window: Window,
    ) -> Result<Reservation, StoreError> {
        self.on().await?.reserve(counter, amount, cap, window).await
    }

    async fn settle(&self, counter: &str, held: Held, used: u64) -> Result<(), StoreError> {
        self.on().await?.settle(counter, held, used).await
    }

    async fn publish(&self, channel: &str, message: &[u8]) -> Result<(), StoreError> {
        if self.mute.load(Ordering::SeqCst) {
            return self.on().await.map(drop);
        }
        let published = self.on().await?.publish(channel, message).await;
        self.answered("publish", published).await
    }

    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        if self.deaf.load(Ordering::SeqCst) {
            return Memory::new(clock()).subscribe(channel).await;
        }
        self.on().await?.subscribe(channel).await
    }
}

/// Fetches a document of the identity provider.
pub(crate) async fn get(url: &str) -> String {
    let response = reqwest::get(url).await.unwrap();
    String::from_utf8(response.bytes().await.unwrap().to_vec()).unwrap()
}

/// Lets another thread's server and the tasks here run until `done`, or for so long that it never will be.
pub(crate) async fn elsewhere(done: impl Fn() -> bool) -> bool {
    for _ in 0..1_000_000 {
        if done() {
            return true;
        }
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
    false
}

/// Lets the tasks of servers run until `done`, or long enough to see that it never will be.
pub(crate) async fn eventually(done: impl Fn() -> bool) -> bool {
    for _ in 0..1000 {
        if done() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    done()
}
