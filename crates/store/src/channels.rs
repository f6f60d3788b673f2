//! Messages within one process: a broadcast per channel that somebody listens to.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::broadcast::{self, error::RecvError};

/// How many messages a subscriber may be behind before it misses some.
const BACKLOG: usize = 256;

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A message.
    Message(Vec<u8>),
    /// Messages were lost (too slow, or the connection broke): read anew whatever they kept up to date.
    Missed,
}

/// Listens to one channel.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Arc<[u8]>>,
}

impl Subscription {
    /// The next notice. `None`: the store is gone.
    ///
    /// A caller that drops the future loses nothing: the notice comes with the next call.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.receiver.recv().await {
            Ok(message) => Some(Notice::Message(message.to_vec())),
            Err(RecvError::Lagged(_)) => Some(Notice::Missed),
            Err(RecvError::Closed) => None,
        }
    }
}

/// The channels that somebody listens to.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    senders: DashMap<String, broadcast::Sender<Arc<[u8]>>>,
}

impl Channels {
    pub(crate) fn publish(&self, channel: &str, message: &[u8]) {
        let unheard = match self.senders.get(channel) {
            Some(sender) => sender.send(message.into()).is_err(),
            None => false,
        };
        if unheard {
            // Decided under the same lock as `subscribe`: nobody is cut off who has just come.
            self.senders.remove_if(channel, |_, sender| sender.receiver_count() == 0);
        }
    }

    pub(crate) fn subscribe(&self, channel: &str) -> Subscription {
        let sender = self.senders.entry(channel.to_owned()).or_insert_with(|| broadcast::channel(BACKLOG).0);
        Subscription { receiver: sender.subscribe() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_forgotten_with_the_first_message_nobody_hears() {
        let channels = Channels::default();
        let stays = channels.subscribe("a");
        drop(channels.subscribe("b"));
        channels.publish("a", b"1");
        channels.publish("b", b"1");
        channels.publish("c", b"1");
        let kept: Vec<_> = channels.senders.iter().map(|entry| entry.key().clone()).collect();
        assert_eq!(kept, ["a"]);
        drop(stays);
    }
}
