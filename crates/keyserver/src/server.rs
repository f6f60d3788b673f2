//! The key server as one value: what the gateway and the HTTP routes call.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_auth_core::audit::{Actor, EventKind, RequestId};
use portunus_auth_core::{
    AuditSink, AuthError, Authenticator, BearerToken, Clock, ConfigProblem, Outcome, Principal, Reason,
    SecretRef, SecretSource, Trail, Via,
};
use portunus_store::{Store, StoreError};

use crate::config::Config;
use crate::exchange::{ExchangeError, IssuedKey, TokenRequest, conclude, exchange};
use crate::expiring::Expiring;
use crate::fetch::Fetch;
use crate::identity::Identity;
use crate::issuer::{Issuer, TokenKind};
use crate::jose::{Refused, UnverifiedJwt, sha256};
use crate::jwk::KeySet;
use crate::jwks::{IssuerDown, Jwks};
use crate::key::{PREFIX, Pepper};
use crate::keys::{Keys, Listener, Revoke};
use crate::policy::{Decision, NotAdmitted, Policies};
use crate::replay::Replay;

/// Where the pepper is kept when the configuration names none.
const PEPPER: &str = "ks/pepper";

/// The fewest characters of configured secrets.
const MIN_PEPPER: usize = 32;
const MIN_ADMIN_TOKEN: usize = 16;

/// The most tokens whose verification is remembered.
const MAX_VERIFIED: usize = 10_000;

/// What a key server is put together from.
#[expect(missing_debug_implementations, reason = "a source of secrets has nothing to show")]
pub struct Parts<'a> {
    /// Where keys are kept. All servers that share it share their keys.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where every decision is told.
    pub audit: Arc<dyn AuditSink>,
    /// What the secrets in the configuration refer to.
    pub secrets: &'a dyn SecretSource,
}

/// Who is asking, as far as the connection shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// The peer's address.
    pub ip: Option<IpAddr>,
    /// The name of the request.
    pub request_id: Option<RequestId>,
}

/// Why there is no key server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The configuration is wrong, in these places.
    #[error("the configuration is wrong in {} places", .0.len())]
    Config(Vec<ConfigProblem>),
    /// The keys cannot be read.
    #[error("the keys cannot be read")]
    Store(#[from] StoreError),
}

/// A key server. Cheap to clone; all clones are the same server.
#[derive(Clone)]
pub struct KeyServer(Arc<Inner>);

struct Inner {
    audience: String,
    longest: Duration,
    cap: NonZeroUsize,
    issuers: Vec<Trusted>,
    policies: Policies,
    keys: Arc<Keys>,
    replay: Replay,
    verified: Expiring<Verified>,
    admin: Option<[u8; 32]>,
    clock: Arc<dyn Clock>,
    audit: Arc<dyn AuditSink>,
    _listener: Listener,
}

/// An issuer and its keys.
struct Trusted {
    issuer: Issuer,
    jwks: Jwks,
}

/// A token that was verified, and with what: other keys, and it must be verified again.
struct Verified {
    principal: Arc<Principal>,
    place: usize,
    keys: Arc<KeySet>,
}

/// Why it is not known whose token this is.
#[derive(Debug)]
pub(crate) enum NotIdentified {
    /// The token is no good.
    Refused(Refused),
    /// It cannot be told.
    Unavailable(IssuerDown),
}

impl From<Refused> for NotIdentified {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Where an identity comes from: its issuer's place, and the keys that proved it.
pub(crate) struct Proof {
    place: usize,
    keys: Arc<KeySet>,
}

impl KeyServer {
    /// Checks the configuration and reads all live keys. Needs no issuer to be up: their keys are fetched
    /// when a token of theirs comes.
    ///
    /// # Errors
    /// [`SetupError`], with everything that is wrong with the configuration.
    pub async fn new(config: Config, parts: Parts<'_>) -> Result<Self, SetupError> {
        let mut problems = Vec::new();
        let checked = config.check().map_err(|found| problems = found);
        let mut secret = |at: &str, reference: Option<&SecretRef>, shortest: usize| {
            let found = reference.map(|reference| resolve(reference, parts.secrets, shortest)).transpose();
            found.unwrap_or_else(|says| {
                problems.push(ConfigProblem::new(format!("key_server.{at}"), says));
                None
            })
        };
        let settings = &config.key_server;
        let admin = settings.admin.as_ref().map(|admin| &admin.bearer_token);
        let admin = secret("admin.bearer_token", admin, MIN_ADMIN_TOKEN);
        let pepper = secret("pepper", settings.pepper.as_ref(), MIN_PEPPER);
        let fetch = Fetch::new().map_err(|error| problems.push(ConfigProblem::new("key_server", error)));
        let (Ok(checked), Ok(fetch), true) = (checked, fetch, problems.is_empty()) else {
            return Err(SetupError::Config(problems));
        };

        let Parts { store, clock, audit, .. } = parts;
        let pepper = match pepper {
            Some(text) => Pepper::new(text.expose().as_bytes()),
            None => kept_pepper(&*store).await?,
        };
        let (keys, listener) = Keys::open(store.clone(), clock.clone(), pepper).await?;
        let trust = |(issuer, source)| Trusted {
            issuer,
            jwks: Jwks::new(source, fetch.clone(), clock.clone(), audit.clone()),
        };
        Ok(Self(Arc::new(Inner {
            audience: config.key_server.audience,
            longest: config.key_server.token_ttl.get(),
            cap: config.key_server.max_keys_per_identity,
            issuers: checked.issuers.into_iter().map(trust).collect(),
            policies: checked.policies,
            keys,
            replay: Replay(store),
            verified: Expiring::of_at_most(MAX_VERIFIED),
            admin: admin.map(|token| sha256(token.expose().as_bytes())),
            clock,
            audit,
            _listener: listener,
        })))
    }

