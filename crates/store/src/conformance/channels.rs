//! Publishing and subscribing.

use super::{Outcome, Subject};
use crate::Notice;

/// From the moment they subscribe on, and nothing of other channels.
pub async fn all_subscribers_hear_their_channel_in_order((store, _): Subject) -> Outcome {
    store.publish("a", b"too early").await?;
    let mut first = store.subscribe("a").await?;
    store.publish("a", b"1").await?;
    let mut second = store.subscribe("a").await?;
    let mut other = store.subscribe("b").await?;
    drop(store.subscribe("a").await?);
    store.publish("b", b"").await?;
    store.publish("a", b"2").await?;
    store.publish("a", b"3").await?;
    let message = |bytes: &[u8]| Some(Notice::Message(bytes.to_vec()));
    for bytes in [b"1", b"2", b"3"] {
        assert_eq!(first.next().await, message(bytes));
    }
    for bytes in [b"2", b"3"] {
        assert_eq!(second.next().await, message(bytes));
    }
    assert_eq!(other.next().await, message(b""));
    Ok(())
}

/// And then hears what came last. Those who keep up miss nothing.
pub async fn a_slow_subscriber_is_told_that_it_missed_something((store, _): Subject) -> Outcome {
    let mut slow = store.subscribe("a").await?;
    let mut quick = store.subscribe("a").await?;
    for n in 0..10_000_u32 {
        store.publish("a", &n.to_be_bytes()).await?;
        assert_eq!(quick.next().await, Some(Notice::Message(n.to_be_bytes().to_vec())));
    }
    assert_eq!(slow.next().await, Some(Notice::Missed));
    let mut last = None;
    for _ in 0..10_000 {
        last = slow.next().await;
        if last == Some(Notice::Message(9_999_u32.to_be_bytes().to_vec())) {
            return Ok(());
        }
    }
    panic!("it never caught up: {last:?}");
}

/// After whatever was still to be heard.
pub async fn subscriptions_end_with_the_store((store, _): Subject) -> Outcome {
    let mut subscription = store.subscribe("a").await?;
    store.publish("a", b"last").await?;
    drop(store);
    assert_eq!(subscription.next().await, Some(Notice::Message(b"last".to_vec())));
    assert_eq!(subscription.next().await, None);
    Ok(())
}
