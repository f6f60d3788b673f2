//! One identity token for one key: verify, decide, spend, mint, insert. Each step takes what the one
//! before it made, so none can be left out.
//!
//! From `spend` on, the exchange is in a task of its own: a caller who hangs up does not leave a spent
//! token without a key.

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use portunus_auth_core::audit::{Actor, EventKind};
use portunus_auth_core::{BearerToken, BoxError, Grant, KeyId, Outcome, Reason, Trail};
use portunus_store::StoreError;
use tracing::{Instrument, instrument};

use crate::identity::Identity;
use crate::index::InsertError;
use crate::issuer::TokenKind;
use crate::key::{TempKey, is_ours};
use crate::keys::{KeyRecord, new_id};
use crate::limits::TooOften;
use crate::policy::{Decision, Evidence};
use crate::scope::{self, Scope};
use crate::server::{Busy, KeyServer, NotIdentified};

/// What a caller wants: a key in exchange for an identity token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenRequest {
    /// The identity token.
    pub subject_token: BearerToken,
    /// What kind of token it is meant to be.
    pub kind: TokenKind,
    /// The scopes wanted, as `model:PATTERN tool:PATTERN role:PATTERN upstream:PATTERN`. `None`: whatever the
    /// policy grants.
    pub scope: Option<String>,
    /// The policy meant, where several admit the caller.
    pub policy: Option<String>,
    /// A shorter life than the policy grants.
    pub ttl: Option<Duration>,
    /// Whom the key is for. Each must be this server's audience.
    pub audiences: Vec<String>,
}

impl TokenRequest {
    /// Asks for whatever the policy grants to the identity in this token.
    pub fn new(subject_token: BearerToken, kind: TokenKind) -> Self {
        Self { subject_token, kind, scope: None, policy: None, ttl: None, audiences: Vec::new() }
    }
}

/// A key, for the caller alone.
#[derive(Debug)]
#[non_exhaustive]
pub struct IssuedKey {
    /// The key. This is the only time it is seen.
    pub access_token: BearerToken,
    /// Its public name, by which it can be revoked.
    pub key_id: KeyId,
    /// How long it lives from now.
    pub expires_in: Duration,
    /// What it may be used for, as a scope.
    pub scope: String,
    /// What it may be used for.
    pub grant: Grant,
}

/// Why no key is issued, by what the caller can do about it. What exactly was wrong is for the audit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The request is not what RFC 8693 asks for.
    #[error("the request is malformed")]
    Malformed,
    /// The request's body is longer than 32 KiB.
    #[error("the request is too large")]
    TooLarge,
    /// The request's body took longer than 10 seconds to arrive.
    #[error("the request did not arrive in time")]
    TooSlow,
    /// Another grant type than token exchange.
    #[error("the grant type is not supported")]
    UnsupportedGrantType,
    /// The subject token is bad, unacceptable, or was used before: sign in again.
    #[error("the subject token is not acceptable")]
    BadSubject(Reason),
    /// A scope is unknown, or nothing of it is granted.
    #[error("the scope is unknown or not granted")]
    InvalidScope,
    /// Another audience than this server's.
    #[error("the audience is not served here")]
    InvalidTarget,
    /// Too many tokens came from the caller's address. Wait.
    #[error("too many requests")]
    TooOften {
        /// So long.
        retry_after: Duration,
    },
    /// Wait until a key ends.
    #[error("too many live keys")]
    TooManyKeys {
        /// Until the first of them ends.
        retry_after: Duration,
    },
    /// It could not be told, or not be kept. Try again later.
    #[error("the key server cannot answer now")]
    Unavailable {
        /// What is missing.
        reason: Reason,
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl ExchangeError {
    pub(crate) fn unavailable(reason: Reason, source: impl Into<BoxError>) -> Self {
        Self::Unavailable { reason, source: source.into() }
    }

    /// What the audit says.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Malformed => Reason::MalformedRequest,
            Self::TooLarge => Reason::RequestTooLarge,
            Self::TooSlow => Reason::RequestTimeout,
            Self::UnsupportedGrantType => Reason::UnsupportedGrant,
            Self::BadSubject(reason) | Self::Unavailable { reason, .. } => *reason,
            Self::InvalidScope => Reason::ScopeDenied,
            Self::InvalidTarget => Reason::WrongAudience,
            Self::TooOften { .. } => Reason::RateLimited,
            Self::TooManyKeys { .. } => Reason::TooManyKeys,
        }
    }
}

impl From<TooOften> for ExchangeError {
    fn from(TooOften { retry_after }: TooOften) -> Self {
        Self::TooOften { retry_after }
    }
}

impl From<StoreError> for ExchangeError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(Reason::StoreUnavailable, error)
    }
}

impl From<InsertError> for ExchangeError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::TooMany { retry_after } => Self::TooManyKeys { retry_after },
            InsertError::NotGranted => Self::BadSubject(Reason::NoPolicy),
            InsertError::Store(error) => error.into(),
        }
    }
}

/// How a trail is ended. A plain function, because it outlives the caller.
pub(crate) type Conclude = fn(Trail, &Result<IssuedKey, ExchangeError>);

