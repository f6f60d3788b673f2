//! Watches whether the store can be reached.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Inner, KeyServer};

/// How often to ask.
const EVERY: Duration = Duration::from_secs(1);

/// Watches as long as the server is there.
pub(super) async fn watch(server: Weak<Inner>) {
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let Some(inner) = server.upgrade() else { return };
        KeyServer(inner).watch_store().await;
    }
}

impl KeyServer {
    /// Asks the store whether it can be reached, and goes by the answer: while it cannot, keys that are not
    /// known are not told to be unknown, and after `key_server.fail_static` those that are known do not work
    /// either. Once it answers again, what was missed is read before keys are believed again. `false`: keys are
    /// not in step with the store. The server asks every second by itself.
    pub async fn watch_store(&self) -> bool {
        self.0.keys.watch_store().await
    }
}
