//! Many callers at once, and callers who go away.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::{Outcome, Subject};
use crate::{NewValue, Reservation, Store, StoreError, Window};

const CALLERS: u64 = 64;

/// Starts all callers, then waits for all.
async fn race<T, F>(
    store: &Arc<dyn Store>,
    call: impl Fn(Arc<dyn Store>, u64) -> F,
) -> Result<Vec<T>, StoreError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    let callers: Vec<_> = (0..CALLERS).map(|n| tokio::spawn(call(store.clone(), n))).collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await.expect("no caller panics")?);
    }
    Ok(answers)
}

fn winner(answers: &[bool]) -> Vec<u8> {
    let winners: Vec<_> = (0..CALLERS).zip(answers).filter(|(_, won)| **won).map(|(n, _)| n).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    winners[0].to_be_bytes().to_vec()
}

/// And what it set is what stays.
pub async fn one_of_many_sets_what_is_absent((store, _): Subject) -> Outcome {
    let answers =
        race(&store, |store, n| async move { store.put_if_absent("a", &n.to_be_bytes(), None).await })
            .await?;
    assert_eq!(store.get("a").await?, Some(winner(&answers)));
    Ok(())
}

/// When all expect the same, and when all expect nothing.
pub async fn one_of_many_swaps((store, _): Subject) -> Outcome {
    store.put("there", b"old", None).await?;
    for (key, expected) in [("there", Some(b"old".as_slice())), ("absent", None)] {
        let answers = race(&store, |store, n| async move {
            let new = NewValue { value: &n.to_be_bytes(), expires_at: None };
            store.compare_and_swap(key, expected, Some(new)).await
        })
        .await?;
        assert_eq!(store.get(key).await?, Some(winner(&answers)));
    }
    Ok(())
}

/// All increment one number, each trying until its own swap succeeds.
pub async fn no_swap_is_lost((store, _): Subject) -> Outcome {
    race(&store, |store, _| async move {
        loop {
            let old = store.get("a").await?;
            let number = old.as_deref().map_or(0, |bytes| u64::from(bytes[0]));
            let new = [u8::try_from(number + 1).expect("fewer callers than that")];
            let new = NewValue { value: &new, expires_at: None };
            if store.compare_and_swap("a", old.as_deref(), Some(new)).await? {
                return Ok(());
            }
        }
    })
    .await?;
    assert_eq!(store.get("a").await?.map(|bytes| u64::from(bytes[0])), Some(CALLERS));
    Ok(())
}

/// One is told that something was there.
pub async fn one_of_many_deletes((store, _): Subject) -> Outcome {
    store.put("a", b"", None).await?;
    let answers = race(&store, |store, _| async move { store.delete("a").await }).await?;
    winner(&answers);
    assert_eq!(store.get("a").await?, None);
    Ok(())
}

/// Exactly as many are let in as there is room for, and each is told another count.
pub async fn many_reserve_and_the_cap_holds((store, _): Subject) -> Outcome {
    let window = Window { length: Duration::from_secs(60) };
    let answers = race(&store, |store, _| async move { store.reserve("a", 3, 100, window).await }).await?;
    let mut counts: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Reservation::Held(held) => Some(held.used),
            Reservation::Full { used, .. } => {
                assert_eq!(*used, 99);
                None
            }
        })
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=33).map(|n| n * 3).collect::<Vec<_>>());
    Ok(())
}

/// Whoever stops waiting, the operation is done once or not at all, and those of others are done.
pub async fn a_dropped_caller_leaves_all_or_nothing((store, _): Subject) -> Outcome {
    let window = Window { length: Duration::from_secs(60) };
    store.put("there", b"old", None).await?;
    for n in 0..CALLERS {
        let key = format!("dropped/{n:02}");
        let new = NewValue { value: b"new", expires_at: None };
        let put = pin!(store.put(&key, b"whole", None));
        let swap = pin!(store.compare_and_swap("there", Some(b"old"), Some(new)));
        let reserve = pin!(store.reserve("a", 1, u64::MAX, window));
        let mut unheard = Context::from_waker(Waker::noop());
        let _ = put.poll(&mut unheard);
        let _ = swap.poll(&mut unheard);
        let _ = reserve.poll(&mut unheard);
    }
    store.put("kept", b"whole", None).await?;
    for (key, value) in store.scan("", None, 99).await? {
        let expected: &[&[u8]] = if key == "there" { &[b"old", b"new"] } else { &[b"whole"] };
        assert!(expected.contains(&value.as_slice()), "{key}");
    }
    assert_eq!(store.get("kept").await?, Some(b"whole".to_vec()));
    match store.reserve("a", 0, u64::MAX, window).await? {
        Reservation::Held(held) => assert!(held.used <= CALLERS),
        Reservation::Full { .. } => panic!("there is room"),
    }
    Ok(())
}
