//! Taking back many keys at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use portunus_auth_core::PrincipalId;
use portunus_auth_core::audit::KeySelection;
use portunus_store::StoreError;
use tokio::task::JoinSet;

use super::{Keys, Slot, issued_at, record_key};
use crate::index::{Index, Place, unix};
use crate::key::KeyDigest;

/// How many owners' keys are taken back at the same time, so that a store which gathers writes can.
const AT_ONCE: usize = 32;

/// What a revocation of many took back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Matched {
    /// How many keys that were alive.
    pub keys: usize,
    /// How many identities held them.
    pub identities: usize,
}

/// The keys that are meant, and when each would have ended, by their owners.
type Doomed = HashMap<PrincipalId, BTreeMap<KeyDigest, u64>>;

impl Keys {
    /// Revokes all that are selected. When this returns they do not work here any more, are gone from the
    /// store, and the other servers are told.
    ///
    /// What memory can tell stops to work first. A record leaves the store last: while it is there, a
    /// revocation has not come to its end, and whoever repeats it after an error finds the key again.
    pub(crate) async fn revoke_selected(
        self: Arc<Self>,
        which: &KeySelection,
    ) -> Result<Matched, StoreError> {
        let now = self.clock.now();
        let mut doomed = self.selected_in_memory(which, now);
        self.selected_in_the_store(which, &mut doomed).await?;
        let mut matched = Matched { keys: 0, identities: doomed.len() };
        let mut ending = JoinSet::new();
        let mut failed = None;
        for (owner, ends) in doomed {
            matched.keys += ends.len();
            if ending.len() >= AT_ONCE {
                failed = failed.or(ending.join_next().await.and_then(failure));
            }
            let keys = self.clone();
            ending.spawn(async move { keys.end(&owner, &ends, now).await });
        }
        while let Some(ended) = ending.join_next().await {
            failed = failed.or(failure(ended));
        }
        failed.map_or(Ok(matched), Err)
    }

    /// Those in memory, which stop to work. Memory does not know which policy granted a key.
    fn selected_in_memory(&self, which: &KeySelection, now: SystemTime) -> Doomed {
        let mut doomed = Doomed::new();
        if which.policy.is_some() {
            return doomed;
        }
        let pick = |_: &[u8; 32], slot: &Slot| match slot {
            Slot::Live(key) if key.grant().expires_at > now && which.is_about(key.id()) => {
                let portunus_auth_core::Via::Key(jti) = key.via() else { return None };
                let is_meant = which.issued_before.is_none_or(|before| issued_at(jti) < before);
                is_meant.then(|| key.clone())
            }
            _ => None,
        };
        for (digest, key) in self.slots.filter(pick) {
            let ends = doomed.entry(key.id().clone()).or_default();
            ends.insert(KeyDigest(digest), unix(key.grant().expires_at));
        }
        doomed.values().for_each(|ends| self.mark_revoked(ends, now));
        doomed
    }

    async fn selected_in_the_store(
        &self,
        which: &KeySelection,
        doomed: &mut Doomed,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.stored(after.as_deref()).await?;
            for (digest, record) in page.records {
                let is_meant = which.is_about(&record.owner)
                    && which.policy.as_ref().is_none_or(|policy| *policy == record.policy)
                    && which.issued_before.is_none_or(|before| issued_at(&record.jti) < before);
                if is_meant {
                    let until = unix(record.until());
                    doomed.entry(record.owner).or_default().insert(digest, until);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Ends these keys of one owner.
    async fn end(
        &self,
        owner: &PrincipalId,
        ends: &BTreeMap<KeyDigest, u64>,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        self.mark_revoked(ends, now);
        for (digest, until) in ends {
            self.announce(Place { digest: *digest, until: *until }, None).await?;
        }
        Index::of(owner).remove(&*self.store, ends, now).await?;
        for digest in ends.keys() {
            self.store.delete(&record_key(digest)).await?;
        }
        Ok(())
    }
}

fn failure(ended: Result<Result<(), StoreError>, tokio::task::JoinError>) -> Option<StoreError> {
    match ended {
        Ok(done) => done.err(),
        Err(lost) => Some(StoreError::Unavailable(lost.into())),
    }
}
