//! Keys that came to their end by themselves.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::Principal;
use portunus_store::StoreError;

use super::{Keys, Slot};
use crate::key::KeyDigest;

/// For how long it is remembered which server told the audit that a key ended; all servers that know a key look
/// at the same instant, as far as their clocks agree.
const REMEMBERED: Duration = Duration::from_secs(3600);

impl Keys {
    /// The next key that has ended without having been revoked, and which no other server has been given.
    /// Memory forgets it, and those that were revoked.
    ///
    /// # Errors
    /// The store cannot tell who is given it. It is given again.
    pub(crate) async fn next_expired(&self) -> Result<Option<Arc<Principal>>, StoreError> {
        let now = self.clock.now();
        while let Some((digest, slot)) = self.slots.take_ended(now) {
            let Slot::Live { key, .. } = &slot else { continue };
            let name = format!("ks/expired/{}", KeyDigest(digest));
            match self.store.put_if_absent(&name, b"1", Some(now + REMEMBERED)).await {
                Ok(true) => return Ok(Some(key.clone())),
                Ok(false) => {}
                Err(error) => {
                    let ended = key.grant().expires_at;
                    self.slots.set_if_absent(digest, slot, ended, now);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }
}
