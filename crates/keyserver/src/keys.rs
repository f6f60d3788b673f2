//! The issued keys: kept in the store, validated from memory.
//!
//! | entry | holds |
//! |---|---|
//! | `ks/key/DIGEST` | the key's record |
//! | `ks/jti/JTI` | where the key of that public name is |
//! | `ks/owner/SHA-256(OWNER)` | the owner's live keys; inserting swaps it, which decides the cap |
//! | `ks/expired/DIGEST` | that the audit was told of the key's end |

mod bulk;
mod expiry;
mod listing;
mod presented;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_auth_core::{AuthError, BearerToken, Clock, Grant, KeyId, Principal, PrincipalId, Via};
use portunus_store::{Notice, Store, StoreError, Subscription};
use serde::{Deserialize, Serialize};
use uuid::{NoContext, Timestamp, Uuid};

use crate::expiring::Expiring;
use crate::index::{Index, InsertError, Place, instant, json, parse, unix};
use crate::key::{KeyDigest, Pepper};
use crate::policy::Evidence;

pub use bulk::Matched;
pub use listing::{KeyInfo, KeyPage};

/// Where every server that shares the store announces what it issued and revoked.
const CHANNEL: &str = "ks/keys";

/// How many records one scan asks for.
const PAGE: usize = 500;

/// How long a listener waits before it tries again to read all keys.
const RETRY: Duration = Duration::from_secs(1);

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
}

/// Some of the stored keys.
pub(crate) struct Page {
    pub(crate) records: Vec<(KeyDigest, KeyRecord)>,
    /// Where the next page begins; `None` at the end.
    pub(crate) next: Option<String>,
}

impl KeyRecord {
    fn until(&self) -> SystemTime {
        self.grant.expires_at
    }

    fn principal(self) -> Arc<Principal> {
        Arc::new(Principal::authenticated(self.owner, self.grant, Via::Key(self.jti)))
    }
}

/// A record as stored: a later layout gets a new number, and is refused by those who do not know it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "v")]
enum Stored {
    #[serde(rename = "1")]
    V1(KeyRecord),
}

/// What is stored under a public name.
#[derive(Serialize, Deserialize)]
struct Named {
    owner: PrincipalId,
    place: Place,
}

/// What is announced.
#[derive(Serialize, Deserialize)]
struct Message {
    /// The server that says so, which knows already.
    from: KeyId,
    place: Place,
    /// The new key. `None`: the key is revoked.
    issued: Option<Stored>,
}

/// Which keys to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revoke {
    /// The one of that public name.
    Key(KeyId),
    /// All of somebody's.
    Owner(PrincipalId),
}

/// A key in memory.
#[derive(Debug)]
enum Slot {
    Live(Arc<Principal>),
    /// Kept until the key would have ended, so that a late announcement cannot bring it back.
    Revoked,
}

/// The keys.
#[derive(Debug)]
pub(crate) struct Keys {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pepper: Pepper,
    slots: Expiring<Slot>,
    me: KeyId,
}

