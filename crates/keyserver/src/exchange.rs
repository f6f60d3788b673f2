//! One identity token for one key: verify, decide, spend, mint, insert. Each step takes what the one
//! before it made, so none can be left out. A key for a narrower one: the same, but what it may do is decided
//! by the key, and it is not spent.
//!
//! | file | holds |
//! |---|---|
//! | `words.rs` | the request, the answer, and the errors |
//! | `narrowing.rs` | what is decided about a key that is to be narrowed |
//!
//! From `spend` on, the exchange is in a task of its own: a caller who hangs up does not leave a spent
//! token without a key.

mod narrowing;
mod words;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use portunus_auth_core::audit::{Actor, EventKind};
use portunus_auth_core::{Confirmation, Grant, GrantRequest, KeyId, Outcome, PrincipalId, Reason, Trail};
use tracing::{Instrument, instrument};

use crate::dpop::Proof;
use crate::identity::Identity;
use crate::issuer::TokenKind;
use crate::key::{KeyDigest, TempKey, is_ours};
use crate::keys::{KeyRecord, new_id};
use crate::policy::{Decision, Evidence};
use crate::scope::{self, Scope};
use crate::server::{KeyServer, NotIdentified};

pub use words::{ExchangeError, IssuedKey, TokenRequest};

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
    owner: Arc<PrincipalId>,
    decision: Decision,
    evidence: Option<Arc<Evidence>>,
    /// The token that the exchange spends. A key that is narrowed is not spent.
    spends: Option<Identity>,
    /// The proof that the exchange spends.
    proof: Option<Proof>,
    /// The key that this one descends from, and all that it descends from.
    lineage: Option<(KeyId, Vec<KeyDigest>)>,
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
    let admitted = if is_ours(&request.subject_token) && request.kind == TokenKind::Access {
        narrowing::admit(server, request, scope.as_ref(), trail).await?
    } else {
        let identity = verify(server, request).await?;
        trail.event().actor = Some(Actor::Identity(identity.id().clone()));
        decide(server, identity, request, scope.as_ref())?
    };
    trail.event().target.policy = Some(admitted.decision.policy.clone());
    server.room(&admitted.owner).await?;
    Ok(admitted)
}

async fn issue(
    server: &KeyServer,
    admitted: Admitted,
    trail: &mut Trail,
) -> Result<IssuedKey, ExchangeError> {
    spend(server, &admitted).await?;
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
        Err(NotIdentified::Unavailable(down)) => {
            Err(ExchangeError::unavailable(Reason::IssuerUnavailable, down))
        }
    }
}

fn decide(
    server: &KeyServer,
    identity: Identity,
    request: &TokenRequest,
    scope: Option<&Scope>,
) -> Result<Admitted, ExchangeError> {
    let policies = server.policies();
    let named = request.policy.as_deref();
    let decision = policies.decide(&identity.asked(), named, request.ttl, server.now());
    let decision = decision.ok_or(ExchangeError::BadSubject(Reason::NoPolicy))?;
    let (confirmation, proof) = server.bind(identity.confirmation(), request)?;
    let grant = narrow(&decision.grant, scope, confirmation)?;
    Ok(Admitted {
        owner: identity.id().clone(),
        decision: Decision { grant, ..decision },
        evidence: Some(policies.evidence(&identity).into()),
        spends: Some(identity),
        proof,
        lineage: None,
    })
}

/// The grant as far as it was asked for, bound to a key.
fn narrow(
    grant: &Grant,
    scope: Option<&Scope>,
    confirmation: Option<Confirmation>,
) -> Result<Grant, ExchangeError> {
    let grant = scope::narrow(grant, scope).ok_or(ExchangeError::InvalidScope)?;
    let bound = GrantRequest { confirmation, ..GrantRequest::default() };
    grant.narrow(&bound).map_err(|_wider| ExchangeError::BadProof(Reason::ProofOfOtherKey))
}

/// Before the key exists: of two exchanges at once, one must fail. The proof comes first, which the caller can
/// make anew.
async fn spend(server: &KeyServer, admitted: &Admitted) -> Result<(), ExchangeError> {
    let Admitted { decision, spends, proof, .. } = admitted;
    if let Some(proof) = proof
        && !server.spend_proof(proof).await?
    {
        return Err(ExchangeError::BadProof(Reason::ReplayedProof));
    }
    match spends {
        Some(identity) if !decision.reusable && !server.spend(identity).await? => {
            let is_late = server.now() >= identity.forget_at();
            let reason = if is_late { Reason::ExpiredCredential } else { Reason::ReplayedToken };
            Err(ExchangeError::BadSubject(reason))
        }
        _ => Ok(()),
    }
}

fn mint(admitted: Admitted, now: SystemTime) -> Result<(TempKey, KeyRecord), ExchangeError> {
    let Admitted { owner, decision, evidence, lineage, .. } = admitted;
    let key = TempKey::mint(&SystemRandom::new())
        .map_err(|no_randomness| ExchangeError::unavailable(Reason::Internal, no_randomness))?;
    let (parent, ancestors) = lineage.map_or((None, Vec::new()), |(parent, all)| (Some(parent), all));
    let record = KeyRecord {
        jti: new_id(now),
        owner: (*owner).clone(),
        grant: decision.grant,
        policy: decision.policy,
        evidence,
        parent,
        ancestors,
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
