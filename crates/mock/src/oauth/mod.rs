//! The OAuth 2.0 and OpenID Connect server.

mod assertion;
mod authorize;
mod beside;
mod builder;
mod claims;
mod client;
mod client_auth;
mod code;
mod consent;
mod copilot;
mod cors;
mod device;
mod device_page;
mod discovery;
mod dpop;
mod end_session;
mod error;
mod exchange;
mod github;
mod handle;
mod introspect;
mod job;
mod jwt_bearer;
mod keys;
mod ledger;
mod login;
mod mint;
mod page;
mod possession;
mod preset;
mod register;
mod routes;
mod script;
mod token;
mod user;
mod userinfo;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::{Method, StatusCode};
use serde_json::{Map, Value};

use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::desk::Desk;
use assertion::{Seen, Trusted};
use builder::Settings;
use client::Clients;
use code::Codes;
use device::Devices;
use keys::KeySet;
use login::Logins;
use preset::Offline;
use routes::{Endpoint, Routes};
use script::Script;

pub use builder::IdpBuilder;
pub use client::{GrantType, OAuthClient, OAuthConfig};
pub use device::{DevicePoll, UnknownUserCode};
pub use dpop::{DpopKey, DpopProof};
pub use handle::MockIdp;
pub use job::JOB_REQUEST_TOKEN;
pub use keys::Algorithm;
pub(crate) use ledger::IssuedTokens;
pub use ledger::RefreshPolicy;
pub use mint::{Mint, TokenFault};
pub use preset::Preset;
pub use user::User;

/// All issuers of one port.
struct Server {
    desk: Arc<Desk>,
    main: Arc<Idp>,
    others: Vec<(String, Arc<Idp>)>,
}

impl Server {
    fn answer(&self, request: &Recorded) -> Answer {
        let all = std::iter::once(&self.main).chain(self.others.iter().map(|(_, idp)| idp));
        let found = all.into_iter().find_map(|idp| Some((idp, idp.routes.find(request.path())?)));
        let (idp, endpoint) = found.map_or((&self.main, None), |(idp, endpoint)| (idp, Some(endpoint)));
        if idp.down.load(Ordering::Acquire) {
            return answer::text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "down");
        }
        match endpoint {
            Some(endpoint) => {
                let answer = cors::preflight(endpoint, request);
                let answer = answer.unwrap_or_else(|| idp.answer(endpoint, request));
                cors::readable(endpoint, request, answer)
            }
            None => answer::json(StatusCode::NOT_FOUND, r#"{"error":"not_found"}"#),
        }
    }
}

/// One issuer.
#[derive(Debug)]
struct Idp {
    routes: Routes,
    settings: Settings,
    clients: Clients,
    logins: Logins,
    trusted: Mutex<Vec<Trusted>>,
    keys: Mutex<KeySet>,
    issued: Arc<IssuedTokens>,
    codes: Codes,
    devices: Devices,
    /// Assertions and proofs that were used.
    seen: Seen,
    user: Mutex<User>,
    counter: AtomicU64,
    /// How many nonces there were; with none, none is asked for.
    nonces: AtomicU64,
    down: AtomicBool,
    deny_next: AtomicBool,
    script: Script,
    desk: Arc<Desk>,
}

impl Idp {
    fn answer(self: &Arc<Self>, endpoint: Endpoint, request: &Recorded) -> Answer {
        let is_get = request.method() == Method::GET;
        match endpoint {
            Endpoint::Metadata | Endpoint::SharedMetadata | Endpoint::Jwks if !is_get => {
                answer::json(StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"invalid_request"}"#)
            }
            Endpoint::Metadata => discovery::metadata(self),
            Endpoint::SharedMetadata => discovery::shared(self),
            Endpoint::Jwks => answer::json(StatusCode::OK, answer::write(&self.keys().published())),
            Endpoint::Authorize => authorize::authorize(self, request),
            Endpoint::Token => token::token(self, request),
            Endpoint::Userinfo => userinfo::userinfo(self, request),
            Endpoint::DeviceAuthorization => device::start(self, request),
            Endpoint::DevicePage => device_page::device(self, request),
            Endpoint::Introspect => introspect::introspect(self, request),
            Endpoint::Revoke => introspect::revoke(self, request),
            Endpoint::EndSession => end_session::end_session(self, request),
            Endpoint::Register => register::register(self, request),
            Endpoint::GitHubApi => github::api(self, request),
            Endpoint::GitHubCheck => github::check(self, request),
            Endpoint::Copilot => copilot::token(self, request),
            Endpoint::JobToken => job::of_job(self, request),
            Endpoint::Mint => job::for_shell(self, request),
        }
    }

    fn issuer(&self) -> &str {
        &self.routes.issuer
    }

    fn user(&self) -> User {
        self.user.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keys(&self) -> MutexGuard<'_, KeySet> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> SystemTime {
        self.desk.clock.now()
    }

    fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The members of the metadata that a test has chosen.
    fn overridden(&self) -> Map<String, Value> {
        self.script.metadata.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn dpop_nonce(&self) -> Option<String> {
        let number = self.nonces.load(Ordering::Acquire);
        (number > 0).then(|| format!("nonce-mock-{number}"))
    }

    /// The claims of a token that this issuer signed, expired or not.
    fn own_claims(&self, token: &str) -> Option<Map<String, Value>> {
        assertion::verified(token, &self.keys().jwks())
    }

    /// The claims of a token that an issuer signed whose assertions are taken.
    fn trusted_claims(&self, token: &str) -> Option<Map<String, Value>> {
        let issuer = assertion::unverified(token)?.get("iss")?.as_str()?.to_owned();
        let trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = trusted.iter().filter(|trusted| trusted.issuer == issuer);
        known.find_map(|trusted| assertion::verified(token, &trusted.keys))
    }

    /// Whether a consent to these scopes gives a refresh token. `asked`: the request asked for one, where
    /// that is a parameter of its own.
    fn is_offline(&self, client: &OAuthClient, scopes: &[String], asked: bool) -> bool {
        let wanted = match self.settings.profile.offline {
            Offline::Always => true,
            Offline::Scope => scopes.iter().any(|scope| scope == "offline_access"),
            Offline::AccessType => asked,
            Offline::Never => false,
        };
        wanted && client.may_use(GrantType::RefreshToken)
    }

    /// Scopes as a list with spaces; GitHub's may have commas.
    fn scope_list<'s>(&self, scopes: &'s str) -> Cow<'s, str> {
        if self.settings.profile.metadata { scopes.into() } else { scopes.replace(',', " ").into() }
    }
}
