//! Which live keys an owner holds: one entry in the store, swapped as a whole, so that of two who insert
//! at once one sees the other.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use portunus_auth_core::PrincipalId;
use portunus_store::{NewValue, Store, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::jose::sha256;
use crate::key::KeyDigest;

/// Where a key is, in the index of its owner and under its public name.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) digest: KeyDigest,
    /// Seconds since 1970.
    pub(crate) until: u64,
}

/// A key in the index of its owner.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub(crate) place: Place,
    /// The keys that it descends from, the oldest first, its parent last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ancestors: Vec<KeyDigest>,
    /// It is being revoked: nothing more can descend from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ending: bool,
}

impl Entry {
    pub(crate) fn new(place: Place, ancestors: Vec<KeyDigest>) -> Self {
        Self { place, ancestors, ending: false }
    }
}

/// Why a key was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InsertError {
    /// The owner holds as many live keys as allowed; the first of them ends after this time.
    #[error("the owner holds too many keys")]
    TooMany {
        /// Until the first of them ends.
        retry_after: Duration,
    },
    /// Other policies came into force meanwhile, which do not grant it.
    #[error("the policies in force do not grant this key")]
    NotGranted,
    /// A key that it descends from was revoked, or has ended.
    #[error("the key that this one descends from is gone")]
    ParentGone,
    /// The store could not tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where the indexes are.
const PREFIX: &str = "ks/owner/";

/// The index of one owner.
pub(crate) struct Index(String);

/// An index as read: its bytes, to be swapped for others, and the live keys in it.
pub(crate) struct IndexRead {
    bytes: Option<Vec<u8>>,
    pub(crate) entries: Vec<Entry>,
}

impl IndexRead {
    pub(crate) fn room(&self, cap: NonZeroUsize, now: SystemTime) -> Result<(), InsertError> {
        if self.entries.len() < cap.get() {
            return Ok(());
        }
        let first = self.entries.iter().map(|entry| entry.place.until).min().unwrap_or_default();
        Err(InsertError::TooMany { retry_after: Duration::from_secs(first.saturating_sub(unix(now)).max(1)) })
    }

    /// Room for one more that descends from others. They may take up half of what the owner has, so that whoever
    /// holds the narrowest of them cannot keep the owner from signing in.
    fn room_below(&self, cap: NonZeroUsize, now: SystemTime) -> Result<(), InsertError> {
        let children = self.entries.iter().filter(|entry| !entry.ancestors.is_empty());
        let children = Self { bytes: None, entries: children.cloned().collect() };
        children.room(NonZeroUsize::new(cap.get() / 2).unwrap_or(NonZeroUsize::MIN), now)
    }

    fn can_descend_from(&self, parent: &KeyDigest) -> bool {
        self.entries.iter().any(|entry| entry.place.digest == *parent && !entry.ending)
    }
}

impl Index {
    /// Keyed by a digest, so that no subject, however it is spelled, meets another's index.
    pub(crate) fn of(owner: &PrincipalId) -> Self {
        let parts = [owner.tenant.as_str(), &owner.issuer, &owner.subject];
        let spelled: Vec<u8> = parts
            .iter()
            .flat_map(|part| [&(part.len() as u64).to_be_bytes(), part.as_bytes()].concat())
            .collect();
        Self(format!("{PREFIX}{}", KeyDigest(sha256(&spelled))))
    }

    /// The indexes that say that keys are ending, and those keys, with the times of their ends.
    pub(crate) async fn ending(
        store: &dyn Store,
        now: SystemTime,
    ) -> Result<Vec<(Self, BTreeMap<KeyDigest, u64>)>, StoreError> {
        const PAGE: usize = 500;
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let entries = store.scan(PREFIX, after.as_deref(), PAGE).await?;
            after = entries.last().filter(|_| entries.len() == PAGE).map(|(key, _)| key.clone());
            for (key, bytes) in entries {
                let Ok(entries) = parse::<Vec<Entry>>(&bytes) else {
                    tracing::error!(entry = key, "an owner's index cannot be read; the owner gets no key");
                    continue;
                };
                let ending =
                    entries.into_iter().filter(|entry| entry.ending && instant(entry.place.until) > now);
                let ends: BTreeMap<_, _> =
                    ending.map(|entry| (entry.place.digest, entry.place.until)).collect();
                if !ends.is_empty() {
                    found.push((Self(key), ends));
                }
            }
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    pub(crate) async fn read(&self, store: &dyn Store, now: SystemTime) -> Result<IndexRead, StoreError> {
        let bytes = store.get(&self.0).await?;
        let mut entries: Vec<Entry> = bytes.as_deref().map(parse).transpose()?.unwrap_or_default();
        entries.retain(|entry| instant(entry.place.until) > now);
        Ok(IndexRead { bytes, entries })
    }

    async fn swap(
        &self,
        store: &dyn Store,
        read: Option<&[u8]>,
        entries: &[Entry],
    ) -> Result<bool, StoreError> {
        let value = json(&entries)?;
        let expires_at = entries.iter().map(|entry| entry.place.until).max().map(instant);
        let new = expires_at.is_some().then_some(NewValue { value: &value, expires_at });
        store.compare_and_swap(&self.0, read, new).await
    }

    /// Whoever loses a swap lost it to somebody who won, so this ends.
    pub(crate) async fn add(
        &self,
        store: &dyn Store,
        entry: &Entry,
        cap: NonZeroUsize,
        now: SystemTime,
    ) -> Result<(), InsertError> {
        loop {
            let read = self.read(store, now).await?;
            if entry.ancestors.last().is_some_and(|parent| !read.can_descend_from(parent)) {
                return Err(InsertError::ParentGone);
            }
            if !entry.ancestors.is_empty() {
                read.room_below(cap, now)?;
            }
            read.room(cap, now)?;
            let entries = [read.entries.as_slice(), std::slice::from_ref(entry)].concat();
            if self.swap(store, read.bytes.as_deref(), &entries).await? {
                return Ok(());
            }
        }
    }

    /// Marks those that are meant, and all that descend from them, as ending. Answers all that are so marked
    /// and meant: from now on nothing is added below them.
    pub(crate) async fn doom(
        &self,
        store: &dyn Store,
        is_meant: impl Fn(&KeyDigest) -> bool,
        now: SystemTime,
    ) -> Result<Vec<Entry>, StoreError> {
        loop {
            let IndexRead { bytes, mut entries } = self.read(store, now).await?;
            let (mut doomed, mut changed) = (Vec::new(), false);
            for entry in &mut entries {
                if is_meant(&entry.place.digest) || entry.ancestors.iter().any(&is_meant) {
                    changed |= !entry.ending;
                    entry.ending = true;
                    doomed.push(entry.clone());
                }
            }
            if !changed || self.swap(store, bytes.as_deref(), &entries).await? {
                return Ok(doomed);
            }
        }
    }

    /// Takes these out.
    pub(crate) async fn remove(
        &self,
        store: &dyn Store,
        gone: &BTreeMap<KeyDigest, u64>,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        loop {
            let IndexRead { bytes, mut entries } = self.read(store, now).await?;
            let before = entries.len();
            entries.retain(|entry| !gone.contains_key(&entry.place.digest));
            if entries.len() == before || self.swap(store, bytes.as_deref(), &entries).await? {
                return Ok(());
            }
        }
    }
}

pub(crate) fn json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Corrupt(error.into()))
}

pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Corrupt(error.into()))
}

pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time beyond all times is in the past: nothing lasts by being damaged.
pub(crate) fn instant(unix_seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(unix_seconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
