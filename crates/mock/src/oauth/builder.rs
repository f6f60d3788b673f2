//! What is chosen before an identity provider starts.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use portunus_auth_core::BearerToken;
use serde_json::Value;

use super::assertion::{Seen, Trusted};
use super::client::{Clients, GrantType, OAuthClient, OAuthConfig};
use super::code::Codes;
use super::device::Devices;
use super::handle::MockIdp;
use super::keys::{Algorithm, KeySet};
use super::ledger::RefreshPolicy;
use super::login::Logins;
use super::preset::{Preset, Profile};
use super::routes::Routes;
use super::script::Script;
use super::user::User;
use super::{Idp, Server};
use crate::capture::Recorded;
use crate::clock::VirtualClock;
use crate::desk::Desk;
use crate::error::StartError;
use crate::host::Bound;
use crate::observer::Observer;
use crate::tls::Tls;

const TOKEN_TTL: Duration = Duration::from_secs(3_600);
const REFRESH_TTL: Duration = Duration::from_secs(30 * 24 * 3_600);
const DEVICE_TTL: Duration = Duration::from_secs(1_800);
const DEVICE_INTERVAL: Duration = Duration::from_secs(5);
/// The directory that Entra imitates, unless the tenant has a name.
const DIRECTORY: &str = "11111111-2222-3333-4444-555555555555";

/// What is chosen for one issuer, and does not change while it runs.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) profile: &'static Profile,
    pub(super) audience: String,
    pub(super) token_ttl: Duration,
    pub(super) refresh_ttl: Duration,
    pub(super) refresh_policy: RefreshPolicy,
    pub(super) device_ttl: Duration,
    pub(super) device_interval: Duration,
    pub(super) algorithm: Algorithm,
    pub(super) grants: Vec<GrantType>,
    pub(super) needs_pkce: bool,
    pub(super) opaque: bool,
    /// Entra's tenant id.
    pub(super) directory: String,
    /// Where Copilot's API is, for users of GitHub who have it.
    pub(super) copilot: Option<String>,
}

/// What is chosen before an identity provider starts.
#[derive(Debug)]
pub struct IdpBuilder {
    clock: VirtualClock,
    port: u16,
    preset: Preset,
    clients: Vec<OAuthClient>,
    user: Option<User>,
    accounts: Vec<(User, BearerToken)>,
    trusted: Vec<(String, Value)>,
    tenants: Vec<(String, IdpBuilder)>,
    settings: Settings,
    dpop_nonces: bool,
    observer: Observer,
    #[cfg(feature = "tls")]
    https: bool,
}

impl IdpBuilder {
    pub(super) fn new() -> Self {
        let profile = Preset::Oidc.profile();
        Self {
            clock: VirtualClock::running(),
            port: 0,
            preset: Preset::Oidc,
            clients: Vec::new(),
            user: None,
            accounts: Vec::new(),
            trusted: Vec::new(),
            tenants: Vec::new(),
            settings: Settings {
                profile,
                audience: profile.own_audience.to_owned(),
                token_ttl: TOKEN_TTL,
                refresh_ttl: REFRESH_TTL,
                refresh_policy: RefreshPolicy::default(),
                device_ttl: DEVICE_TTL,
                device_interval: DEVICE_INTERVAL,
                algorithm: Algorithm::default(),
                grants: profile.grants.to_vec(),
                needs_pkce: profile.needs_pkce,
                opaque: false,
                directory: DIRECTORY.to_owned(),
                copilot: None,
            },
            dpop_nonces: false,
            observer: Observer::default(),
            #[cfg(feature = "tls")]
            https: false,
        }
    }

    /// Imitates a large provider. Choose it first: it also sets the audience, and whether
    /// PKCE is required.
    #[must_use]
    pub fn preset(mut self, preset: Preset) -> Self {
        let profile = preset.profile();
        self.preset = preset;
        self.settings.profile = profile;
        self.settings.grants = profile.grants.to_vec();
        self.settings.needs_pkce = profile.needs_pkce;
        profile.own_audience.clone_into(&mut self.settings.audience);
        self
    }

