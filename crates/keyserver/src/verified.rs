//! Tokens of issuers that are used as they are, remembered as long as what verified them stands.

use std::sync::Arc;
use std::time::SystemTime;

use portunus_auth_core::{BearerToken, Grant, Principal, Via};

use crate::expiring::Expiring;
use crate::identity::Identity;
use crate::jose::token_digest;
use crate::jwk::KeySet;
use crate::policy::Policies;

/// The most tokens that are remembered.
const MOST: usize = 10_000;

/// What proved an identity: an issuer's place among the configured ones, and its keys at that time.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) issuer: usize,
    pub(crate) keys: Arc<KeySet>,
}

/// Who presented which token, by the digest of the whole of it.
#[derive(Debug)]
pub(crate) struct VerifiedTokens(Expiring<(Arc<Principal>, Proof, Arc<Policies>)>);

/// What is remembered of a token.
#[derive(Debug)]
pub(crate) enum Recalled {
    /// Who presents it.
    Holds(Arc<Principal>),
    /// It was good, by keys or policies that are no longer in force. This is forgotten now.
    Outdated,
    /// Nothing.
    Unknown,
}

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Expiring::of_at_most(MOST))
    }
}

impl VerifiedTokens {
    /// Who presents the token, for as long as both it and the grant last.
    pub(crate) fn remember(
        &self,
        token: &BearerToken,
        identity: &Identity,
        mut grant: Grant,
        (proof, policies): (Proof, Arc<Policies>),
        now: SystemTime,
    ) -> Arc<Principal> {
        let until = grant.expires_at.min(identity.expires_at());
        grant.expires_at = until;
        let principal = Arc::new(Principal::authenticated((**identity.id()).clone(), grant, Via::Jwt));
        self.0.set(token_digest(token), (principal.clone(), proof, policies), until, now);
        principal
    }

    /// Who presents the token, unless it has ended; its issuer has other keys now, which may no longer hold
    /// the one that signed it; or other policies are in force.
    pub(crate) fn recall(
        &self,
        token: &BearerToken,
        now: SystemTime,
        keys_of: impl Fn(usize) -> Option<Arc<KeySet>>,
        in_force: &Arc<Policies>,
    ) -> Recalled {
        let digest = token_digest(token);
        let still_good = |(principal, proof, policies): &(Arc<Principal>, Proof, Arc<Policies>)| {
            let keys = keys_of(proof.issuer)?;
            let good = Arc::ptr_eq(&keys, &proof.keys)
                && Arc::ptr_eq(in_force, policies)
                && now < principal.grant().expires_at;
            good.then(|| principal.clone())
        };
        match self.0.get(&digest, still_good) {
            Some(Some(principal)) => Recalled::Holds(principal),
            Some(None) if self.0.remove(&digest) => Recalled::Outdated,
            _ => Recalled::Unknown,
        }
    }
}
