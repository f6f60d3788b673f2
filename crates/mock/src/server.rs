//! The LLM server: what is chosen before it starts, and the handle of one that runs.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::api_error::ApiError;
use crate::capture::Recorded;
use crate::clock::VirtualClock;
use crate::control::{self, Control};
use crate::error::StartError;
use crate::fault::Faults;
use crate::fixture::Fixture;
use crate::host::{Bound, Host};
use crate::key::Key;
use crate::limiter::Limiter;
use crate::llm::{Gate, Ids, Llm, Resource, Rules};
use crate::log::Log;
use crate::observer::Observer;
use crate::requests::Requests;

#[cfg(feature = "oauth")]
use crate::oauth::{IdpBuilder, MockIdp};
#[cfg(feature = "oauth")]
pub use crate::oauth::{OAuthConfig, UnknownUserCode};
#[cfg(feature = "tls")]
use crate::tls::Https;

/// How large a request may be, unless the builder says otherwise: 32 MiB.
const BODY_LIMIT: usize = 32 << 20;

/// What is chosen before a server starts. Without any choice it answers everybody.
#[derive(Debug)]
pub struct ServerBuilder {
    keys: Vec<Key>,
    auth: bool,
    fixtures: Vec<Fixture>,
    faithful: bool,
    limiter: Option<Limiter>,
    resource_metadata: bool,
    body_limit: usize,
    seed: u64,
    control: bool,
    observer: Observer,
    port: u16,
    clock: VirtualClock,
    #[cfg(feature = "tls")]
    pub(crate) https: Option<Https>,
    #[cfg(feature = "oauth")]
    oauth: Option<IdpBuilder>,
    #[cfg(feature = "oauth")]
    oauth_port: u16,
}

impl Default for ServerBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerBuilder {
    /// A server that asks for no credential, on any free port of 127.0.0.1.
    pub fn new() -> Self {
        Self {
            keys: Vec::new(),
            auth: false,
            fixtures: Vec::new(),
            faithful: false,
            limiter: None,
            resource_metadata: false,
            body_limit: BODY_LIMIT,
            seed: 0,
            control: false,
            observer: Observer::default(),
            port: 0,
            clock: VirtualClock::running(),
            #[cfg(feature = "tls")]
            https: None,
            #[cfg(feature = "oauth")]
            oauth: None,
            #[cfg(feature = "oauth")]
            oauth_port: 0,
        }
    }

    /// Asks for a credential and admits that one, without limit.
    #[must_use]
    pub fn with_bearer_token(self, token: impl Into<String>) -> Self {
        self.with_key(Key::new(token))
    }

    /// Asks for a credential and admits that one for exactly `uses` LLM requests. A request that is
    /// malformed, or that no fixture matches, costs none.
    #[must_use]
    pub fn with_bearer_token_uses(self, token: impl Into<String>, uses: u32) -> Self {
        self.with_key(Key::new(token).uses(uses))
    }

    /// Asks for a credential and admits that one.
    #[must_use]
    pub fn with_key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// Asks for a credential even if none is known. `false`, the default, does not open a server that
    /// a token or an OAuth server has closed.
    #[must_use]
    pub fn with_auth(mut self, on: bool) -> Self {
        self.auth = on;
        self
    }

    /// Starts an OAuth server on a port of its own, with a client `mock-client`, and admits the access
    /// tokens that it issues.
    #[cfg(feature = "oauth")]
    #[must_use]
    pub fn with_oauth_defaults(self) -> Self {
        self.with_oauth(OAuthConfig::default())
    }

    /// Starts an OAuth server on a port of its own, with that client, and admits the access tokens
    /// that it issues.
    #[cfg(feature = "oauth")]
    #[must_use]
    pub fn with_oauth(self, client: OAuthConfig) -> Self {
        self.with_idp(MockIdp::builder().client(client))
    }

    /// Starts that OAuth server on a port of its own, and admits the access tokens that its first issuer
    /// issues. It has this server's clock.
    #[cfg(feature = "oauth")]
    #[must_use]
    pub fn with_idp(mut self, idp: IdpBuilder) -> Self {
        self.oauth = Some(idp);
        self
    }