    /// Where every time and expiry comes from.
    #[must_use]
    pub fn clock(mut self, clock: impl Into<VirtualClock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// The port on 127.0.0.1; 0, the default, is any.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Adds a client. Without any client there is [`OAuthConfig::default`].
    #[must_use]
    pub fn client(mut self, client: impl Into<OAuthClient>) -> Self {
        self.clients.push(client.into());
        self
    }

    /// Adds a client without a secret, such as a command line tool.
    #[must_use]
    pub fn public_client<S: Into<String>>(
        self,
        id: impl Into<String>,
        redirect_uris: impl IntoIterator<Item = S>,
        scopes: impl IntoIterator<Item = S>,
    ) -> Self {
        let client = OAuthClient::new(id).scopes(scopes);
        self.client(redirect_uris.into_iter().fold(client, |client, uri| client.redirect_uri(uri)))
    }

    /// Who signs in without being asked.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.user = Some(user);
        self
    }

    /// Adds somebody who signs in with their subject and that password. With any account, `/authorize`
    /// and `/device` ask who it is.
    #[must_use]
    pub fn account(mut self, user: User, password: impl Into<String>) -> Self {
        self.accounts.push((user, BearerToken::new(password)));
        self
    }

    /// Takes assertions of that issuer, signed by one of the keys of that JWK set (RFC 7523, RFC 8693).
    #[must_use]
    pub fn trust(mut self, issuer: impl Into<String>, jwks: Value) -> Self {
        self.trusted.push((issuer.into(), jwks));
        self
    }

    /// Adds an issuer with a path of that name, and clients, users and keys of its own. Its clock and its
    /// port are those of the whole. For [`Preset::Entra`] the name is the directory's id.
    #[must_use]
    pub fn tenant(mut self, name: impl Into<String>, tenant: IdpBuilder) -> Self {
        self.tenants.push((name.into(), tenant));
        self
    }