    /// Who holds this key of ours. Answers from memory.
    ///
    /// # Errors
    /// [`AuthError::Malformed`] when it cannot be one of our keys, [`AuthError::Unknown`],
    /// [`AuthError::Expired`] or [`AuthError::Revoked`].
    pub fn find(&self, token: &BearerToken) -> Result<Arc<Principal>, AuthError> {
        self.0.keys.find(token, self.now())
    }

    /// Who presents this token of a configured issuer as a credential, and what the policies grant them.
    ///
    /// # Errors
    /// [`AuthError`]; [`AuthError::Unavailable`] when its issuer's keys cannot be had.
    pub async fn verify(&self, token: &BearerToken) -> Result<Arc<Principal>, AuthError> {
        if let Some(principal) = self.verified(token) {
            return Ok(principal);
        }
        let (identity, proof) = self.identify(token, TokenKind::Any).await.map_err(|why| match why {
            NotIdentified::Unavailable(down) => AuthError::Unavailable(down.into()),
            NotIdentified::Refused(Refused::Malformed) => AuthError::Malformed,
            NotIdentified::Refused(Refused::Expired) => AuthError::Expired,
            NotIdentified::Refused(_) => AuthError::Unknown,
        })?;
        let now = self.now();
        // The leeway is for exchanges; a token used as a credential ends when it says.
        if identity.expires_at() <= now {
            return Err(AuthError::Expired);
        }
        let mut grant = self.decide(&identity, None, now).map_err(|_| AuthError::NotAdmitted)?.grant;
        grant.expires_at = grant.expires_at.min(identity.expires_at());
        let until = grant.expires_at;
        let principal = Arc::new(Principal::authenticated((**identity.id()).clone(), grant, Via::Jwt));
        let Proof { place, keys } = proof;
        let verified = Verified { principal: principal.clone(), place, keys };
        self.0.verified.set(sha256(token.expose().as_bytes()), verified, until, now);
        Ok(principal)
    }

    /// What [`KeyServer::verify`] found for this very token before, as long as it still holds. Does not
    /// wait.
    pub fn verified(&self, token: &BearerToken) -> Option<Arc<Principal>> {
        let now = self.now();
        let good = |verified: &Verified| {
            let keys = self.0.issuers.get(verified.place)?.jwks.held()?;
            let is_current =
                Arc::ptr_eq(&keys, &verified.keys) && now < verified.principal.grant().expires_at;
            is_current.then(|| verified.principal.clone())
        };
        self.0.verified.get(&sha256(token.expose().as_bytes()), good).flatten()
    }

    /// Exchanges an identity token for a key. Leaves exactly one audit event, also when it is dropped.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub async fn exchange(&self, request: TokenRequest, from: Peer) -> Result<IssuedKey, ExchangeError> {
        let mut trail = self.trail(EventKind::TokenDenied, from).map_err(ExchangeError::audit)?;
        let result = exchange(self, &request, &mut trail).await;
        conclude(trail, &result);
        result
    }

    /// Revokes keys. When this returns they do not work here any more, and the other servers that share
    /// the store are told. Answers how many were alive. Leaves exactly one audit event.
    ///
    /// # Errors
    /// [`StoreError`] when it is not certain that they are gone, or when it could not be audited; repeat
    /// it then.
    pub async fn revoke(&self, which: Revoke) -> Result<usize, StoreError> {
        let trail = self.trail(EventKind::TokenRevoked, Peer::default());
        let mut trail = trail.map_err(|full| StoreError::Unavailable(full.into()))?;
        let revoked = self.revoke_as(Actor::System, &which, &mut trail).await;
        trail.finish(revocation(&revoked));
        revoked
    }

