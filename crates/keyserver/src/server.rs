//! The key server as one value: what the gateway and the HTTP routes call.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_auth_core::audit::{Actor, EventKind, RequestId};
use portunus_auth_core::{
    AuditSink, AuthError, Authenticator, BearerToken, BoxError, Clock, ConfigProblem, Outcome, Principal,
    Reason, SecretRef, SecretSource, Trail,
};
use portunus_store::{Store, StoreError};

use crate::check::Checked;
use crate::config::Config;
use crate::exchange::{ExchangeError, IssuedKey, TokenRequest, conclude, exchange};
use crate::fetch::Fetch;
use crate::identity::Identity;
use crate::issuer::{Issuer, TokenKind};
use crate::jose::{Refused, UnverifiedJwt};
use crate::jwks::{IssuerDown, Jwks};
use crate::key::{AdminToken, Pepper, TooShort, is_ours};
use crate::keys::{Keys, Listener, Revoke};
use crate::policy::{Decision, Policies};
use crate::replay::Replay;
use crate::verified::{Proof, VerifiedTokens};

/// Where the pepper is kept when the configuration names none.
const PEPPER: &str = "ks/pepper";

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
pub struct KeyServer(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) audience: String,
    longest: Duration,
    pub(crate) cap: NonZeroUsize,
    issuers: Vec<Trusted>,
    policies: Policies,
    pub(crate) keys: Arc<Keys>,
    pub(crate) replay: Replay,
    verified: VerifiedTokens,
    admin: Option<AdminToken>,
    clock: Arc<dyn Clock>,
    audit: Arc<dyn AuditSink>,
    _listener: Listener,
}

/// An issuer and its keys.
struct Trusted {
    issuer: Issuer,
    jwks: Jwks,
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

/// A configuration without a problem, and the secrets it refers to.
struct Sound {
    checked: Checked,
    admin: Option<AdminToken>,
    pepper: Option<Pepper>,
}

impl Config {
    /// Everything that is wrong with it, without opening anything but the secrets it refers to.
    pub fn problems(&self, secrets: &dyn SecretSource) -> Vec<ConfigProblem> {
        self.sound(secrets).err().unwrap_or_default()
    }

    fn sound(&self, secrets: &dyn SecretSource) -> Result<Sound, Vec<ConfigProblem>> {
        let mut problems = Vec::new();
        let checked = self.check().map_err(|found| problems = found);
        let admin = self.key_server.admin.as_ref().map(|admin| &admin.bearer_token);
        let admin = secret(admin, secrets, AdminToken::new)
            .map_err(|says| problems.push(ConfigProblem::new("key_server.admin.bearer_token", says)));
        let pepper = secret(self.key_server.pepper.as_ref(), secrets, Pepper::configured)
            .map_err(|says| problems.push(ConfigProblem::new("key_server.pepper", says)));
        match (checked, admin, pepper) {
            (Ok(checked), Ok(admin), Ok(pepper)) => Ok(Sound { checked, admin, pepper }),
            _ => Err(problems),
        }
    }
}

impl KeyServer {
    /// Checks the configuration and reads all live keys. Needs no issuer to be up: their keys are fetched
    /// when a token of theirs comes.
    ///
    /// # Errors
    /// [`SetupError`], with everything that is wrong with the configuration.
    pub async fn new(config: Config, parts: Parts<'_>) -> Result<Self, SetupError> {
        let Sound { checked, admin, pepper } = config.sound(parts.secrets).map_err(SetupError::Config)?;
        let fetch = Fetch::new()
            .map_err(|error| SetupError::Config(vec![ConfigProblem::new("key_server", error)]))?;

        let Parts { store, clock, audit, .. } = parts;
        let pepper = match pepper {
            Some(configured) => configured,
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
            verified: VerifiedTokens::default(),
            admin,
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
        let grant = self.decide(&identity, None, None).ok_or(AuthError::NotAdmitted)?.grant;
        Ok(self.0.verified.remember(token, &identity, grant, proof, now))
    }

    /// What [`KeyServer::verify`] found for this very token before, as long as it still holds. Does not
    /// wait.
    pub fn verified(&self, token: &BearerToken) -> Option<Arc<Principal>> {
        self.0.verified.recall(token, self.now(), |issuer| self.0.issuers.get(issuer)?.jwks.held())
    }

    /// Exchanges an identity token for a key. Leaves exactly one audit event, also when it is dropped.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub async fn exchange(&self, request: TokenRequest, from: Peer) -> Result<IssuedKey, ExchangeError> {
        let trail = self.trail(EventKind::TokenDenied, from);
        let mut trail = trail.map_err(|full| ExchangeError::unavailable(Reason::Internal, full))?;
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
        let place = self.0.issuers.iter().position(|trusted| trusted.issuer.url == claimed);
        let place = place.ok_or(Refused::UnknownIssuer)?;
        let Trusted { issuer, jwks } = &self.0.issuers[place];
        // Before any key is looked up or fetched.
        if !issuer.algorithms.contains(&jwt.algorithm()) {
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
        Ok((found?, Proof { issuer: place, keys }))
    }

    /// What the identity may be given, for at most `wanted` where that is said.
    pub(crate) fn decide(
        &self,
        who: &Identity,
        named: Option<&str>,
        wanted: Option<Duration>,
    ) -> Option<Decision> {
        let longest = wanted.map_or(self.0.longest, |wanted| wanted.min(self.0.longest));
        self.0.policies.decide(who, named, longest, self.now())
    }

    /// Begins the one audit event of a request.
    pub(crate) fn trail(&self, kind: EventKind, from: Peer) -> Result<Trail, portunus_auth_core::AuditFull> {
        let mut trail = Trail::begin(self.0.audit.clone(), self.0.clock.clone(), kind)?;
        trail.event().peer = from.ip;
        Ok(trail)
    }

    /// Whether this is the administrator's token. Where none is configured, no token is.
    pub fn is_admin(&self, token: &BearerToken) -> bool {
        self.0.admin.as_ref().is_some_and(|admin| admin.is(token))
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
        if is_ours(token) { self.find(token) } else { self.verify(token).await }
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

/// What the referenced secret is made into, if there is one.
fn secret<T>(
    reference: Option<&SecretRef>,
    source: &dyn SecretSource,
    make: impl Fn(&BearerToken) -> Result<T, TooShort>,
) -> Result<Option<T>, BoxError> {
    let Some(reference) = reference else { return Ok(None) };
    Ok(Some(make(&BearerToken::from(reference.resolve(source)?))?))
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
