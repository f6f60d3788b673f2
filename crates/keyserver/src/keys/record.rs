//! What is kept of a key, and where.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_auth_core::{Grant, KeyId, Principal, PrincipalId, Via};
use portunus_store::StoreError;
use serde::{Deserialize, Serialize};
use uuid::{NoContext, Timestamp, Uuid};

use super::Slot;
use crate::index::{Entry, Place, parse, unix};
use crate::key::KeyDigest;
use crate::policy::Evidence;

/// What is kept of a key. Not the key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) jti: KeyId,
    pub(crate) owner: PrincipalId,
    pub(crate) grant: Grant,
    /// The policy that granted it.
    pub(crate) policy: Arc<str>,
    /// What to ask later policies about its owner. Without it they cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) evidence: Option<Arc<Evidence>>,
    /// The key that it was attenuated from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<KeyId>,
    /// All keys that it descends from, the oldest first, its parent last. With any of them it ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ancestors: Vec<KeyDigest>,
}

impl KeyRecord {
    pub(crate) fn until(&self) -> SystemTime {
        self.grant.expires_at
    }

    pub(crate) fn principal(self) -> Arc<Principal> {
        Arc::new(Principal::authenticated(self.owner, self.grant, Via::Key(self.jti)))
    }

    pub(super) fn slot(self) -> Slot {
        let ancestors = self.ancestors.clone().into();
        Slot::Live { key: self.principal(), ancestors }
    }

    /// What the owner's index says of it.
    pub(super) fn entry(&self, digest: KeyDigest) -> Entry {
        Entry::new(Place { digest, until: unix(self.until()) }, self.ancestors.clone())
    }
}

/// A record as stored: a later layout gets a new number, and is refused by those who do not know it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "v")]
pub(super) enum Stored {
    #[serde(rename = "1")]
    V1(KeyRecord),
}

impl Stored {
    pub(super) fn read(bytes: &[u8]) -> Result<KeyRecord, StoreError> {
        let Self::V1(record) = parse(bytes)?;
        Ok(record)
    }
}

/// What is stored under a public name.
#[derive(Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) owner: PrincipalId,
    pub(super) place: Place,
}

/// A new public name: a UUID of version 7, which begins with the time.
pub(crate) fn new_id(now: SystemTime) -> KeyId {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time = Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos());
    KeyId(Uuid::new_v7(time).to_string().into())
}

/// When a key of that name was issued. A name that does not say so is as old as can be.
pub(crate) fn issued_at(jti: &KeyId) -> SystemTime {
    let time = Uuid::try_parse(&jti.0).ok().and_then(|name| name.get_timestamp());
    time.map_or(SystemTime::UNIX_EPOCH, |time| {
        let (seconds, nanos) = time.to_unix();
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos)).unwrap_or(SystemTime::UNIX_EPOCH)
    })
}

pub(super) fn record_key_prefix() -> &'static str {
    "ks/key/"
}

pub(super) fn record_key(digest: &KeyDigest) -> String {
    format!("{}{digest}", record_key_prefix())
}

pub(super) fn named_key(jti: &KeyId) -> String {
    format!("ks/jti/{jti}")
}