    /// The port of the OAuth server on 127.0.0.1; 0, the default, is any.
    #[cfg(feature = "oauth")]
    #[must_use]
    pub fn oauth_port(mut self, port: u16) -> Self {
        self.oauth_port = port;
        self
    }

    /// Adds a fixture; with any, fixtures alone decide what is answered.
    #[must_use]
    pub fn fixture(mut self, fixture: Fixture) -> Self {
        self.fixtures.push(fixture);
        self
    }

    /// Adds fixtures, such as those of a file.
    #[must_use]
    pub fn fixtures(mut self, fixtures: impl IntoIterator<Item = Fixture>) -> Self {
        self.fixtures.extend(fixtures);
        self
    }

    /// Words errors as the providers really do, instead of the short documented bodies.
    #[must_use]
    pub fn faithful(mut self) -> Self {
        self.faithful = true;
        self
    }

    /// Limits requests and tokens of all callers together.
    #[must_use]
    pub fn limiter(mut self, limiter: Limiter) -> Self {
        self.limiter = Some(limiter);
        self
    }

    /// Serves metadata as a protected resource (RFC 9728), with the OAuth server's address if there is one,
    /// and points to them in challenges. Providers do not.
    #[must_use]
    pub fn resource_metadata(mut self) -> Self {
        self.resource_metadata = true;
        self
    }

    /// The largest body that is read, in bytes; a larger one is answered with 413.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// What is left to chance is drawn from that seed, 0 unless it is said; the same seed draws the same.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Lets programs on this machine do over HTTP, below `/__mock/`, what this server's handle does, and that
    /// of its OAuth server. It asks for no credential, and refuses web pages.
    #[must_use]
    pub fn control_api(mut self) -> Self {
        self.control = true;
        self
    }

    /// Calls that with each request to the LLM routes as its answer begins, on the server's thread.
    #[must_use]
    pub fn observe(mut self, observe: impl Fn(&Recorded) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observe);
        self
    }

    /// The port on 127.0.0.1; 0, the default, is any.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Where `created` and every expiry come from: the machine's time, unless another is chosen here.
    #[must_use]
    pub fn clock(mut self, clock: impl Into<VirtualClock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// [`StartError`] when a port is taken, a fixture cannot do what it says, a token is empty, or a file
    /// cannot be written.
    #[expect(clippy::unused_async, reason = "the documented programs await it")]
    pub async fn build(self) -> Result<MockServer, StartError> {
        self.build_blocking()
    }

    /// Starts the server from a test that is not asynchronous.
    ///
    /// # Errors
    /// As of [`ServerBuilder::build`].
    pub fn build_blocking(self) -> Result<MockServer, StartError> {
        let rules = Rules::new(self.fixtures, self.seed)?;
        #[cfg(feature = "tls")]
        let tls = self.https.as_ref().map(Https::tls).transpose()?;
        #[cfg(not(feature = "tls"))]
        let tls = None;
        #[cfg(feature = "oauth")]
        let idp = match self.oauth {
            Some(idp) => Some(idp.port(self.oauth_port).clock(self.clock.clone()).start(tls.clone())?),
            None => None,
        };
        #[cfg(feature = "oauth")]
        let gate = Gate::new(self.auth, idp.as_ref().map(MockIdp::issued));
        #[cfg(not(feature = "oauth"))]
        let gate = Gate::new(self.auth);
        for key in self.keys {
            if key.is_incomplete() {
                return Err(StartError::Incomplete("a key must not be empty"));
            }
            gate.add(key, self.clock.now());
        }
        let bound = Bound::new(self.port, tls)?;
        #[cfg(feature = "oauth")]
        let issuer = idp.as_ref().map(|idp| idp.issuer().to_owned());
        #[cfg(not(feature = "oauth"))]
        let issuer = None;
        let resource = self.resource_metadata.then(|| Resource { url: bound.url(), issuer });
        let llm = Arc::new(Llm {
            gate,
            rules,
            faithful: self.faithful,
            body_limit: self.body_limit,
            clock: self.clock,
            ids: Ids::default(),
            log: Log::default(),
            observer: self.observer,
            failed_once: Mutex::new(HashSet::new()),
            failing: Faults::default(),
            limiter: self.limiter,
            resource,
        });
        let control = self.control.then(|| {
            Arc::new(Control {
                llm: Arc::clone(&llm),
                #[cfg(feature = "oauth")]
                idp: idp.as_ref().map(MockIdp::view),
            })
        });
        let serving = Arc::clone(&llm);
        let host =
            bound.serve(move |request| control::answer(Arc::clone(&serving), control.clone(), request))?;
        Ok(MockServer {
            host,
            llm,
            #[cfg(feature = "oauth")]
            idp,
        })
    }
}