/// Ends the listener with the server that it serves.
#[derive(Debug)]
pub(crate) struct Listener(tokio::task::AbortHandle);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Keys {
    /// Reads all live keys, and keeps listening to what other servers issue and revoke.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        pepper: Pepper,
    ) -> Result<(Arc<Self>, Listener), StoreError> {
        let me = new_id(clock.now());
        // First listen, then read: nothing can fall between.
        let subscription = store.subscribe(CHANNEL).await?;
        let keys = Arc::new(Self { store, clock, pepper, slots: Expiring::until_taken(), me });
        keys.read_all().await?;
        let listener = tokio::spawn(listen(Arc::downgrade(&keys), subscription));
        Ok((keys, Listener(listener.abort_handle())))
    }

    pub(crate) fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    /// Who holds the presented key. From memory alone.
    pub(crate) fn find(&self, token: &BearerToken, now: SystemTime) -> Result<Arc<Principal>, AuthError> {
        let digest = self.pepper.digest(token).ok_or(AuthError::Malformed)?;
        let found = self.slots.get(&digest.0, |slot| match slot {
            Slot::Live(principal) if principal.grant().expires_at <= now => Err(AuthError::Expired),
            Slot::Live(principal) => Ok(principal.clone()),
            Slot::Revoked => Err(AuthError::Revoked),
        });
        found.unwrap_or(Err(AuthError::Unknown))
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

    /// Stores the key unless its owner already holds `cap` live ones. When this returns, the key works
    /// here, and is announced to the other servers.
    ///
    /// The record is written before the owner's index names it: whoever revokes by owner then finds every
    /// key that was handed out. A record that did not get into the index belongs to a key that nobody
    /// was given, and ends by itself.
    pub(crate) async fn insert(
        &self,
        digest: KeyDigest,
        record: KeyRecord,
        cap: NonZeroUsize,
        now: SystemTime,
    ) -> Result<(), InsertError> {
        let place = Place { digest, until: unix(record.until()) };
        let until = Some(record.until());
        let named = Named { owner: record.owner.clone(), place: place.clone() };
        let stored = Stored::V1(record.clone());
        self.store.put(&named_key(&record.jti), &json(&named)?, until).await?;
        self.store.put(&record_key(&digest), &json(&stored)?, until).await?;
        if let Err(refused) = Index::of(&record.owner).add(&*self.store, &place, cap, now).await {
            // Tidiness only; see above.
            let _ = self.store.delete(&record_key(&digest)).await;
            return Err(refused);
        }
        self.slots.set_if_absent(digest.0, Slot::Live(record.clone().principal()), record.until(), now);
        self.announce(place, Some(stored)).await?;
        Ok(())
    }

    /// Revokes. When this returns, the keys are gone from the store, do not work here any more, and the
    /// other servers are told. The number of keys that were alive, here or in the store, until now.
    ///
    /// What memory knows stops to work first, so that no failure of the store, and no delay, leaves it
    /// working here. The owner's index forgets a key last: while it names one, a revocation has not come to
    /// its end, and whoever repeats it after an error announces it again.
    pub(crate) async fn revoke(&self, which: &Revoke) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let held = self.held(which, now);
        let mut alive: BTreeSet<KeyDigest> = held.iter().map(|(digest, _)| *digest).collect();
        let mut ends: BTreeMap<KeyDigest, u64> =
            held.iter().map(|(digest, key)| (*digest, unix(key.grant().expires_at))).collect();
        self.mark_revoked(&ends, now);
        let owner = match (which, held.first()) {
            (Revoke::Owner(owner), _) => {
                let stored = Index::of(owner).read(&*self.store, now).await?.places;
                ends.extend(stored.into_iter().map(|place| (place.digest, place.until)));
                owner.clone()
            }
            (Revoke::Key(_), Some((_, key))) => key.id().clone(),
            (Revoke::Key(jti), None) => {
                let Some(named) = self.store.get(&named_key(jti)).await? else { return Ok(0) };
                let Named { owner, place } = parse(&named)?;
                ends.insert(place.digest, place.until);
                owner
            }
        };
        self.mark_revoked(&ends, now);
        for (digest, until) in &ends {
            if self.store.delete(&record_key(digest)).await? {
                alive.insert(*digest);
            }
            self.announce(Place { digest: *digest, until: *until }, None).await?;
        }
        alive.extend(Index::of(&owner).remove(&*self.store, &ends, now).await?);
        Ok(alive.len())
    }

    /// The live keys in memory that are meant. Looks at every key, which a revocation can afford.
    fn held(&self, which: &Revoke, now: SystemTime) -> Vec<(KeyDigest, Arc<Principal>)> {
        let is_meant = |key: &Principal| match which {
            Revoke::Key(jti) => matches!(key.via(), Via::Key(its) if its == jti),
            Revoke::Owner(owner) => key.id() == owner,
        };
        let pick = |_: &[u8; 32], slot: &Slot| match slot {
            Slot::Live(key) if key.grant().expires_at > now && is_meant(key) => Some(key.clone()),
            _ => None,
        };
        self.slots.filter(pick).into_iter().map(|(digest, key)| (KeyDigest(digest), key)).collect()
    }

    fn mark_revoked(&self, ends: &BTreeMap<KeyDigest, u64>, now: SystemTime) {
        for (digest, until) in ends {
            self.slots.set(digest.0, Slot::Revoked, instant(*until), now);
        }
    }

    async fn announce(&self, place: Place, issued: Option<Stored>) -> Result<(), StoreError> {
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
                let until = record.until();
                self.slots.set_if_absent(place.digest.0, Slot::Live(record.principal()), until, now);
            }
            None => self.slots.set(place.digest.0, Slot::Revoked, instant(place.until), now),
        }
    }

    /// Reads all keys, as often as it takes.
    async fn read_all_at_last(&self) {
        while let Err(error) = self.read_all().await {
            tracing::warn!(%error, "the keys could not be read; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The stored keys after that place, as many as one scan gives.
    pub(crate) async fn stored(&self, after: Option<&str>) -> Result<Page, StoreError> {
        let prefix = record_key_prefix();
        let entries = self.store.scan(prefix, after, PAGE).await?;
        let next = entries.last().filter(|_| entries.len() == PAGE).map(|(key, _)| key.clone());
        let read = |(key, value): (String, Vec<u8>)| {
            let Stored::V1(record) = parse(&value)?;
            let digest = key.strip_prefix(prefix).unwrap_or_default().to_owned();
            let digest = KeyDigest::try_from(digest).map_err(|bad| StoreError::Corrupt(bad.into()))?;
            Ok((digest, record))
        };
        Ok(Page { records: entries.into_iter().map(read).collect::<Result<_, StoreError>>()?, next })
    }

    /// The stored record under the digest.
    async fn record(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, StoreError> {
        let Some(stored) = self.store.get(&record_key(digest)).await? else { return Ok(None) };
        let Stored::V1(record) = parse(&stored)?;
        Ok(Some(record))
    }

    /// Brings memory in step with the store.
    async fn read_all(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut stored = HashSet::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.stored(after.as_deref()).await?;
            for (digest, record) in page.records {
                let until = record.until();
                self.slots.set_if_absent(digest.0, Slot::Live(record.principal()), until, now);
                stored.insert(digest.0);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        // What is held and not stored was revoked while nobody listened, or stored after the scan.
        let missing = |digest: &[u8; 32], slot: &Slot| match slot {
            Slot::Live(key) if !stored.contains(digest) => Some(key.grant().expires_at),
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

async fn listen(keys: std::sync::Weak<Keys>, mut subscription: Subscription) {
    while let Some(notice) = subscription.next().await {
        let Some(keys) = keys.upgrade() else { return };
        keys.hear(notice).await;
    }
}

fn record_key_prefix() -> &'static str {
    "ks/key/"
}

fn record_key(digest: &KeyDigest) -> String {
    format!("{}{digest}", record_key_prefix())
}

fn named_key(jti: &KeyId) -> String {
    format!("ks/jti/{jti}")
}
