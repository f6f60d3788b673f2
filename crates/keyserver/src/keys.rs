//! The issued keys: kept in the store, validated from memory.
//!
//! | entry | holds |
//! |---|---|
//! | `ks/key/DIGEST` | the key's record |
//! | `ks/jti/JTI` | where the key of that public name is |
//! | `ks/owner/SHA-256(OWNER)` | the owner's live keys; inserting and revoking swap it, which decides |
//! | `ks/expired/DIGEST` | that the audit was told of the key's end |

mod bulk;
mod common;
mod ending;
mod expiry;
mod family;
mod listing;
mod outage;
mod presented;
mod record;
mod selection;
mod sync;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use portunus_auth_core::{AuthError, BearerToken, Clock, KeyId, Principal, PrincipalId};
use portunus_store::{Store, StoreError};

use crate::expiring::Expiring;
use crate::index::{Index, InsertError, json};
use crate::key::{KeyDigest, Pepper};

pub use bulk::Matched;
pub(crate) use bulk::NotRevoked;
pub use ending::Revoke;
pub(crate) use family::Parent;
pub use listing::{KeyInfo, KeyPage};
pub(crate) use record::{KeyRecord, issued_at, new_id};
pub(crate) use selection::Meant;
pub(crate) use sync::Task;

use common::Common;
use outage::Outage;
use record::{Named, Stored, named_key, record_key};
use sync::News;

/// A key in memory.
#[derive(Debug)]
enum Slot {
    Live {
        key: Arc<Principal>,
        /// The keys that it descends from.
        ancestors: Box<[KeyDigest]>,
    },
    /// Kept until the key would have ended, so that a late announcement cannot bring it back.
    Revoked,
}

impl Slot {
    fn live(&self, now: SystemTime) -> Option<&Arc<Principal>> {
        match self {
            Self::Live { key, .. } => Some(key).filter(|key| key.grant().expires_at > now),
            Self::Revoked => None,
        }
    }

    fn ancestors(&self) -> &[KeyDigest] {
        match self {
            Self::Live { ancestors, .. } => ancestors,
            Self::Revoked => &[],
        }
    }
}

/// The keys.
#[derive(Debug)]
pub(crate) struct Keys {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pepper: Pepper,
    slots: Expiring<Slot>,
    common: Common,
    outage: Outage,
    /// Whether a key that descends from another was ever held.
    has_families: AtomicBool,
    me: KeyId,
}

impl Keys {
    /// Reads all live keys, and keeps listening to what other servers issue and revoke.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        pepper: Pepper,
        fail_static: Duration,
    ) -> Result<(Arc<Self>, Task), StoreError> {
        let me = new_id(clock.now());
        // First listen, then read: nothing can fall between.
        let subscription = store.subscribe(sync::CHANNEL).await?;
        let (slots, outage) = (Expiring::until_taken(), Outage::bearable_for(fail_static, clock.now()));
        let keys = Arc::new(Self {
            store,
            clock,
            pepper,
            slots,
            common: Common::default(),
            outage,
            has_families: AtomicBool::new(false),
            me,
        });
        keys.read_all().await?;
        keys.finish_revocations().await?;
        let listener = Task::spawn(sync::listen(Arc::downgrade(&keys), subscription));
        Ok((keys, listener))
    }

    pub(crate) fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    /// Who holds the presented key. From memory alone.
    pub(crate) fn find(&self, token: &BearerToken, now: SystemTime) -> Result<Arc<Principal>, AuthError> {
        let digest = self.pepper.digest(token).ok_or(AuthError::Malformed)?;
        let found = self.slots.get(&digest.0, |slot| match slot {
            Slot::Live { key, .. } if key.grant().expires_at <= now => Err(AuthError::Expired),
            Slot::Live { key, .. } => Ok(key.clone()),
            Slot::Revoked => Err(AuthError::Revoked),
        });
        self.outage.temper(found.unwrap_or(Err(AuthError::Unknown)), now)
    }

    /// Whether the owner may hold one more key, as far as that can be told beforehand. [`Keys::insert`]
    /// decides.
    pub(crate) async fn room(
        &self,
        owner: &PrincipalId,
        cap: NonZeroUsize,
        now: SystemTime,
    ) -> Result<(), InsertError> {
        Index::of(owner).read(&*self.store, now).await?.room(cap, now)
    }

    /// Stores the key unless its owner already holds `cap` live ones, or a key that it descends from is not
    /// alive. When this returns, the key works here, and is announced to the other servers.
    ///
    /// The record is written, and announced, before the owner's index names it. So whoever revokes by the
    /// index finds every key that was handed out, and what they announce comes after this; otherwise a
    /// server that missed the revocation could learn of the key later. What did not get into the index
    /// belongs to a key that nobody was given.
    pub(crate) async fn insert(
        &self,
        digest: KeyDigest,
        record: KeyRecord,
        cap: NonZeroUsize,
        now: SystemTime,
    ) -> Result<(), InsertError> {
        let until = Some(record.until());
        let entry = record.entry(digest);
        let named = Named { owner: record.owner.clone(), place: entry.place.clone() };
        let stored = Stored::V1(record.clone());
        self.store.put(&named_key(&record.jti), &json(&named)?, until).await?;
        self.store.put(&record_key(&digest), &json(&stored)?, until).await?;
        self.announce(News::Issued(entry.place.clone(), stored.into())).await?;
        if let Err(refused) = Index::of(&record.owner).add(&*self.store, &entry, cap, now).await {
            // Tidiness only; see above.
            let _ = self.store.delete(&record_key(&digest)).await;
            let _ = self.store.delete(&named_key(&record.jti)).await;
            let _ = self.announce(News::Revoked(vec![entry.place])).await;
            return Err(refused);
        }
        if !self.admit(digest, record.clone(), now) {
            self.revoke(&Revoke::Key(record.jti), Some(digest)).await?;
            return Err(InsertError::ParentGone);
        }
        Ok(())
    }

    /// The stored record under the digest.
    async fn record(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, StoreError> {
        self.store.get(&record_key(digest)).await?.map(|stored| Stored::read(&stored)).transpose()
    }
}
