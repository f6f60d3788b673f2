//! A key that its holder gives back.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::{AuthError, BearerToken, Principal};
use portunus_store::StoreError;

use super::{Keys, Slot};
use crate::index::{Place, unix};
use crate::key::KeyDigest;

/// For how long other servers remember a key whose revocation is announced again; its own end is not known
/// any more.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

impl Keys {
    /// Who holds the presented key, which need not have been announced here yet.
    ///
    /// A key whose record is gone may still be known to other servers, if the store failed in the middle of
    /// its revocation; so that is announced again.
    pub(crate) async fn presented(
        &self,
        token: &BearerToken,
    ) -> Result<Result<(KeyDigest, Arc<Principal>), AuthError>, StoreError> {
        let now = self.clock.now();
        let Some(digest) = self.pepper.digest(token) else { return Ok(Err(AuthError::Malformed)) };
        let held = self.slots.get(&digest.0, |slot| match slot {
            Slot::Live { key, .. } => Some(key.clone()),
            Slot::Revoked => None,
        });
        if let Some(Some(key)) = held {
            let is_live = key.grant().expires_at > now;
            return Ok(if is_live { Ok((digest, key)) } else { Err(AuthError::Expired) });
        }
        match (self.record(&digest).await?, held) {
            (Some(record), _) => Ok(Ok((digest, record.principal()))),
            (None, None) => Ok(Err(AuthError::Unknown)),
            (None, Some(_)) => {
                let until = unix(now + REMEMBERED);
                self.announce_revoked(&[Place { digest, until }]).await?;
                Ok(Err(AuthError::Revoked))
            }
        }
    }
}
