//! An existing key for a narrower, shorter one, such as for an agent's helper. The child lies within its parent
//! in every field, is its owner's, and ends with it.

use std::time::{Duration, SystemTime};

use portunus_auth_core::audit::Actor;
use portunus_auth_core::{AuthError, Grant, GrantRequest, Reason, Trail};

use super::{Admitted, ExchangeError, TokenRequest, narrow};
use crate::index::{instant, unix};
use crate::policy::Decision;
use crate::scope::Scope;
use crate::server::{KeyServer, no_key};

pub(super) async fn admit(
    server: &KeyServer,
    request: &TokenRequest,
    scope: Option<&Scope>,
    trail: &mut Trail,
) -> Result<Admitted, ExchangeError> {
    let parent = server.parent(&request.subject_token).await?.map_err(refused)?;
    let principal = parent.principal();
    trail.identify(&principal);
    trail.event().actor = Some(Actor::Principal(principal));
    let record = &parent.record;
    // The policy that granted the key is the only one that there is to name.
    if request.policy.as_deref().is_some_and(|named| named != &*record.policy) {
        return Err(ExchangeError::BadSubject(Reason::NoPolicy));
    }
    let (confirmation, proof) = server.bind(record.grant.confirmation.as_ref(), request)?;
    let shorter = shorten(&record.grant, request.ttl, server.now()).ok_or(ExchangeError::InvalidScope)?;
    let grant = narrow(&shorter, scope, confirmation)?;
    let lineage = parent.lineage().ok_or(ExchangeError::BadSubject(Reason::TooManyGenerations))?;
    Ok(Admitted {
        owner: record.owner.clone().into(),
        decision: Decision { policy: record.policy.clone(), grant, reusable: true },
        evidence: record.evidence.clone(),
        spends: None,
        proof,
        lineage: Some(lineage),
    })
}

fn refused(error: AuthError) -> ExchangeError {
    match error {
        AuthError::Unavailable(why) => ExchangeError::unavailable(Reason::StoreUnavailable, why),
        other => ExchangeError::BadSubject(no_key(&other)),
    }
}

/// The same for as long as was asked for, and no longer than before. In whole seconds, as every grant.
fn shorten(grant: &Grant, ttl: Option<Duration>, now: SystemTime) -> Option<Grant> {
    let expires_at = ttl.map(|ttl| instant(unix(now).saturating_add(ttl.as_secs())));
    let end_of_time = SystemTime::UNIX_EPOCH;
    // A time beyond all times asks for no less than there is.
    let expires_at = expires_at.filter(|end| *end > end_of_time);
    grant.narrow(&GrantRequest { expires_at, ..GrantRequest::default() }).ok()
}
