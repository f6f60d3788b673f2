//! Which identity tokens were already exchanged, and which proofs came with them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_store::{Store, StoreError};

use crate::dpop::Proof;
use crate::identity::Identity;
use crate::key::KeyDigest;

/// How much longer a token is remembered than it can be spent: the store has a clock of its own.
const MARGIN: Duration = Duration::from_secs(60);

/// Remembers spent tokens.
///
/// May forget none before its issuer's leeway after `exp` has passed: a forgotten token can be replayed.
/// May refuse one that it never saw: the caller signs in again.
#[derive(Debug)]
pub(crate) struct Replay(pub(crate) Arc<dyn Store>);

impl Replay {
    /// Spends the token. `true`: of all who try, here and on every server that shares the store, to this
    /// one alone.
    pub(crate) async fn spend(&self, identity: &Identity) -> Result<bool, StoreError> {
        let key = format!("ks/spent/{}", KeyDigest(*identity.token()));
        self.0.put_if_absent(&key, b"1", until(identity.forget_at())).await
    }

    /// Spends a DPoP proof, in the same way (RFC 9449 section 11.1).
    pub(crate) async fn spend_proof(&self, proof: &Proof) -> Result<bool, StoreError> {
        let key = format!("ks/proof/{}", KeyDigest(proof.id));
        self.0.put_if_absent(&key, b"1", until(proof.until)).await
    }
}

fn until(end: SystemTime) -> Option<SystemTime> {
    Some(end.checked_add(MARGIN).unwrap_or(end))
}
