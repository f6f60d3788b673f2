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
    /// The store could not tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The index of one owner.
pub(crate) struct Index(String);

/// An index as read: its bytes, to be swapped for others, and the live keys in it.
pub(crate) struct IndexRead {
    bytes: Option<Vec<u8>>,
    pub(crate) places: Vec<Place>,
}

impl IndexRead {
    pub(crate) fn room(&self, cap: NonZeroUsize, now: SystemTime) -> Result<(), InsertError> {
        if self.places.len() < cap.get() {
            return Ok(());
        }
        let first = self.places.iter().map(|place| place.until).min().unwrap_or_default();
        Err(InsertError::TooMany { retry_after: Duration::from_secs(first.saturating_sub(unix(now)).max(1)) })
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
        Self(format!("ks/owner/{}", KeyDigest(sha256(&spelled))))
    }

    pub(crate) async fn read(&self, store: &dyn Store, now: SystemTime) -> Result<IndexRead, StoreError> {
        let bytes = store.get(&self.0).await?;
        let mut places: Vec<Place> = bytes.as_deref().map(parse).transpose()?.unwrap_or_default();
        places.retain(|place| instant(place.until) > now);
        Ok(IndexRead { bytes, places })
    }

    async fn swap(&self, store: &dyn Store, read: &IndexRead, places: &[Place]) -> Result<bool, StoreError> {
        let value = json(&places)?;
        let expires_at = places.iter().map(|place| place.until).max().map(instant);
        let new = expires_at.is_some().then_some(NewValue { value: &value, expires_at });
        store.compare_and_swap(&self.0, read.bytes.as_deref(), new).await
    }

    /// Whoever loses a swap lost it to somebody who won, so this ends.
    pub(crate) async fn add(
        &self,
        store: &dyn Store,
        place: &Place,
        cap: NonZeroUsize,
        now: SystemTime,
    ) -> Result<(), InsertError> {
        loop {
            let read = self.read(store, now).await?;
            read.room(cap, now)?;
            let places = [read.places.as_slice(), std::slice::from_ref(place)].concat();
            if self.swap(store, &read, &places).await? {
                return Ok(());
            }
        }
    }

    /// Takes these out. Answers which of them were in it.
    pub(crate) async fn remove(
        &self,
        store: &dyn Store,
        gone: &BTreeMap<KeyDigest, u64>,
        now: SystemTime,
    ) -> Result<Vec<KeyDigest>, StoreError> {
        loop {
            let read = self.read(store, now).await?;
            let is_gone = |place: &Place| gone.contains_key(&place.digest);
            let (taken, left): (Vec<Place>, Vec<Place>) = read.places.iter().cloned().partition(is_gone);
            if taken.is_empty() || self.swap(store, &read, &left).await? {
                return Ok(taken.into_iter().map(|place| place.digest).collect());
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