/// Ends the trail as the exchange ended.
pub(crate) fn conclude(mut trail: Trail, result: &Result<IssuedKey, ExchangeError>) {
    let (kind, outcome) = match result {
        Ok(_) => (EventKind::TokenIssued, Outcome::Allowed),
        Err(ExchangeError::BadSubject(Reason::ReplayedToken)) => {
            (EventKind::TokenReplayed, Outcome::Refused(Reason::ReplayedToken))
        }
        Err(error @ ExchangeError::Unavailable { .. }) => {
            (EventKind::TokenDenied, Outcome::Failed(error.reason()))
        }
        Err(error) => (EventKind::TokenDenied, Outcome::Refused(error.reason())),
    };
    trail.event().kind = kind;
    trail.finish(outcome);
}

/// Exchanges, notes in the trail what becomes known on the way, and concludes it.
#[instrument(name = "keyserver.exchange", skip_all)]
pub(crate) async fn exchange(
    server: &KeyServer,
    request: TokenRequest,
    mut trail: Trail,
    conclude: Conclude,
) -> Result<IssuedKey, ExchangeError> {
    let admitted = match admit(server, &request, &mut trail).await {
        Ok(admitted) => admitted,
        Err(refused) => {
            let result = Err(refused);
            conclude(trail, &result);
            return result;
        }
    };
    let server = server.clone();
    let issuing = async move {
        let result = issue(&server, admitted, &mut trail).await;
        conclude(trail, &result);
        result
    };
    let lost = |lost| Err(ExchangeError::unavailable(Reason::Internal, lost));
    tokio::spawn(issuing.in_current_span()).await.unwrap_or_else(lost)
}

/// Who gets what, and what is kept of them.
struct Admitted {
    identity: Identity,
    decision: Decision,
    evidence: Evidence,
}

/// Changes nothing: whoever is refused here, or goes away, keeps the token.
async fn admit(
    server: &KeyServer,
    request: &TokenRequest,
    trail: &mut Trail,
) -> Result<Admitted, ExchangeError> {
    if request.audiences.iter().any(|audience| audience != server.audience()) {
        return Err(ExchangeError::InvalidTarget);
    }
    let scope = match &request.scope {
        Some(text) => Some(Scope::parse(text).ok_or(ExchangeError::InvalidScope)?),
        None => None,
    };
    let identity = verify(server, request).await?;
    trail.event().actor = Some(Actor::Identity(identity.id().clone()));
    let (decision, evidence) = decide(server, &identity, request, scope.as_ref())?;
    trail.event().target.policy = Some(decision.policy.clone());
    server.room(identity.id()).await?;
    Ok(Admitted { identity, decision, evidence })
}

async fn issue(
    server: &KeyServer,
    admitted: Admitted,
    trail: &mut Trail,
) -> Result<IssuedKey, ExchangeError> {
    spend(server, &admitted.identity, &admitted.decision).await?;
    let (key, record) = mint(admitted, server.now())?;
    trail.event().target.jti = Some(record.jti.clone());
    insert(server, key, record).await
}

async fn verify(server: &KeyServer, request: &TokenRequest) -> Result<Identity, ExchangeError> {
    if is_ours(&request.subject_token) {
        return Err(ExchangeError::BadSubject(Reason::UnsupportedGrant));
    }
    match server.identify(&request.subject_token, request.kind).await {
        Ok((identity, _)) => Ok(identity),
        Err(NotIdentified::Refused(refused)) => Err(ExchangeError::BadSubject(refused.into())),
        Err(NotIdentified::Busy) => Err(ExchangeError::unavailable(Reason::Overloaded, Busy)),
        Err(NotIdentified::Unavailable(down)) => {
            Err(ExchangeError::unavailable(Reason::IssuerUnavailable, down))
        }
    }
}

fn decide(
    server: &KeyServer,
    identity: &Identity,
    request: &TokenRequest,
    scope: Option<&Scope>,
) -> Result<(Decision, Evidence), ExchangeError> {
    let policies = server.policies();
    let named = request.policy.as_deref();
    let decision = policies.decide(&identity.asked(), named, request.ttl, server.now());
    let decision = decision.ok_or(ExchangeError::BadSubject(Reason::NoPolicy))?;
    let grant = scope::narrow(&decision.grant, scope).ok_or(ExchangeError::InvalidScope)?;
    Ok((Decision { grant, ..decision }, policies.evidence(identity)))
}

/// Before the key exists: of two exchanges at once, one must fail.
async fn spend(server: &KeyServer, identity: &Identity, decision: &Decision) -> Result<(), ExchangeError> {
    if decision.reusable || server.spend(identity).await? {
        return Ok(());
    }
    Err(ExchangeError::BadSubject(Reason::ReplayedToken))
}

fn mint(admitted: Admitted, now: SystemTime) -> Result<(TempKey, KeyRecord), ExchangeError> {
    let Admitted { identity, decision, evidence } = admitted;
    let key = TempKey::mint(&SystemRandom::new())
        .map_err(|no_randomness| ExchangeError::unavailable(Reason::Internal, no_randomness))?;
    let record = KeyRecord {
        jti: new_id(now),
        owner: (**identity.id()).clone(),
        grant: decision.grant,
        policy: decision.policy,
        evidence: Some(evidence.into()),
    };
    Ok((key, record))
}

async fn insert(server: &KeyServer, key: TempKey, record: KeyRecord) -> Result<IssuedKey, ExchangeError> {
    let (now, key_id, grant) = (server.now(), record.jti.clone(), record.grant.clone());
    server.insert(&key, record, now).await?;
    let left = grant.expires_at.duration_since(now).unwrap_or_default();
    Ok(IssuedKey {
        access_token: key.into_token(),
        key_id,
        expires_in: Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0)),
        scope: scope::describe(&grant),
        grant,
    })
}
