//! One value at a time, and when it ends.

use std::time::Duration;

use portunus_auth_core::Clock;

use super::{Outcome, Subject};
use crate::NewValue;

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// A value is read as it was put, under its own key only, until it is put anew.
pub async fn what_is_put_is_read_back((store, _): Subject) -> Outcome {
    for key in ["", "a", "a/b", "A", "ключ/🔑", "a\0b", "v", "c"] {
        assert_eq!(store.get(key).await?, None, "{key:?}");
        store.put(key, key.as_bytes(), None).await?;
    }
    for key in ["", "a", "a/b", "A", "ключ/🔑", "a\0b", "v", "c"] {
        assert_eq!(store.get(key).await?.as_deref(), Some(key.as_bytes()), "{key:?}");
    }
    store.put("a", b"2", None).await?;
    assert_eq!(store.get("a").await?.as_deref(), Some(b"2".as_slice()));
    Ok(())
}

/// A value of no bytes is a value; so is one of a mebibyte.
pub async fn large_values_and_empty_ones_are_kept((store, _): Subject) -> Outcome {
    let large: Vec<u8> = (0..1_u32 << 20).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    store.put("large", &large, None).await?;
    store.put("empty", b"", None).await?;
    assert!(store.get("large").await?.as_ref() == Some(&large));
    assert_eq!(store.get("empty").await?, Some(Vec::new()));
    assert!(!store.put_if_absent("empty", b"1", None).await?);
    assert!(store.compare_and_swap("large", Some(&large), None).await?);
    assert_eq!(store.scan("", None, 9).await?, [("empty".to_owned(), Vec::new())]);
    Ok(())
}

/// It is there one nanosecond before, and to no operation at or after the instant.
pub async fn an_entry_is_gone_from_its_instant_on((store, clock): Subject) -> Outcome {
    let end = clock.now() + TEN_SECONDS;
    for key in ["get", "scan", "delete", "absent", "swap", "swap none"] {
        store.put(key, b"1", Some(end)).await?;
    }
    clock.advance(TEN_SECONDS - Duration::from_nanos(1));
    assert_eq!(store.get("get").await?, Some(b"1".to_vec()));
    assert_eq!(store.scan("", None, 9).await?.len(), 6);
    assert!(!store.put_if_absent("absent", b"2", None).await?);

    clock.advance(Duration::from_nanos(1));
    assert_eq!(store.scan("", None, 9).await?, []);
    assert_eq!(store.get("get").await?, None);
    assert!(!store.delete("delete").await?);
    assert!(store.put_if_absent("absent", b"2", None).await?);
    assert!(!store.compare_and_swap("swap", Some(b"1"), None).await?);
    let new = NewValue { value: b"2", expires_at: None };
    assert!(store.compare_and_swap("swap none", None, Some(new)).await?);
    assert_eq!(store.get("absent").await?, Some(b"2".to_vec()));
    assert_eq!(store.get("swap none").await?, Some(b"2".to_vec()));
    Ok(())
}

/// It replaces what was there, all the same.
pub async fn an_entry_that_ended_before_it_was_put_is_not_there((store, clock): Subject) -> Outcome {
    let past = NewValue { value: b"2", expires_at: Some(clock.now()) };
    for key in ["put", "swap"] {
        store.put(key, b"1", None).await?;
    }
    store.put("put", past.value, past.expires_at).await?;
    assert!(store.compare_and_swap("swap", Some(b"1"), Some(past)).await?);
    assert!(store.put_if_absent("absent", past.value, past.expires_at).await?);
    assert!(store.put_if_absent("absent", past.value, past.expires_at).await?);
    assert_eq!(store.scan("", None, 9).await?, []);
    Ok(())
}

/// Later or earlier than it was, or not at all.
pub async fn the_last_put_decides_when_it_ends((store, clock): Subject) -> Outcome {
    let (soon, later) = (Some(clock.now() + TEN_SECONDS), Some(clock.now() + 2 * TEN_SECONDS));
    for (key, first, second) in [
        ("later", soon, later),
        ("sooner", later, soon),
        ("never", soon, None),
        ("at all", None, soon),
        ("same", soon, soon),
    ] {
        store.put(key, b"1", first).await?;
        let new = NewValue { value: b"2", expires_at: second };
        assert!(store.compare_and_swap(key, Some(b"1"), Some(new)).await?);
    }
    clock.advance(TEN_SECONDS);
    for n in 0..50 {
        store.put(&format!("another/{n}"), b"", soon).await?;
    }
    let there: Vec<_> = store.scan("", None, 9).await?.into_iter().map(|(key, _)| key).collect();
    assert_eq!(there, ["later", "never"]);
    clock.advance(TEN_SECONDS);
    assert_eq!(store.scan("", None, 9).await?, [("never".to_owned(), b"2".to_vec())]);
    Ok(())
}

/// Whatever removes ended entries removes nothing else.
pub async fn many_entries_end_and_the_others_stay((store, clock): Subject) -> Outcome {
    let start = clock.now();
    for n in 0..300_u32 {
        let end = (n % 3 > 0).then(|| start + TEN_SECONDS * (n % 3));
        store.put(&format!("{n:03}"), &n.to_be_bytes(), end).await?;
    }
    for (passed, stay) in [(0, 300), (1, 200), (2, 100)] {
        clock.jump_to(start + TEN_SECONDS * passed);
        for _ in 0..100 {
            store.put("000", &0_u32.to_be_bytes(), None).await?;
        }
        let there = store.scan("", None, 1_000).await?;
        assert_eq!(there.len(), stay);
        for (key, value) in there {
            assert_eq!(value, key.parse().unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    Ok(())
}

/// The first one sets, until what it set is deleted.
pub async fn put_if_absent_sets_only_where_nothing_lives((store, _): Subject) -> Outcome {
    assert!(store.put_if_absent("a", b"1", None).await?);
    assert!(!store.put_if_absent("a", b"2", None).await?);
    assert_eq!(store.get("a").await?, Some(b"1".to_vec()));
    assert!(store.delete("a").await?);
    assert!(store.put_if_absent("a", b"3", None).await?);
    assert_eq!(store.get("a").await?, Some(b"3".to_vec()));
    Ok(())
}

/// Every combination of what is there, what is expected and what replaces it.
pub async fn compare_and_swap_swaps_only_what_is_expected((store, _): Subject) -> Outcome {
    let values = [None, Some(b"".as_slice()), Some(b"1".as_slice()), Some(b"10".as_slice())];
    for there in values {
        for expected in values {
            for new in values {
                match there {
                    Some(value) => store.put("a", value, None).await?,
                    None => drop(store.delete("a").await?),
                }
                let replacement = new.map(|value| NewValue { value, expires_at: None });
                let swapped = store.compare_and_swap("a", expected, replacement).await?;
                assert_eq!(swapped, there == expected, "{there:?} {expected:?} {new:?}");
                let after = if swapped { new } else { there };
                assert_eq!(store.get("a").await?.as_deref(), after, "{there:?} {expected:?} {new:?}");
            }
        }
    }
    Ok(())
}

/// And it is not there afterwards.
pub async fn delete_says_whether_something_was_there((store, _): Subject) -> Outcome {
    assert!(!store.delete("a").await?);
    store.put("a", b"", None).await?;
    store.put("ab", b"", None).await?;
    assert!(store.delete("a").await?);
    assert!(!store.delete("a").await?);
    assert_eq!(store.get("a").await?, None);
    assert_eq!(store.get("ab").await?, Some(Vec::new()));
    Ok(())
}
