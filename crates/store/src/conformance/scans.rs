//! Many values at once.

use std::time::Duration;

use portunus_auth_core::Clock;

use super::{Outcome, Subject};
use crate::{Store, StoreError, Window};

async fn keys(
    store: &dyn Store,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    Ok(store.scan(prefix, after, limit).await?.into_iter().map(|(key, _)| key).collect())
}

/// Bytewise, which for UTF-8 is by code point.
pub async fn scan_is_in_key_order((store, _): Subject) -> Outcome {
    let mut put = ["b", "a", "", "ab", "a\u{10ffff}", "Z", "ä", "🔑", "a\0", "aa", "\u{7f}", "10", "9"];
    for key in put {
        store.put(key, key.as_bytes(), None).await?;
    }
    put.sort_unstable();
    let found = store.scan("", None, usize::MAX).await?;
    assert_eq!(found, put.map(|key| (key.to_owned(), key.as_bytes().to_vec())));
    Ok(())
}

/// Keys just before, at, and just behind the end of the prefix; nor do counters count as entries.
pub async fn scan_keeps_to_its_prefix((store, _): Subject) -> Outcome {
    for key in ["k", "k.", "k/", "k/\0", "k/a", "k/\u{10ffff}", "k/\u{10ffff}a", "k0", "l", "ключ", "клюшка"]
    {
        store.put(key, b"", None).await?;
    }
    store.reserve("k/counter", 1, 1, Window { length: Duration::from_secs(60) }).await?;
    let store = &*store;
    assert_eq!(keys(store, "k/", None, 99).await?, ["k/", "k/\0", "k/a", "k/\u{10ffff}", "k/\u{10ffff}a"]);
    assert_eq!(keys(store, "k/\u{10ffff}", None, 99).await?, ["k/\u{10ffff}", "k/\u{10ffff}a"]);
    assert_eq!(keys(store, "клю", None, 99).await?, ["ключ", "клюшка"]);
    assert_eq!(keys(store, "m", None, 99).await?, [""; 0]);
    assert_eq!(keys(store, "", None, 99).await?.len(), 11);
    Ok(())
}

/// With every size of page, and from places where nothing is.
pub async fn scan_pages_through_everything_once((store, _): Subject) -> Outcome {
    for n in 0..23 {
        store.put(&format!("p/{n:02}"), b"", None).await?;
    }
    store.put("o", b"", None).await?;
    store.put("q", b"", None).await?;
    let store = &*store;
    let all = keys(store, "p/", None, 99).await?;
    assert_eq!(all.len(), 23);
    for limit in [1, 2, 22, 23, 24] {
        let mut paged: Vec<String> = Vec::new();
        loop {
            let page = keys(store, "p/", paged.last().map(String::as_str), limit).await?;
            let last = page.len() < limit;
            paged.extend(page);
            if last {
                break;
            }
        }
        assert_eq!(paged, all, "pages of {limit}");
    }
    assert_eq!(keys(store, "p/", Some("p/21x"), 99).await?, ["p/22"]);
    assert_eq!(keys(store, "p/", Some("a"), 2).await?, ["p/00", "p/01"]);
    assert_eq!(keys(store, "p/", Some("p/22"), 99).await?, [""; 0]);
    assert_eq!(keys(store, "p/", Some("z"), 99).await?, [""; 0]);
    assert_eq!(keys(store, "p/", None, 0).await?, [""; 0]);
    Ok(())
}

/// A page is full of live entries however many ended ones lie between them.
pub async fn scan_leaves_out_what_has_ended((store, clock): Subject) -> Outcome {
    let end = clock.now() + Duration::from_secs(1);
    for n in 0..40 {
        store.put(&format!("{n:02}"), b"", (n % 10 != 9).then_some(end)).await?;
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(keys(&*store, "", None, 3).await?, ["09", "19", "29"]);
    assert_eq!(keys(&*store, "", Some("29"), 3).await?, ["39"]);
    Ok(())
}
