//! Keys that descend from others. They share the owner, and so the owner's index: whoever adds a child and
//! whoever revokes its parent swap the same entry, so one of them sees the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use portunus_auth_core::{AuthError, BearerToken, KeyId, Principal};
use portunus_store::StoreError;

use super::{KeyRecord, Keys, Slot};
use crate::key::KeyDigest;

/// How many keys another one can descend from. It bounds what is kept of each.
const MOST_ANCESTORS: usize = 8;

/// A live key that a narrower one is to descend from.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) record: KeyRecord,
    digest: KeyDigest,
}

impl Parent {
    /// Who holds it.
    pub(crate) fn principal(&self) -> Arc<Principal> {
        self.record.clone().principal()
    }

    /// What is kept of its family by a child: the parent's name, and all that the child descends from.
    /// `None`: there are too many of them already.
    pub(crate) fn lineage(&self) -> Option<(KeyId, Vec<KeyDigest>)> {
        let ancestors = [self.record.ancestors.as_slice(), &[self.digest]].concat();
        (ancestors.len() <= MOST_ANCESTORS).then(|| (self.record.jti.clone(), ancestors))
    }
}

impl Keys {
    /// The presented key, to descend from. Memory can refuse it, which knows revocations first; what it
    /// may do comes from the store, which knows also what was not announced here yet.
    pub(crate) async fn parent(
        &self,
        token: &BearerToken,
        now: SystemTime,
    ) -> Result<Result<Parent, AuthError>, StoreError> {
        let Some(digest) = self.pepper.digest(token) else { return Ok(Err(AuthError::Malformed)) };
        let (missing, held) = match self.find(token, now) {
            Ok(key) => (AuthError::Revoked, Some(key.grant().expires_at)),
            Err(AuthError::Unknown) => (AuthError::Unknown, None),
            Err(refused) => return Ok(Err(refused)),
        };
        Ok(match self.record(&digest).await? {
            Some(record) if record.until() <= now => Err(AuthError::Expired),
            Some(record) => Ok(Parent { record, digest }),
            None => {
                // Revoked elsewhere, and not heard of here until now.
                if let Some(until) = held {
                    self.slots.set(digest.0, Slot::Revoked, until, now);
                }
                Err(missing)
            }
        })
    }

    /// Takes a key into memory, unless it was revoked already, or one that it descends from was. Whether it
    /// is alive.
    ///
    /// The key comes first and the look at its ancestors second, while whoever revokes ends the ancestor
    /// first and looks for its descendants second: one of them sees the other.
    pub(super) fn admit(&self, digest: KeyDigest, mut record: KeyRecord, now: SystemTime) -> bool {
        self.common.share(&mut record);
        let (until, ancestors) = (record.until(), record.ancestors.clone());
        if !ancestors.is_empty() {
            self.has_families.store(true, Ordering::SeqCst);
        }
        self.slots.set_if_absent(digest.0, record.slot(), until, now);
        if ancestors.iter().any(|ancestor| self.is_revoked(ancestor)) {
            self.slots.set(digest.0, Slot::Revoked, until, now);
        }
        !self.is_revoked(&digest)
    }

    /// Whether memory knows that the key was revoked.
    pub(crate) fn is_revoked(&self, digest: &KeyDigest) -> bool {
        self.slots.get(&digest.0, |slot| matches!(slot, Slot::Revoked)).unwrap_or(false)
    }
}
