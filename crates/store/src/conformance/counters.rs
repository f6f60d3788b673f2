//! Reserving and settling.

use std::time::{Duration, SystemTime};

use super::{Outcome, Subject};
use crate::{Held, Reservation, Store, StoreError, Window};

const MINUTE: Window = Window { length: Duration::from_secs(60) };

fn unix(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

async fn hold(store: &dyn Store, counter: &str, amount: u64) -> Result<Held, StoreError> {
    match store.reserve(counter, amount, u64::MAX, MINUTE).await? {
        Reservation::Held(held) => Ok(held),
        Reservation::Full { .. } => panic!("there is room"),
    }
}

/// What the counter says, without changing it.
async fn used(store: &dyn Store, counter: &str) -> Result<u64, StoreError> {
    hold(store, counter, 0).await.map(|held| held.used)
}

/// Up to the cap and not beyond it; a refusal takes nothing.
pub async fn reserve_keeps_to_the_cap((store, clock): Subject) -> Outcome {
    clock.jump_to(unix(6_000));
    let until = unix(6_060);
    let held = |amount, used| Reservation::Held(Held { amount, used, until });
    let full = |used| Reservation::Full { used, until };
    for (amount, cap, answer) in [
        (11, 10, full(0)),
        (4, 10, held(4, 4)),
        (7, 10, full(4)),
        (6, 10, held(6, 10)),
        (0, 10, held(0, 10)),
        (1, 10, full(10)),
        (0, 9, full(10)),
        (2, 12, held(2, 12)),
        (1, 0, full(12)),
    ] {
        assert_eq!(store.reserve("a", amount, cap, MINUTE).await?, answer, "{amount} of {cap}");
    }
    Ok(())
}

/// Since 1970, whenever the first reservation comes; a new window begins at the very instant.
pub async fn windows_are_multiples_of_their_length((store, clock): Subject) -> Outcome {
    clock.jump_to(unix(6_059) + Duration::from_nanos(999_999_999));
    let last = hold(&*store, "a", 5).await?;
    assert_eq!((last.used, last.until), (5, unix(6_060)));
    clock.advance(Duration::from_nanos(1));
    let first = hold(&*store, "a", 3).await?;
    assert_eq!((first.used, first.until), (3, unix(6_120)));

    let week = Window { length: Duration::from_secs(604_800) };
    match store.reserve("b", 1, 1, week).await? {
        Reservation::Held(held) => assert_eq!(held.until, unix(604_800)),
        Reservation::Full { .. } => panic!("there is room"),
    }
    Ok(())
}

/// From each other, and from values of the same name.
pub async fn counters_are_apart((store, _): Subject) -> Outcome {
    store.put("a", b"1", None).await?;
    for counter in ["a", "b", "", "ab"] {
        assert_eq!(hold(&*store, counter, 7).await?.used, 7);
    }
    assert_eq!(store.get("a").await?, Some(b"1".to_vec()));
    assert!(store.delete("a").await?);
    assert_eq!(used(&*store, "a").await?, 7);
    assert_eq!(store.scan("", None, 9).await?, []);
    Ok(())
}

/// By less, by more, by the same, and by nothing.
pub async fn settle_replaces_what_was_reserved((store, _): Subject) -> Outcome {
    let first = hold(&*store, "a", 10).await?;
    let second = hold(&*store, "a", 20).await?;
    let third = hold(&*store, "a", 30).await?;
    for (held, spent, then) in [(second, 1, 41), (first, 15, 46), (third, 30, 46)] {
        store.settle("a", held, spent).await?;
        assert_eq!(used(&*store, "a").await?, then);
    }
    let fourth = hold(&*store, "a", 4).await?;
    store.settle("a", fourth, 0).await?;
    assert_eq!(used(&*store, "a").await?, 46);
    assert_eq!(used(&*store, "b").await?, 0);
    Ok(())
}

/// Neither the window that has come, at its first instant or later, nor the one that has gone.
pub async fn settle_after_the_window_changes_nothing((store, clock): Subject) -> Outcome {
    let start = unix(6_000);
    clock.jump_to(start);
    let held = hold(&*store, "a", 10).await?;
    let late = hold(&*store, "a", 10).await?;
    clock.jump_to(held.until);
    store.settle("a", held, 1_000).await?;
    assert_eq!(used(&*store, "a").await?, 0);
    assert_eq!(hold(&*store, "a", 5).await?.used, 5);
    store.settle("a", late, 0).await?;
    assert_eq!(used(&*store, "a").await?, 5);
    Ok(())
}

/// At the largest numbers the answer is "full", not a small number.
pub async fn counting_does_not_overflow((store, _): Subject) -> Outcome {
    let most = hold(&*store, "a", u64::MAX).await?;
    assert_eq!(most.used, u64::MAX);
    let more = store.reserve("a", 1, u64::MAX, MINUTE).await?;
    assert_eq!(more, Reservation::Full { used: u64::MAX, until: most.until });
    store.settle("a", most, u64::MAX - 1).await?;
    let last = hold(&*store, "a", 1).await?;
    store.settle("a", last, u64::MAX).await?;
    assert_eq!(used(&*store, "a").await?, u64::MAX);

    for length in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let answer = store.reserve("b", 1, 0, Window { length }).await?;
        assert!(matches!(answer, Reservation::Full { used: 0, .. }));
    }
    Ok(())
}
