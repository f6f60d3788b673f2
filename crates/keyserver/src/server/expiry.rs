//! Tells the audit of keys that came to their end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use portunus_auth_core::audit::{Actor, EventKind};
use portunus_auth_core::{Outcome, Principal, Via};

use super::{Inner, KeyServer, Peer};

/// How often to look.
const EVERY: Duration = Duration::from_secs(30);

/// Looks for ended keys as long as the server is there.
pub(super) async fn watch(server: Weak<Inner>) {
    let mut turns = tokio::time::interval(EVERY);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // An ended key for which the audit had no room.
    let mut untold = None;
    loop {
        turns.tick().await;
        let Some(inner) = server.upgrade() else { return };
        untold = KeyServer(inner).tell_expired(untold).await;
    }
}

impl KeyServer {
    /// Tells of all keys that have ended, this one first. Gives back the one for which there was no room.
    async fn tell_expired(&self, untold: Option<Arc<Principal>>) -> Option<Arc<Principal>> {
        let mut next = untold;
        loop {
            let key = match next.take() {
                Some(key) => key,
                None => match self.0.keys.next_expired().await {
                    Ok(Some(key)) => key,
                    Ok(None) => return None,
                    Err(error) => {
                        tracing::warn!(%error, "ended keys could not be told of; trying again");
                        return None;
                    }
                },
            };
            let Ok(mut trail) = self.trail(EventKind::TokenExpired, Peer::default()) else {
                return Some(key);
            };
            let event = trail.event();
            event.actor = Some(Actor::System);
            event.target.owner = Some(Arc::new(key.id().clone()));
            if let Via::Key(jti) = key.via() {
                event.target.jti = Some(jti.clone());
            }
            trail.finish(Outcome::Allowed);
        }
    }
}
