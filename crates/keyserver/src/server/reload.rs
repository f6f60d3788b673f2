//! Other policies, while keys that earlier ones granted are live.

use std::collections::BTreeSet;
use std::sync::Arc;

use portunus_auth_core::audit::{Actor, EventKind};
use portunus_auth_core::{AuditFull, ConfigProblem, Outcome, Reason, Trail};
use portunus_store::StoreError;
use tracing::Instrument;

use super::{KeyServer, Peer, revocation};
use crate::config::PolicyConfig;
use crate::index::InsertError;
use crate::key::KeyDigest;
use crate::keys::{KeyRecord, Revoke};
use crate::policy::Policies;

/// Why policies were not reloaded, or not to the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// They are wrong, in these places. The policies so far stay in force.
    #[error("the policies are wrong in {} places", .0.len())]
    Config(Vec<ConfigProblem>),
    /// It could not be audited. Unless some of the keys were revoked already, the policies so far stay in
    /// force; repeat it.
    #[error("the reload could not be audited")]
    AuditFull(#[from] AuditFull),
    /// The new policies are in force, but live keys may go beyond them. Repeat it.
    #[error("the live keys could not be compared with the policies")]
    Store(#[from] StoreError),
}

impl KeyServer {
    /// Puts other policies into force, for the issuers that there are, and revokes every live key that they
    /// would not give its owner now. Answers how many. Who is cut off signs in again and gets what is
    /// granted now.
    ///
    /// Leaves one audit event, and one for each key that is revoked. Dropping it does not stop it. Keys
    /// that other servers on the same store issue by other policies are not revoked until this is called
    /// again, there or here.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub async fn reload_policies(&self, policies: &[PolicyConfig]) -> Result<usize, ReloadError> {
        let longest = self.0.longest;
        let namings = self.0.issuers.iter().map(|trusted| trusted.issuer.naming.clone()).collect();
        let policies = Policies::build((&self.0.configured, namings), policies, longest);
        let policies = policies.map_err(ReloadError::Config)?;
        let mut trail = self.trail(EventKind::PolicyReloaded, Peer::default())?;
        trail.event().actor = Some(Actor::System);
        let server = self.clone();
        let reloading = async move {
            server.0.policies.store(Arc::new(policies));
            let revoked = server.revoke_what_is_not_granted().await;
            trail.event().target.revoked = revoked.as_ref().ok().copied();
            trail.finish(match &revoked {
                Ok(_) => Outcome::Allowed,
                Err(ReloadError::AuditFull(_)) => Outcome::Failed(Reason::Overloaded),
                Err(_) => Outcome::Failed(Reason::StoreUnavailable),
            });
            revoked
        };
        let lost = |lost: tokio::task::JoinError| Err(StoreError::Unavailable(lost.into()).into());
        tokio::spawn(reloading.in_current_span()).await.unwrap_or_else(lost)
    }

    /// Looks at every stored key, page by page.
    pub(super) async fn revoke_what_is_not_granted(&self) -> Result<usize, ReloadError> {
        let (mut revoked, mut after, mut taken_back) = (0, None, BTreeSet::new());
        loop {
            let page = self.0.keys.stored(after.as_deref()).await?;
            for (digest, record) in page.records {
                // With an earlier one, those that descend from it ended too.
                let has_ended = record.ancestors.iter().any(|ancestor| taken_back.contains(ancestor));
                if !has_ended && !self.gives(&record) {
                    revoked += self.revoke_not_granted(digest, &record).await?;
                    taken_back.insert(digest);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(revoked),
            }
        }
    }

    /// A key is inserted before this is asked, and policies are swapped before all keys are looked at: so
    /// whatever the order, a key that was decided on by earlier policies is looked at by the later ones.
    pub(super) async fn still_given(&self, digest: KeyDigest, record: &KeyRecord) -> Result<(), InsertError> {
        if self.gives(record) {
            return Ok(());
        }
        self.0.keys.revoke(&Revoke::Key(record.jti.clone()), Some(digest)).await?;
        Err(InsertError::NotGranted)
    }

    fn gives(&self, record: &KeyRecord) -> bool {
        let KeyRecord { owner, grant, evidence, .. } = record;
        self.0.policies.load().still_give(owner, grant, evidence.as_deref(), self.now())
    }

    async fn revoke_not_granted(&self, digest: KeyDigest, record: &KeyRecord) -> Result<usize, ReloadError> {
        let mut trail = self.trail(EventKind::TokenRevoked, Peer::default())?;
        trail.event().target.policy = Some(record.policy.clone());
        let conclude = |trail: Trail, revoked: &Result<usize, StoreError>| {
            trail.finish(revocation(revoked.as_ref().ok().copied()));
        };
        let which = (Revoke::Key(record.jti.clone()), Some(digest));
        Ok(self.revoke_as(Actor::System, which, trail, conclude).await?)
    }
}
