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

/// How long a listener waits before it tries again to subscribe.
const RETRY: Duration = Duration::from_secs(1);

/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many keys one message names, at most.
const NAMED_AT_ONCE: usize = 500;

/// What is announced.
#[derive(Serialize, Deserialize)]
struct Message {
    /// The server that says so, which knows already.
    from: KeyId,
    news: News,
}

/// What there is to know of keys.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum News {
    /// A new one.
    Issued(Place, Box<Stored>),
    /// These are revoked.
    Revoked(Vec<Place>),
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

/// Hears what others announce, as long as the keys are there. A server that cannot listen does not know what
/// was revoked: that is an outage.
pub(super) async fn listen(keys: Weak<Keys>, mut subscription: Subscription) {
    loop {
        let notice = subscription.next().await;
        let Some(keys) = keys.upgrade() else { return };
        match notice {
            Some(notice) => keys.hear(notice).await,
            None => subscription = keys.subscribe_again().await,
        }
    }
}

impl Keys {
    pub(super) async fn announce(&self, news: News) -> Result<(), StoreError> {
        let message = Message { from: self.me.clone(), news };
        self.store.publish(CHANNEL, &json(&message)?).await
    }

    /// Announces that these are revoked, in this order.
    pub(super) async fn announce_revoked(&self, places: &[Place]) -> Result<(), StoreError> {
        for some in places.chunks(NAMED_AT_ONCE) {
            self.announce(News::Revoked(some.to_vec())).await?;
        }
        Ok(())
    }

    async fn hear(&self, notice: Notice) {
        let message = match &notice {
            Notice::Message(message) => serde_json::from_slice::<Message>(message).ok(),
            Notice::Missed => None,
        };
        let Some(Message { from, news }) = message else {
            self.outage.begins();
            return self.catch_up().await;
        };
        if from == self.me {
            return;
        }
        let now = self.clock.now();
        match news {
            News::Issued(place, stored) => {
                let Stored::V1(record) = *stored;
                self.admit(place.digest, record, now);
            }
            News::Revoked(places) => {
                for Place { digest, until } in places {
                    self.slots.set(digest.0, Slot::Revoked, instant(until), now);
                }
            }
        }
    }

    async fn subscribe_again(&self) -> Subscription {
        self.outage.deafens();
        loop {
            tokio::time::sleep(RETRY).await;
            match self.store.subscribe(CHANNEL).await {
                Ok(subscription) => {
                    self.outage.hears();
                    self.catch_up().await;
                    return subscription;
                }
                Err(error) => tracing::warn!(%error, "revocations cannot be heard; trying again"),
            }
        }
    }

    /// The stored keys after that place, as many as one scan gives. One that cannot be read is no key here.
    pub(crate) async fn stored(&self, after: Option<&str>) -> Result<Page, StoreError> {
        let prefix = record_key_prefix();
        let entries = self.store.scan(prefix, after, PAGE).await?;
        let next = entries.last().filter(|_| entries.len() == PAGE).map(|(key, _)| key.clone());
        let read = |(key, value): (String, Vec<u8>)| {
            let digest = key.strip_prefix(prefix).unwrap_or_default().to_owned();
            match (KeyDigest::try_from(digest), Stored::read(&value)) {
                (Ok(digest), Ok(record)) => Some((digest, record)),
                _ => {
                    tracing::error!(entry = key, "a stored key cannot be read; it does not work here");
                    None
                }
            }
        };
        Ok(Page { records: entries.into_iter().filter_map(read).collect(), next })
    }

    /// Reads all keys, and ends the outage that began before. Where that fails, whoever watches the store tries
    /// again.
    pub(super) async fn catch_up(&self) {
        let (owed, now) = (self.outage.owed(), self.clock.now());
        match self.read_all().await {
            Ok(()) => self.outage.ends(owed, now),
            Err(error) => tracing::warn!(%error, "the keys could not be read"),
        }
    }

    /// Brings memory in step with the store.
    pub(super) async fn read_all(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut stored = HashSet::new();
        let mut after: Option<String> = None;
        loop {
            let page = in_time(self.stored(after.as_deref())).await?;
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
            if in_time(self.store.get(&record_key(&KeyDigest(digest)))).await?.is_none() {
                self.slots.set(digest, Slot::Revoked, until, now);
            }
        }
        Ok(())
    }
}

/// An answer of the store, unless it takes too long.
pub(super) async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |late: tokio::time::error::Elapsed| Err(StoreError::Unavailable(late.into()));
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(late)
}
