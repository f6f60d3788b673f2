//! Which keys there are, a page at a time, in the order in which they were issued.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::SystemTime;

use portunus_auth_core::{Grant, KeyId, PrincipalId};
use portunus_store::StoreError;

use super::record::{Named, named_key};
use super::{KeyRecord, Keys, Meant, issued_at};
use crate::index::{Index, parse};
use crate::key::KeyDigest;
use crate::policy::Holds;

/// How many names one page looks at, at most. A page of a selection that few keys are in can be short, or
/// empty, and still have a next one.
const MOST_NAMES: usize = 2_000;

/// How many names one scan asks for.
const AT_ONCE: usize = 200;

/// A live key, without its text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Its public name.
    pub key_id: KeyId,
    /// Whose it is.
    pub owner: PrincipalId,
    /// What it may be used for, and until when.
    pub grant: Grant,
    /// The policy that granted it.
    pub policy: Arc<str>,
    /// When it was issued.
    pub issued_at: SystemTime,
    /// The key that it was attenuated from, with which it ends.
    pub parent: Option<KeyId>,
}

/// Some live keys, the oldest first.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<KeyInfo>,
    /// The name after which the next page begins; `None` when there is none.
    pub next: Option<KeyId>,
}

impl Keys {
    /// At most `limit` of the selected keys, of those issued after the one of that name.
    pub(crate) async fn list(
        &self,
        meant: &Meant<'_>,
        after: Option<&KeyId>,
        limit: NonZeroUsize,
    ) -> Result<KeyPage, StoreError> {
        let now = self.clock.now();
        match meant.which.owner() {
            Some(owner) => self.list_of(&owner, meant, after, limit, now).await,
            None => self.list_all(meant, after, limit, now).await,
        }
    }

    /// From one owner's index: costs as much as that owner holds, however many keys others hold.
    async fn list_of(
        &self,
        owner: &PrincipalId,
        meant: &Meant<'_>,
        after: Option<&KeyId>,
        limit: NonZeroUsize,
        now: SystemTime,
    ) -> Result<KeyPage, StoreError> {
        let mut keys = Vec::new();
        for entry in Index::of(owner).read(&*self.store, now).await?.entries {
            keys.extend(self.selected(&entry.place.digest, meant, now).await?);
        }
        keys.retain(|key| after.is_none_or(|after| key.key_id > *after));
        keys.sort_by(|one, other| one.key_id.cmp(&other.key_id));
        let more = keys.len() > limit.get();
        keys.truncate(limit.get());
        let next = keys.last().filter(|_| more).map(|key| key.key_id.clone());
        Ok(KeyPage { keys, next })
    }

    async fn list_all(
        &self,
        meant: &Meant<'_>,
        after: Option<&KeyId>,
        limit: NonZeroUsize,
        now: SystemTime,
    ) -> Result<KeyPage, StoreError> {
        let prefix = named_key(&KeyId("".into()));
        let mut page = KeyPage { keys: Vec::new(), next: after.cloned() };
        let mut looked_at = 0;
        while looked_at < MOST_NAMES {
            let after = page.next.as_ref().map(named_key);
            let names = self.store.scan(&prefix, after.as_deref(), AT_ONCE).await?;
            looked_at += names.len();
            for (name, value) in &names {
                if page.keys.len() == limit.get() {
                    return Ok(page);
                }
                page.next = Some(KeyId(name.strip_prefix(&prefix).unwrap_or_default().into()));
                let Named { owner, place } = parse(value)?;
                if meant.which.is_about(&owner) {
                    page.keys.extend(self.selected(&place.digest, meant, now).await?);
                }
            }
            if names.len() < AT_ONCE {
                return Ok(KeyPage { next: None, ..page });
            }
        }
        Ok(page)
    }

    /// The key, if it is alive and selected.
    async fn selected(
        &self,
        digest: &KeyDigest,
        meant: &Meant<'_>,
        now: SystemTime,
    ) -> Result<Option<KeyInfo>, StoreError> {
        if self.is_revoked(digest) {
            return Ok(None);
        }
        let Some(record) = self.record(digest).await? else { return Ok(None) };
        let is_meant = record.until() > now && meant.is(&record) == Holds::Yes;
        let KeyRecord { jti, owner, grant, policy, parent, .. } = record;
        let issued_at = issued_at(&jti);
        Ok(is_meant.then_some(KeyInfo { key_id: jti, owner, grant, policy, issued_at, parent }))
    }
}
