//! The key server as one value: what the gateway and the HTTP routes call.

mod expiry;
mod explain;
mod inspect;
mod manage;
mod outage;
mod possession;
mod reload;
mod verify;

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use portunus_auth_core::audit::{Actor, EventKind, RequestId};
use portunus_auth_core::{
    AuditFull, AuditSink, AuthError, Authenticator, BearerToken, Clock, Outcome, Principal, PrincipalId,
    Reason, Trail,
};
use portunus_store::StoreError;
use tracing::Instrument;

use crate::clients::Clients;
use crate::config::{Config, IssuerConfig};
use crate::dpop::SeenProofs;
use crate::exchange::{ExchangeError, IssuedKey, TokenRequest, conclude, exchange};
use crate::fetch::Fetch;
use crate::identity::Identity;
use crate::index::InsertError;
use crate::jwks::Jwks;
use crate::key::{KeyDigest, SecretDigest, TempKey, is_ours};
use crate::keys::{KeyRecord, Keys, NotRevoked, Parent, Revoke, Task};
use crate::limits::Addresses;
use crate::policy::Policies;
use crate::possession::Possession;
use crate::public_url::PublicUrl;
use crate::replay::Replay;
use crate::setup::{Parts, SetupError, Sound, kept_pepper};
use crate::verified::VerifiedTokens;

pub use explain::ExplainError;
pub use inspect::Asker;
pub(crate) use inspect::no_key;
pub use manage::{BadReason, StatedReason};
#[cfg(feature = "axum")]
pub(crate) use manage::{is_revocable, of_many};
pub use reload::ReloadError;
pub(crate) use verify::NotIdentified;
use verify::Trusted;

/// Who is asking, as far as the connection shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// The peer's address.
    pub ip: Option<IpAddr>,
    /// The name of the request.
    pub request_id: Option<RequestId>,
}

