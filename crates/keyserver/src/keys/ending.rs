//! Taking back keys, and all that descend from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
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

/// Keys that were held, and their holders.
type Held = Vec<(KeyDigest, Arc<Principal>)>;

impl Keys {
    /// Revokes; the key that is meant may be known by its digest. When this returns, the keys and their
    /// descendants are gone from the store, do not work here any more, and the other servers are told. The
    /// number of keys that were alive, here or in the store, until now.
    ///
    /// What memory knows stops to work first, so that no failure of the store, and no delay, leaves it
    /// working here.
    pub(crate) async fn revoke(&self, which: &Revoke, known: Option<KeyDigest>) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let held = match known {
            Some(digest) => self.hold_back_one(digest, now),
            None => self.hold_back(now, |key| match which {
                Revoke::Key(jti) => matches!(key.via(), Via::Key(its) if its == jti),
                Revoke::Owner(owner) => key.id() == owner,
            }),
        };
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
        alive.extend(self.end(&Index::of(&owner), ends, everything, now).await?);
        Ok(alive.len())
    }

    /// The live keys in memory that are meant, and their descendants; they do not work any more. Looks at
    /// every key, which an administrator can afford.
    pub(super) fn hold_back(&self, now: SystemTime, is_meant: impl Fn(&Principal) -> bool) -> Held {
        let meant = self.slots.filter(|_, slot| slot.live(now).filter(|key| is_meant(key)).cloned());
        self.hold_back_these(meant, now)
    }

    /// The live key of this digest, and its descendants.
    fn hold_back_one(&self, digest: KeyDigest, now: SystemTime) -> Held {
        let key = self.slots.get(&digest.0, |slot| slot.live(now).cloned()).flatten();
        self.hold_back_these(key.map(|key| (digest.0, key)).into_iter().collect(), now)
    }

    fn hold_back_these(&self, mut held: Vec<([u8; 32], Arc<Principal>)>, now: SystemTime) -> Held {
        let end = |held: &[([u8; 32], Arc<Principal>)]| {
            held.iter().for_each(|(digest, key)| {
                self.slots.set(*digest, Slot::Revoked, key.grant().expires_at, now);
            });
        };
        end(&held);
        let meant: BTreeSet<[u8; 32]> = held.iter().map(|(digest, _)| *digest).collect();
        if !meant.is_empty() && self.has_families.load(Ordering::SeqCst) {
            let descendants = self.slots.filter(|_, slot| {
                let is_doomed = slot.ancestors().iter().any(|digest| meant.contains(&digest.0));
                slot.live(now).filter(|_| is_doomed).cloned()
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
    /// whoever repeats it after an error, or starts after a crash, finds them. So that the keys that were
    /// meant can be found as well, their descendants are deleted before them.
    ///
    /// All are announced before anything else can fail, those that were meant first. A server that starts in
    /// the meantime may have read a record after that and before it was deleted; it hears the second
    /// announcement.
    pub(super) async fn end(
        &self,
        index: &Index,
        mut ends: Ends,
        everything: bool,
        now: SystemTime,
    ) -> Result<BTreeSet<KeyDigest>, StoreError> {
        self.mark_revoked(&ends, now);
        let is_meant = |digest: &KeyDigest| everything || ends.contains_key(digest);
        let mut doomed = index.doom(&*self.store, is_meant, now).await?;
        doomed.sort_by_key(|entry| entry.ancestors.len());
        let indexed: BTreeSet<KeyDigest> = doomed.iter().map(|entry| entry.place.digest).collect();
        let strays = ends.iter().filter(|(digest, _)| !indexed.contains(digest));
        let strays = strays.map(|(digest, until)| Place { digest: *digest, until: *until });
        let mut places: Vec<Place> = doomed.into_iter().map(|entry| entry.place).collect();
        places.extend(strays.collect::<Vec<_>>());
        ends.extend(places.iter().map(|place| (place.digest, place.until)));
        self.mark_revoked(&ends, now);
        self.announce_revoked(&places).await?;
        let mut alive = indexed;
        let mut was_stored = false;
        for place in places.iter().rev() {
            if self.store.delete(&record_key(&place.digest)).await? {
                alive.insert(place.digest);
                was_stored = true;
            }
        }
        if was_stored {
            self.announce_revoked(&places).await?;
        }
        index.remove(&*self.store, &ends, now).await?;
        Ok(alive)
    }

    /// Brings revocations to their end that a server left in the middle.
    pub(super) async fn finish_revocations(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        for (index, ends) in Index::ending(&*self.store, now).await? {
            self.end(&index, ends, false, now).await?;
        }
        Ok(())
    }

    fn mark_revoked(&self, ends: &Ends, now: SystemTime) {
        for (digest, until) in ends {
            self.slots.set(digest.0, Slot::Revoked, instant(*until), now);
        }
    }
}
