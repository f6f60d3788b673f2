//! The file: who may have it, what it keeps, and what becomes of a damaged one.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use portunus_auth_core::Clock;
use portunus_auth_core::clock::ManualClock;
use portunus_store::{Embedded, OpenError, Reservation, Store, StoreError, Window, open};
use tempfile::tempdir;
use tokio::task::unconstrained;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at_unix(1_000))
}

/// What stands behind the error, down to the last cause.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

#[tokio::test]
async fn a_url_opens_an_engine() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a b.redb");
    for url in
        ["memory:".to_owned(), format!("file:{}", path.display()), format!("file://{}", path.display())]
    {
        let store = open(&url, clock()).unwrap();
        store.put("a", b"1", None).await.unwrap();
        assert_eq!(store.get("a").await.unwrap(), Some(b"1".to_vec()));
    }
    assert!(path.exists());
}

#[test]
fn a_url_of_no_engine_is_an_error_that_names_those_there_are_and_no_password() {
    for url in ["", "memory", "memory:x", "file:", "file://host/x", "ftp://me:hunter2@host", "/var/x.redb"] {
        let error = open(url, clock()).unwrap_err();
        assert!(matches!(error, OpenError::Url), "{url}");
        assert_eq!(error.to_string(), "a store's URL is `memory:` or `file:PATH`");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[test]
fn a_missing_directory_is_an_error() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("missing/state.redb");
    let error = open(&format!("file:{}", path.display()), clock()).unwrap_err();
    assert!(matches!(&error, OpenError::File { source: StoreError::Unavailable(_), .. }));
    let text = causes(&error);
    assert!(text.contains("missing/state.redb") && text.contains("no such file or directory"), "{text}");
    assert!(!path.parent().unwrap().exists());
}

#[test]
fn one_at_a_time_has_the_file_open() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let first = Embedded::open(&path, clock()).unwrap();
    let error = Embedded::open(&path, clock()).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    assert!(causes(&error).contains("one process at a time"), "{}", causes(&error));
    drop(first);
    Embedded::open(&path, clock()).unwrap();
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempdir().unwrap();
    let path = folder.path().join("state.redb");
    drop(Embedded::open(&path, clock()).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[tokio::test]
async fn all_of_it_is_there_after_opening_again() {
    let folder = tempdir().unwrap();
    let (path, clock) = (folder.path().join("state.redb"), clock());
    let window = Window { length: Duration::from_secs(60) };
    let store = Embedded::open(&path, clock.clone()).unwrap();
    store.put("stays", b"1", None).await.unwrap();
    store.put("ends", b"1", Some(clock.now() + Duration::from_secs(10))).await.unwrap();
    store.put("deleted", b"1", None).await.unwrap();
    store.delete("deleted").await.unwrap();
    let Reservation::Held(held) = store.reserve("a", 7, 9, window).await.unwrap() else { panic!("room") };
    drop(store);

    let store = Embedded::open(&path, clock.clone()).unwrap();
    let keys: Vec<_> = store.scan("", None, 9).await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["ends", "stays"]);
    store.settle("a", held, 5).await.unwrap();
    let full = Reservation::Full { used: 5, until: held.until };
    assert_eq!(store.reserve("a", 5, 9, window).await.unwrap(), full);
    clock.advance(Duration::from_secs(10));
    assert_eq!(store.get("ends").await.unwrap(), None);
}

#[tokio::test]
async fn dropping_the_store_does_what_was_asked_for_by_callers_who_have_gone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let store = Embedded::open(&path, clock()).unwrap();
    for n in 0..500 {
        let key = n.to_string();
        // As if each came from a task of its own: one task may not ask this often without a pause.
        let mut put = Box::pin(unconstrained(store.put(&key, b"", None)));
        let _ = put.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    drop(store);
    let store = Embedded::open(&path, clock()).unwrap();
    assert_eq!(store.scan("", None, usize::MAX).await.unwrap().len(), 500);
}

#[test]
fn a_file_of_another_kind_is_refused_and_left_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("state.redb");
    for content in [b"x".to_vec(), b"[server]\nlisten = 1\n".to_vec(), vec![0; 100_000], vec![255; 100_000]] {
        fs::write(&path, &content).unwrap();
        let error = Embedded::open(&path, clock()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        assert!(fs::read(&path).unwrap() == content);
    }
}

/// What a file holds when the store is closed, and what it held just before.
struct Content {
    closed: Vec<u8>,
    open: Vec<u8>,
    entries: Vec<(String, Vec<u8>)>,
}

async fn fill(path: &Path) -> Content {
    let store = Embedded::open(path, clock()).unwrap();
    for n in 0..200_u32 {
        store.put(&format!("{n:03}"), &n.to_be_bytes().repeat(100), None).await.unwrap();
    }
    store.delete("100").await.unwrap();
    let entries = store.scan("", None, usize::MAX).await.unwrap();
    let open = fs::read(path).unwrap();
    drop(store);
    Content { closed: fs::read(path).unwrap(), open, entries }
}

/// Opens the file and reads all of it. A part nothing refers to may be damaged without harm; anything
/// else is an error, never another answer.
async fn right_or_refused(path: &Path, expected: &[(String, Vec<u8>)], what: &str) -> bool {
    match Embedded::open(path, clock()) {
        Err(StoreError::Corrupt(_)) => true,
        Err(error) => panic!("{what}: {error:?}"),
        Ok(store) => {
            let found = store.scan("", None, usize::MAX).await.unwrap();
            assert!(found == expected, "{what}: another answer");
            false
        }
    }
}

/// Also one whose process was killed: what was acknowledged last is not given up for what was before.
#[tokio::test]
async fn a_damaged_file_is_refused_and_never_misread() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let Content { closed, open, entries } = fill(&path).await;
    for (what, content) in [("closed", closed), ("open", open)] {
        let mut refused = 0;
        for at in (0..320).step_by(3).chain((4_096..content.len()).step_by(2_039)) {
            let mut damaged = content.clone();
            damaged[at] ^= 0x55;
            fs::write(&path, damaged).unwrap();
            let what = format!("{what}, byte {at}");
            refused += usize::from(right_or_refused(&path, &entries, &what).await);
        }
        assert!(refused > 10, "{what}: {refused}");
    }
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let Content { closed, .. } = fill(&path).await;
    for keep in [1, 8, 9, 10, 64, 320, 4_095, 4_096, 8_192, closed.len() / 2] {
        fs::write(&path, &closed[..keep]).unwrap();
        assert!(right_or_refused(&path, &[], &format!("{keep} bytes kept")).await, "{keep} bytes kept");
    }
}