/// Why it is not certain that keys are revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// The store could not do it, or could not tell. What this server knew of the keys does not work here
    /// any more; what other servers know may. Repeat the revocation.
    #[error("the keys may still be stored")]
    Store(#[from] StoreError),
    /// It could not be audited, so it was not begun.
    #[error("nothing was revoked")]
    AuditFull(#[from] AuditFull),
    /// Nothing was selected, or a subject or an address without its issuer, which names nobody.
    #[error("say whose keys: nothing was revoked")]
    Unselected,
    /// Of some keys that may be meant it cannot be told whose address they were issued for. Select by subject.
    #[error("no address was kept of some of these keys, select by subject: nothing was revoked")]
    AddressNotKept,
}

impl From<NotRevoked> for RevokeError {
    fn from(not_revoked: NotRevoked) -> Self {
        match not_revoked {
            NotRevoked::Store(error) => error.into(),
            NotRevoked::AddressNotKept => Self::AddressNotKept,
        }
    }
}

/// A key server. Cheap to clone; all clones are the same server.
#[derive(Clone)]
pub struct KeyServer(Arc<Inner>);

struct Inner {
    audience: String,
    longest: Duration,
    cap: NonZeroUsize,
    issuers: Vec<Trusted>,
    policies: ArcSwap<Policies>,
    /// The issuers as they are configured, for policies to come.
    configured: Vec<IssuerConfig>,
    keys: Arc<Keys>,
    replay: Replay,
    verified: VerifiedTokens,
    addresses: Addresses,
    admin: Option<SecretDigest>,
    clients: Clients,
    public_url: Option<PublicUrl>,
    clock: Arc<dyn Clock>,
    audit: Arc<dyn AuditSink>,
    proofs: SeenProofs,
    _listener: Task,
}

impl KeyServer {
    /// Checks the configuration, reads all live keys, and revokes those that the policies would not give
    /// their owners any more. Needs no issuer to be up: their keys are fetched
    /// when a token of theirs comes.
    ///
    /// Starts tasks that, until the last clone is dropped, listen to what other servers on the same store issue
    /// and revoke, watch whether the store can be reached, and tell the audit of keys that came to their end.
    ///
    /// # Errors
    /// [`SetupError`], with everything that is wrong with the configuration.
    ///
    /// # Panics
    /// Outside of a tokio runtime, which those tasks, exchanges and revocations run on.
    pub async fn new(config: Config, parts: Parts<'_>) -> Result<Self, SetupError> {
        let Sound { checked, admin, clients, pepper } =
            config.sound(parts.secrets).map_err(SetupError::Config)?;
        let fetch = Fetch::new();
        let Parts { store, clock, audit, secrets: _ } = parts;
        let fail_static = config.key_server.fail_static.get();
        let pepper = match pepper {
            Some(configured) => configured,
            None => kept_pepper(&*store).await?,
        };
        let (keys, listener) = Keys::open(store.clone(), clock.clone(), pepper, fail_static).await?;
        let jwks = |source| Jwks::new(source, fetch.clone(), clock.clone(), audit.clone());
        let trust = |(issuer, source)| Trusted { issuer, jwks: jwks(source) };
        let server = Self(Arc::new(Inner {
            audience: config.key_server.audience,
            longest: config.key_server.token_ttl.get(),
            cap: config.key_server.max_keys_per_identity,
            issuers: checked.issuers.into_iter().map(trust).collect(),
            policies: ArcSwap::from_pointee(checked.policies),
            configured: config.issuers,
            keys,
            replay: Replay(store),
            verified: VerifiedTokens::default(),
            addresses: Addresses::new(config.key_server.tokens_per_minute, clock.clone()),
            admin,
            clients,
            public_url: config.server.public_url,
            proofs: SeenProofs::starting(clock.now()),
            clock,
            audit,
            _listener: listener,
        }));
        tokio::spawn(expiry::watch(Arc::downgrade(&server.0)));
        tokio::spawn(outage::watch(Arc::downgrade(&server.0)));
        // What earlier policies granted, before this server or one with another configuration was started.
        match server.revoke_what_is_not_granted().await {
            Ok(_) => Ok(server),
            Err(ReloadError::Store(error)) => Err(error.into()),
            Err(ReloadError::AuditFull(full)) => Err(full.into()),
            Err(ReloadError::Config(problems)) => Err(SetupError::Config(problems)),
        }
    }

    /// Who holds this key of ours. Answers from memory. Whether the request that presents it may use it is for
    /// [`KeyServer::prove`].
    ///
    /// # Errors
    /// [`AuthError::Malformed`] when it cannot be one of our keys, [`AuthError::Unknown`],
    /// [`AuthError::Expired`] or [`AuthError::Revoked`]; [`AuthError::Unavailable`] when the store cannot be
    /// reached, at once of a key that is not known, and after `fail_static` of one that is.
    pub fn find(&self, token: &BearerToken) -> Result<Arc<Principal>, AuthError> {
        self.0.keys.find(token, self.now())
    }

    /// Exchanges an identity token, or a key that is to be narrowed, for a key. Leaves exactly one audit event,
    /// also when it is dropped.
    /// Dropping it does not stop it once the token is being spent.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub async fn exchange(&self, request: TokenRequest, from: Peer) -> Result<IssuedKey, ExchangeError> {
        let trail = self.trail(EventKind::TokenDenied, from);
        let trail = trail.map_err(|full| ExchangeError::unavailable(Reason::Internal, full))?;
        if let Err(too_often) = self.admit(from) {
            let result = Err(too_often.into());
            conclude(trail, &result);
            return result;
        }
        exchange(self, request, trail, conclude).await
    }

    /// Revokes keys. When this returns they do not work here any more, and the other servers that share
    /// the store are told. Answers how many were alive. Leaves exactly one audit event. Dropping it does
    /// not stop it.
    ///
    /// # Errors
    /// [`RevokeError`] when it is not certain that they are gone; repeat it then.
    pub async fn revoke(&self, which: Revoke) -> Result<usize, RevokeError> {
        let trail = self.trail(EventKind::TokenRevoked, Peer::default())?;
        let conclude = |trail: Trail, revoked: &Result<usize, StoreError>| {
            trail.finish(revocation(revoked.as_ref().ok().copied()));
        };
        Ok(self.revoke_as(Actor::System, (which, None), trail, conclude).await?)
    }

    /// Revokes; the key that is meant may be known by its digest. Notes in the trail whose keys and how many, and
    /// concludes it. In a task of its own, so
    /// that a caller who hangs up does not leave a key half revoked.
    pub(crate) async fn revoke_as(
        &self,
        actor: Actor,
        (which, known): (Revoke, Option<KeyDigest>),
        mut trail: Trail,
        conclude: fn(Trail, &Result<usize, StoreError>),
    ) -> Result<usize, StoreError> {
        let event = trail.event();
        event.actor = Some(actor);
        match &which {
            Revoke::Key(jti) => event.target.jti = Some(jti.clone()),
            Revoke::Owner(owner) => event.target.owner = Some(Arc::new(owner.clone())),
        }
        let keys = self.0.keys.clone();
        let revoking = async move {
            let revoked = keys.revoke(&which, known).await;
            trail.event().target.revoked = revoked.as_ref().ok().copied();
            conclude(trail, &revoked);
            revoked
        };
        let lost = |lost: tokio::task::JoinError| Err(StoreError::Unavailable(lost.into()));
        tokio::spawn(revoking.in_current_span()).await.unwrap_or_else(lost)
    }

    /// The policies in force.
    pub(crate) fn policies(&self) -> Arc<Policies> {
        self.0.policies.load_full()
    }

    /// Begins the one audit event of a request.
    pub(crate) fn trail(&self, kind: EventKind, from: Peer) -> Result<Trail, AuditFull> {
        let mut trail = Trail::begin(self.0.audit.clone(), self.0.clock.clone(), kind)?;
        trail.event().peer = from.ip;
        Ok(trail)
    }

    /// Whether this is the administrator's token. Where none is configured, no token is.
    pub fn is_admin(&self, token: &BearerToken) -> bool {
        self.0.admin.as_ref().is_some_and(|admin| admin.is(token))
    }

    /// The audience that identity tokens must be made for.
    pub(crate) fn audience(&self) -> &str {
        &self.0.audience
    }

    /// Where callers reach this server, if that is configured.
    pub fn public_url(&self) -> Option<&PublicUrl> {
        self.0.public_url.as_ref()
    }

    /// Whether the owner may hold one more key, as far as that can be told before there is one.
    pub(crate) async fn room(&self, owner: &PrincipalId) -> Result<(), InsertError> {
        self.0.keys.room(owner, self.0.cap, self.now()).await
    }

    /// The presented key, for a narrower one to descend from.
    pub(crate) async fn parent(&self, token: &BearerToken) -> Result<Result<Parent, AuthError>, StoreError> {
        self.0.keys.parent(token, self.now()).await
    }

    /// Spends the identity's token. `true`: to this caller alone, while it is good. Whoever comes later might be
    /// the second one, and the first be forgotten.
    pub(crate) async fn spend(&self, identity: &Identity) -> Result<bool, StoreError> {
        Ok(self.0.replay.spend(identity).await? && self.now() < identity.forget_at())
    }

    /// Keeps the key, unless its owner holds too many, or other policies came into force meanwhile that do
    /// not give it. It works when this returns.
    pub(crate) async fn insert(
        &self,
        key: &TempKey,
        record: KeyRecord,
        now: SystemTime,
    ) -> Result<(), InsertError> {
        let keys = &self.0.keys;
        let digest = key.digest(keys.pepper());
        keys.insert(digest, record.clone(), self.0.cap, now).await?;
        self.still_given(digest, &record).await
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

/// Our own keys, and tokens of configured issuers used as they are; none that is bound to a private key, since
/// a token alone proves no possession of one.
#[async_trait::async_trait]
impl Authenticator for KeyServer {
    async fn authenticate(&self, token: &BearerToken) -> Result<Arc<Principal>, AuthError> {
        let principal = if is_ours(token) { self.find(token)? } else { self.verify(token).await? };
        self.prove(&principal, token, &Possession::none())?;
        Ok(principal)
    }
}

/// How a revocation of so many keys ended, for the audit; `None`: it did not come to its end.
pub(crate) fn revocation(revoked: Option<usize>) -> Outcome {
    match revoked {
        Some(0) => Outcome::Refused(Reason::NotFound),
        Some(_) => Outcome::Allowed,
        None => Outcome::Failed(Reason::StoreUnavailable),
    }
}
