//! Taking back many keys at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use portunus_auth_core::{PrincipalId, Via};
use portunus_store::StoreError;
use tokio::task::JoinSet;

use super::ending::Ends;
use super::{Keys, Meant, issued_at};
use crate::index::{Index, unix};
use crate::policy::Holds;

/// How many owners' keys are taken back at the same time, so that a store which gathers writes can.
const AT_ONCE: usize = 32;

/// What a revocation of many took back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Matched {
    /// How many keys that were alive, those included that descend from the selected ones.
    pub keys: usize,
    /// How many identities held them.
    pub identities: usize,
}

/// Why nothing, or not all that was meant, was taken back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRevoked {
    /// The store could not do it, or could not tell.
    #[error("the keys may still be stored")]
    Store(#[from] StoreError),
    /// Of some keys that may be meant no address was kept. Nothing was taken back.
    #[error("of some of these keys it cannot be told whose address they were issued for")]
    AddressNotKept,
}

/// The keys that are meant, by their owners.
type Doomed = HashMap<PrincipalId, Ends>;

impl Keys {
    /// Revokes all that are selected, and all that descend from them. When this returns they do not work
    /// here any more, are gone from the store, and the other servers are told.
    ///
    /// What memory can tell stops to work first.
    pub(crate) async fn revoke_selected(self: Arc<Self>, meant: &Meant<'_>) -> Result<Matched, NotRevoked> {
        let now = self.clock.now();
        let mut doomed = self.selected_in_memory(meant, now);
        self.selected_in_the_store(meant, &mut doomed).await?;
        let mut matched = Matched { keys: 0, identities: doomed.len() };
        let mut ending = JoinSet::new();
        let mut failed = None;
        let mut count = |ended: Result<Result<usize, StoreError>, tokio::task::JoinError>| match ended {
            Ok(Ok(keys)) => matched.keys += keys,
            Ok(Err(error)) => failed = Some(error),
            Err(lost) => failed = Some(StoreError::Unavailable(lost.into())),
        };
        for (owner, ends) in doomed {
            if ending.len() >= AT_ONCE
                && let Some(ended) = ending.join_next().await
            {
                count(ended);
            }
            let keys = self.clone();
            ending.spawn(async move {
                let mut alive = keys.end(&Index::of(&owner), ends.clone(), false, now).await?;
                alive.extend(ends.keys());
                Ok(alive.len())
            });
        }
        while let Some(ended) = ending.join_next().await {
            count(ended);
        }
        failed.map_or(Ok(matched), |error| Err(error.into()))
    }

    /// Those in memory, which stop to work. Memory does not know which policy granted a key, nor addresses.
    fn selected_in_memory(&self, meant: &Meant<'_>, now: SystemTime) -> Doomed {
        let (which, mut doomed) = (meant.which, Doomed::new());
        if which.policy.is_some() || which.email.is_some() {
            return doomed;
        }
        let held = self.hold_back(now, |key| {
            let Via::Key(jti) = key.via() else { return false };
            which.is_about(key.id()) && which.issued_before.is_none_or(|before| issued_at(jti) < before)
        });
        for (digest, key) in held {
            doomed.entry(key.id().clone()).or_default().insert(digest, unix(key.grant().expires_at));
        }
        doomed
    }

    async fn selected_in_the_store(&self, meant: &Meant<'_>, doomed: &mut Doomed) -> Result<(), NotRevoked> {
        let mut after = None;
        loop {
            let page = self.stored(after.as_deref()).await?;
            for (digest, record) in page.records {
                match meant.is(&record) {
                    Holds::No => {}
                    Holds::CannotTell if self.is_revoked(&digest) => {}
                    Holds::CannotTell => return Err(NotRevoked::AddressNotKept),
                    Holds::Yes => {
                        let until = unix(record.until());
                        doomed.entry(record.owner).or_default().insert(digest, until);
                    }
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}