    /// The audience of access tokens.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.settings.audience = audience.into();
        self
    }

    /// How long access and ID tokens live.
    #[must_use]
    pub fn token_ttl(mut self, ttl: Duration) -> Self {
        self.settings.token_ttl = ttl;
        self
    }

    /// How long a refresh token lives, from when it was issued: 30 days by default.
    #[must_use]
    pub fn refresh_ttl(mut self, ttl: Duration) -> Self {
        self.settings.refresh_ttl = ttl;
        self
    }

    /// What becomes of a refresh token that is used.
    #[must_use]
    pub fn refresh_policy(mut self, policy: RefreshPolicy) -> Self {
        self.settings.refresh_policy = policy;
        self
    }

    /// How long a device code lives (30 minutes by default), and the least time between two polls
    /// (5 seconds). With an interval of zero no poll is too early.
    #[must_use]
    pub fn device(mut self, ttl: Duration, interval: Duration) -> Self {
        self.settings.device_ttl = ttl;
        self.settings.device_interval = interval;
        self
    }

    /// How tokens are signed.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.settings.algorithm = algorithm;
        self
    }

    /// Takes authorization requests without PKCE. One that has a challenge still needs its verifier.
    #[must_use]
    pub fn pkce_optional(mut self) -> Self {
        self.settings.needs_pkce = false;
        self
    }

    /// Access tokens are text that only introspection explains.
    #[must_use]
    pub fn opaque_access_tokens(mut self) -> Self {
        self.settings.opaque = true;
        self
    }

    /// With [`Preset::GitHub`], users have Copilot, whose API is at that address.
    #[must_use]
    pub fn copilot(mut self, api: impl Into<String>) -> Self {
        self.settings.copilot = Some(api.into());
        self
    }

    /// DPoP proofs have to contain a nonce of the server (RFC 9449 §8).
    #[must_use]
    pub fn dpop_nonces(mut self) -> Self {
        self.dpop_nonces = true;
        self
    }

    /// Calls that with each request to the port as its answer begins, on the server's thread. A tenant's
    /// own is not called.
    #[must_use]
    pub fn observe(mut self, observe: impl Fn(&Recorded) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observe);
        self
    }

    /// Serves HTTPS. The certificate's CA is that of the LLM server beside it, or one of its own
    /// ([`MockIdp::ca_pem`]).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.https = true;
        self
    }

    /// Starts the identity provider.
    ///
    /// # Errors
    /// [`StartError`] when the port is taken, or a client, a tenant or a key set is incomplete.
    pub fn build(self) -> Result<MockIdp, StartError> {
        self.start(None)
    }

    /// Starts it, with that certificate if there is one.
    pub(crate) fn start(mut self, tls: Option<Tls>) -> Result<MockIdp, StartError> {
        #[cfg(feature = "tls")]
        let tls = match tls {
            None if self.https => Some(Tls::generate()?),
            tls => tls,
        };
        let desk = Arc::new(Desk::new(self.clock.clone(), self.observer.clone()));
        let tenants = std::mem::take(&mut self.tenants);
        let bound = Bound::new(self.port, tls)?;
        let origin = bound.url();
        let main = self.issuer(&desk, &origin, "")?;
        let mut others = Vec::new();
        for (name, tenant) in tenants {
            let is_segment = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if name.is_empty() || !is_segment || !tenant.tenants.is_empty() {
                return Err(StartError::Incomplete("a tenant needs a name for a path, and has no tenants"));
            }
            others.push((name.clone(), tenant.issuer(&desk, &origin, &name)?));
        }
        let server = Arc::new(Server { desk, main, others });
        let serving = Arc::clone(&server);
        let host = bound.serve(move |request| {
            let server = Arc::clone(&serving);
            async move { server.desk.serve(request, |request| server.answer(request)).await }
        })?;
        Ok(MockIdp::serving(host, &server))
    }

    fn issuer(self, desk: &Arc<Desk>, origin: &str, tenant: &str) -> Result<Arc<Idp>, StartError> {
        let mut clients = self.clients;
        if clients.is_empty() {
            clients.push(OAuthConfig::default().into());
        }
        let clients = clients.into_iter().map(OAuthClient::checked).collect::<Result<Vec<_>, _>>()?;
        let mut settings = self.settings;
        let is_entra = self.preset == Preset::Entra;
        if is_entra && !tenant.is_empty() {
            tenant.clone_into(&mut settings.directory);
        }
        let base = match tenant {
            _ if is_entra => format!("/{}", settings.directory),
            "" => String::new(),
            name => format!("/{name}"),
        };
        let trust = |(issuer, jwks)| {
            let keys: Result<JwkSet, _> = serde_json::from_value(jwks);
            let keys = keys.map_err(|_| StartError::Incomplete("a trusted issuer's keys are no JWK set"))?;
            Ok(Trusted { issuer, keys })
        };
        let trusted = self.trusted.into_iter().map(trust).collect::<Result<_, StartError>>()?;
        Ok(Arc::new(Idp {
            routes: Routes::new(origin, &base, settings.profile),
            keys: Mutex::new(KeySet::new(settings.profile.algorithms)),
            settings,
            clients: Clients::new(clients),
            logins: Logins::new(self.accounts),
            trusted: Mutex::new(trusted),
            issued: Arc::default(),
            codes: Codes::default(),
            devices: Devices::default(),
            seen: Seen::default(),
            user: Mutex::new(self.user.unwrap_or_else(|| self.preset.user())),
            counter: AtomicU64::new(0),
            nonces: AtomicU64::new(self.dpop_nonces.into()),
            down: AtomicBool::new(false),
            deny_next: AtomicBool::new(false),
            script: Script::default(),
            desk: Arc::clone(desk),
        }))
    }
}