    /// Revokes, noting in the trail whose keys and how many.
    pub(crate) async fn revoke_as(
        &self,
        actor: Actor,
        which: &Revoke,
        trail: &mut Trail,
    ) -> Result<usize, StoreError> {
        let event = trail.event();
        event.actor = Some(actor);
        match which {
            Revoke::Key(jti) => event.target.jti = Some(jti.clone()),
            Revoke::Owner(owner) => event.target.owner = Some(Arc::new(owner.clone())),
        }
        let revoked = self.0.keys.revoke(which).await;
        trail.event().target.revoked = revoked.as_ref().ok().copied();
        revoked
    }

    /// Whose token this is.
    pub(crate) async fn identify(
        &self,
        token: &BearerToken,
        kind: TokenKind,
    ) -> Result<(Identity, Proof), NotIdentified> {
        let jwt = UnverifiedJwt::read(token)?;
        let claimed = jwt.issuer()?;
        let place = self.0.issuers.iter().position(|trusted| trusted.issuer.url() == claimed);
        let place = place.ok_or(Refused::UnknownIssuer)?;
        let Trusted { issuer, jwks } = &self.0.issuers[place];
        if !issuer.allows(jwt.algorithm()) {
            return Err(Refused::UnsupportedAlgorithm.into());
        }
        let mut keys = jwks.current().await.map_err(NotIdentified::Unavailable)?;
        let mut found = issuer.verify(&jwt, kind, &keys, self.now());
        if matches!(found, Err(Refused::UnknownKey))
            && let Some(newer) = jwks.newer(jwt.key_id(), &keys).await
        {
            found = issuer.verify(&jwt, kind, &newer, self.now());
            keys = newer;
        }
        Ok((found?, Proof { place, keys }))
    }

    pub(crate) fn decide(
        &self,
        identity: &Identity,
        named: Option<&str>,
        now: SystemTime,
    ) -> Result<Decision, NotAdmitted> {
        self.0.policies.decide(identity, named, self.0.longest, now)
    }

    /// Begins the one audit event of a request.
    pub(crate) fn trail(&self, kind: EventKind, from: Peer) -> Result<Trail, portunus_auth_core::AuditFull> {
        let mut trail = Trail::begin(self.0.audit.clone(), self.0.clock.clone(), kind)?;
        trail.event().peer = from.ip;
        Ok(trail)
    }

    /// Whether this is the administrator's token. Compares digests, so that the time it takes says
    /// nothing about how much of a guess was right. Without a configured one, no token is.
    pub fn is_admin(&self, token: &BearerToken) -> bool {
        let presented = sha256(token.expose().as_bytes());
        self.0
            .admin
            .as_ref()
            .is_some_and(|admin| aws_lc_rs::constant_time::verify_slices_are_equal(admin, &presented).is_ok())
    }

    pub(crate) fn audience(&self) -> &str {
        &self.0.audience
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(crate) fn replay(&self) -> &Replay {
        &self.0.replay
    }

    pub(crate) fn cap(&self) -> NonZeroUsize {
        self.0.cap
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.0.clock.now()
    }
}

impl fmt::Debug for KeyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyServer").field("audience", &self.0.audience).finish_non_exhaustive()
    }
}

/// Our own keys, and tokens of configured issuers used as they are.
#[async_trait::async_trait]
impl Authenticator for KeyServer {
    async fn authenticate(&self, token: &BearerToken) -> Result<Arc<Principal>, AuthError> {
        if token.expose().starts_with(PREFIX) { self.find(token) } else { self.verify(token).await }
    }
}

/// How a revocation ended, for the audit.
pub(crate) fn revocation(revoked: &Result<usize, StoreError>) -> Outcome {
    match revoked {
        Ok(0) => Outcome::Refused(Reason::NotFound),
        Ok(_) => Outcome::Allowed,
        Err(_) => Outcome::Failed(Reason::StoreUnavailable),
    }
}

/// A secret of at least so many characters.
fn resolve(reference: &SecretRef, source: &dyn SecretSource, shortest: usize) -> Result<BearerToken, String> {
    let secret = reference.resolve(source).map_err(|error| error.to_string())?;
    let secret = BearerToken::from(secret);
    if secret.expose().len() < shortest {
        return Err(format!(
            "this secret is too short to resist guessing; use at least {shortest} characters"
        ));
    }
    Ok(secret)
}

/// The pepper in the store, made by whoever comes first.
async fn kept_pepper(store: &dyn Store) -> Result<Pepper, StoreError> {
    let mut fresh = [0; 32];
    aws_lc_rs::rand::fill(&mut fresh).map_err(|error| StoreError::Unavailable(error.into()))?;
    if store.put_if_absent(PEPPER, &fresh, None).await? {
        return Ok(Pepper::new(&fresh));
    }
    match store.get(PEPPER).await? {
        Some(kept) if kept.len() == fresh.len() => Ok(Pepper::new(&kept)),
        _ => Err(StoreError::Corrupt("the pepper has another length".into())),
    }
}
