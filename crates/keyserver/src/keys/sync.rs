//! How one server learns what the others issue and revoke.

use std::collections::HashSet;
use std::sync::Weak;
use std::time::Duration;

use portunus_auth_core::KeyId;
use portunus_store::{Notice, StoreError, Subscription};
use serde::{Deserialize, Serialize};

use super::record::{Stored, record_key, record_key_prefix};
use super::{KeyRecord, Keys, Slot};
use crate::index::{Place, instant, json};
use crate::key::KeyDigest;

/// Where every server that shares the store announces what it issued and revoked.
pub(super) const CHANNEL: &str = "ks/keys";

/// How many records one scan asks for.
const PAGE: usize = 500;

/// How long a listener waits before it tries again to read all keys.
const RETRY: Duration = Duration::from_secs(1);

/// What is announced.
#[derive(Serialize, Deserialize)]
struct Message {
    /// The server that says so, which knows already.
    from: KeyId,
    place: Place,
    /// The new key. `None`: the key is revoked.
    issued: Option<Stored>,
}

/// Some of the stored keys.
pub(crate) struct Page {
    pub(crate) records: Vec<(KeyDigest, KeyRecord)>,
    /// Where the next page begins; `None` at the end.
    pub(crate) next: Option<String>,
}

/// Ends the task with the server that it serves.
#[derive(Debug)]
pub(crate) struct Task(tokio::task::AbortHandle);

impl Task {
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn listen(keys: Weak<Keys>, mut subscription: Subscription) {
    while let Some(notice) = subscription.next().await {
        let Some(keys) = keys.upgrade() else { return };
        keys.hear(notice).await;
    }
}

impl Keys {
    pub(super) async fn announce(&self, place: Place, issued: Option<Stored>) -> Result<(), StoreError> {
        let message = Message { from: self.me.clone(), place, issued };
        self.store.publish(CHANNEL, &json(&message)?).await
    }

    async fn hear(&self, notice: Notice) {
        let message = match &notice {
            Notice::Message(message) => serde_json::from_slice::<Message>(message).ok(),
            Notice::Missed => None,
        };
        let Some(Message { from, place, issued }) = message else { return self.read_all_at_last().await };
        if from == self.me {
            return;
        }
        let now = self.clock.now();
        match issued {
            Some(Stored::V1(record)) => {
                self.admit(place.digest, record, now);
            }
            None => self.slots.set(place.digest.0, Slot::Revoked, instant(place.until), now),
        }
    }

    /// The stored keys after that place, as many as one scan gives.
    pub(crate) async fn stored(&self, after: Option<&str>) -> Result<Page, StoreError> {
        let prefix = record_key_prefix();
        let entries = self.store.scan(prefix, after, PAGE).await?;
        let next = entries.last().filter(|_| entries.len() == PAGE).map(|(key, _)| key.clone());
        let read = |(key, value): (String, Vec<u8>)| {
            let record = Stored::read(&value)?;
            let digest = key.strip_prefix(prefix).unwrap_or_default().to_owned();
            let digest = KeyDigest::try_from(digest).map_err(|bad| StoreError::Corrupt(bad.into()))?;
            Ok((digest, record))
        };
        Ok(Page { records: entries.into_iter().map(read).collect::<Result<_, StoreError>>()?, next })
    }

    /// Reads all keys, as often as it takes.
    async fn read_all_at_last(&self) {
        while let Err(error) = self.read_all().await {
            tracing::warn!(%error, "the keys could not be read; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Brings memory in step with the store.
    pub(super) async fn read_all(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut stored = HashSet::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.stored(after.as_deref()).await?;
            for (digest, record) in page.records {
                self.admit(digest, record, now);
                stored.insert(digest.0);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        // What is held and not stored was revoked while nobody listened, or stored after the scan.
        let missing = |digest: &[u8; 32], slot: &Slot| match slot {
            Slot::Live { key, .. } if !stored.contains(digest) => Some(key.grant().expires_at),
            _ => None,
        };
        for (digest, until) in self.slots.filter(missing) {
            if self.store.get(&record_key(&KeyDigest(digest))).await?.is_none() {
                self.slots.set(digest, Slot::Revoked, until, now);
            }
        }
        Ok(())
    }
}