/// A running server. Dropping it closes its ports and connections, and then panics where fixtures did
/// not answer as often as they were to, unless the thread is panicking already.
pub struct MockServer {
    pub(crate) host: Host,
    pub(crate) llm: Arc<Llm>,
    #[cfg(feature = "oauth")]
    pub(crate) idp: Option<MockIdp>,
}

impl MockServer {
    /// A server that asks for no credential and words errors as the providers really do.
    ///
    /// # Panics
    /// When no port of 127.0.0.1 is free; [`ServerBuilder::build`] says so instead.
    pub async fn start() -> Self {
        ServerBuilder::new().faithful().build().await.expect("a free port on 127.0.0.1")
    }

    /// The address, such as `http://127.0.0.1:12345`.
    pub fn url(&self) -> String {
        self.host.url()
    }

    /// The clock that everything here goes by, the OAuth server included.
    pub fn clock(&self) -> &VirtualClock {
        &self.llm.clock
    }

    /// Goes on with these fixtures, and with nothing of what the old ones had counted, which states they had
    /// set and what was expected of them.
    ///
    /// # Errors
    /// [`StartError::Fixture`] when one of them cannot do what it says; then the old ones go on.
    pub fn set_fixtures(&self, fixtures: impl IntoIterator<Item = Fixture>) -> Result<(), StartError> {
        self.llm.rules.replace(fixtures.into_iter().collect())
    }

    /// Answers the next `requests` well-formed LLM requests with that error.
    pub fn fail_next(&self, requests: usize, error: ApiError) {
        self.llm.failing.add(requests, error);
    }

    /// Begins anew: keys have what they had when they were added, fixtures and limits begin again,
    /// names are counted from 1, models that fail once do so again, and no request is remembered. The OAuth
    /// server is reset too (`MockIdp::reset`).
    pub fn reset(&self) {
        self.llm.reset();
        #[cfg(feature = "oauth")]
        self.idp.iter().for_each(MockIdp::reset);
    }

    /// What was asked of the LLM routes, oldest first; at most the last
    /// [`CAPACITY`](crate::CAPACITY) requests.
    pub fn requests(&self) -> Requests {
        self.llm.log.requests()
    }

    /// How many requests came for that path, to this server and to its OAuth server.
    pub fn count(&self, path: &str) -> u64 {
        let here = self.llm.log.count(path);
        #[cfg(feature = "oauth")]
        let here = here + self.idp.as_ref().map_or(0, |idp| idp.count(path));
        here
    }

    /// Closes the ports, waits a few seconds at most for answers under way, and then does what dropping does.
    pub async fn shutdown(self) {
        self.host.drain().await;
        #[cfg(feature = "oauth")]
        if let Some(idp) = &self.idp {
            idp.drain().await;
        }
    }

    /// [`MockServer::shutdown`] from a test that is not asynchronous.
    pub fn shutdown_blocking(mut self) {
        self.host.drain_blocking();
        #[cfg(feature = "oauth")]
        if let Some(idp) = &mut self.idp {
            idp.drain_blocking();
        }
    }
}

impl fmt::Debug for MockServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockServer").field("url", &self.url()).finish_non_exhaustive()
    }
}
