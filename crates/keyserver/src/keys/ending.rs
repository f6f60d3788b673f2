//! Taking back keys, and all that descend from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use portunus_auth_core::{KeyId, Principal, PrincipalId, Via};
use portunus_store::StoreError;

use super::record::{Named, named_key, record_key};
use super::{Keys, Slot};
use crate::index::{Index, Place, instant, parse, unix};
use crate::key::KeyDigest;

/// Which keys to revoke. With a key end all that descend from it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revoke {
    /// The one of that public name.
    Key(KeyId),
    /// All of somebody's.
    Owner(PrincipalId),
}

/// Keys, and when each would have ended, in seconds since 1970.
pub(super) type Ends = BTreeMap<KeyDigest, u64>;

impl Keys {
    /// Revokes. When this returns, the keys and their descendants are gone from the store, do not work here
    /// any more, and the other servers are told. The number of keys that were alive, here or in the store,
    /// until now.
    ///
    /// What memory knows stops to work first, so that no failure of the store, and no delay, leaves it
    /// working here.
    pub(crate) async fn revoke(&self, which: &Revoke) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let held = self.hold_back(now, |key| match which {
            Revoke::Key(jti) => matches!(key.via(), Via::Key(its) if its == jti),
            Revoke::Owner(owner) => key.id() == owner,
        });
        let mut ends: Ends =
            held.iter().map(|(digest, key)| (*digest, unix(key.grant().expires_at))).collect();
        let owner = match (which, held.first()) {
            (Revoke::Owner(owner), _) => owner.clone(),
            (Revoke::Key(_), Some((_, key))) => key.id().clone(),
            (Revoke::Key(jti), None) => {
                let Some(named) = self.store.get(&named_key(jti)).await? else { return Ok(0) };
                let Named { owner, place } = parse(&named)?;
                ends.insert(place.digest, place.until);
                owner
            }
        };
        let mut alive: BTreeSet<KeyDigest> = held.iter().map(|(digest, _)| *digest).collect();
        let everything = matches!(which, Revoke::Owner(_));
        alive.extend(self.end(&owner, ends, everything, now).await?);
        Ok(alive.len())
    }

    /// The live keys in memory that are meant, and their descendants; they do not work any more. Looks at
    /// every key, which a revocation can afford.
    pub(super) fn hold_back(
        &self,
        now: SystemTime,
        is_meant: impl Fn(&Principal) -> bool,
    ) -> Vec<(KeyDigest, Arc<Principal>)> {
        let is_live = |key: &Principal| key.grant().expires_at > now;
        let mut held = self.slots.filter(|_, slot| match slot {
            Slot::Live { key, .. } if is_live(key) && is_meant(key) => Some(key.clone()),
            _ => None,
        });
        let end = |held: &[([u8; 32], Arc<Principal>)]| {
            held.iter().for_each(|(digest, key)| {
                self.slots.set(*digest, Slot::Revoked, key.grant().expires_at, now);
            });
        };
        end(&held);
        let meant: BTreeSet<[u8; 32]> = held.iter().map(|(digest, _)| *digest).collect();
        if !meant.is_empty() {
            let descendants = self.slots.filter(|_, slot| match slot {
                Slot::Live { key, ancestors } => {
                    let is_doomed = ancestors.iter().any(|digest| meant.contains(&digest.0));
                    (is_live(key) && is_doomed).then(|| key.clone())
                }
                Slot::Revoked => None,
            });
            end(&descendants);
            held.extend(descendants);
        }
        held.into_iter().map(|(digest, key)| (KeyDigest(digest), key)).collect()
    }

    /// Ends these keys of one owner, or all, and their descendants. Answers which were alive in the store.
    ///
    /// The index decides: once it says that a key is ending, nothing can be added below it, and it names all
    /// that was. It forgets them last: while it names them, the revocation has not come to its end, and
    /// whoever repeats it after an error finds them. So that the keys that were meant can be found as well,
    /// their descendants go before them.
    ///
    /// A server that starts in the meantime may have read a record after the first announcement and before
    /// it was deleted; it hears the second.
    pub(super) async fn end(
        &self,
        owner: &PrincipalId,
        mut ends: Ends,
        everything: bool,
        now: SystemTime,
    ) -> Result<BTreeSet<KeyDigest>, StoreError> {
        self.mark_revoked(&ends, now);
        let index = Index::of(owner);
        let is_meant = |digest: &KeyDigest| everything || ends.contains_key(digest);
        let mut doomed = index.doom(&*self.store, is_meant, now).await?;
        doomed.sort_by_key(|entry| std::cmp::Reverse(entry.ancestors.len()));
        let indexed: BTreeSet<KeyDigest> = doomed.iter().map(|entry| entry.place.digest).collect();
        let mut alive = indexed.clone();
        let strays = ends.iter().filter(|(digest, _)| !indexed.contains(digest));
        let strays = strays.map(|(digest, until)| Place { digest: *digest, until: *until });
        let in_order: Vec<Place> = strays.chain(doomed.into_iter().map(|entry| entry.place)).collect();
        ends.extend(in_order.iter().map(|place| (place.digest, place.until)));
        self.mark_revoked(&ends, now);
        for place in &in_order {
            self.announce(place.clone(), None).await?;
            if self.store.delete(&record_key(&place.digest)).await? {
                alive.insert(place.digest);
                self.announce(place.clone(), None).await?;
            }
        }
        index.remove(&*self.store, &ends, now).await?;
        Ok(alive)
    }

    fn mark_revoked(&self, ends: &Ends, now: SystemTime) {
        for (digest, until) in ends {
            self.slots.set(digest.0, Slot::Revoked, instant(*until), now);
        }
    }
}
