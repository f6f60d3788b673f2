//! A disk that waits or fails when it is told to.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, StorageBackend};
use tempfile::NamedTempFile;
use tokio::task::unconstrained;

use super::*;

#[derive(Debug, Default)]
struct Disk {
    syncs: AtomicUsize,
    fails: AtomicBool,
    /// Whether a sync has to wait, and how many do.
    held: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Disk {
    fn hold(&self) {
        self.held.lock().unwrap().0 = true;
    }

    fn release(&self) {
        self.held.lock().unwrap().0 = false;
        self.changed.notify_all();
    }

    fn wait_for_a_sync(&self) {
        let held = self.held.lock().unwrap();
        let long = Duration::from_secs(20);
        let (_held, given_up) =
            self.changed.wait_timeout_while(held, long, |(_, waiting)| *waiting == 0).unwrap();
        assert!(!given_up.timed_out(), "nothing is written to the disk");
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, SeqCst);
        let mut held = self.held.lock().unwrap();
        held.1 += 1;
        self.changed.notify_all();
        held = self.changed.wait_while(held, |(hold, _)| *hold).unwrap();
        held.1 -= 1;
        if self.fails.load(SeqCst) { Err(io::Error::other("no space left")) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Backend(FileBackend, Arc<Disk>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

struct Subject {
    store: Embedded,
    clock: Arc<ManualClock>,
    disk: Arc<Disk>,
    path: NamedTempFile,
}

fn subject() -> Subject {
    let path = NamedTempFile::new().unwrap();
    let clock = Arc::new(ManualClock::at_unix(1_000));
    let disk = Arc::new(Disk::default());
    let (name, shared) = (path.path().to_owned(), disk.clone());
    let open = move |again| {
        let file = file::open_private(&name, again)?;
        file::database(Backend(FileBackend::new(file).map_err(file::failed)?, shared.clone()))
    };
    let file = DataFile::open(Box::new(open)).unwrap();
    let store = Embedded::start(file, clock.clone()).unwrap();
    Subject { store, clock, disk, path }
}

/// Whoever polls many futures at once wraps them in `unconstrained`, as if each had a task of its own.
fn ask<T>(mut future: Pin<&mut T>) -> std::task::Poll<T::Output>
where
    T: Future + ?Sized,
{
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn sizes(store: &Embedded) -> (u64, u64) {
    store
        .file
        .with(|database: &Database| {
            let read = database.begin_read().map_err(file::failed)?;
            let rows = read.open_table(tables::ROWS).map_err(file::failed)?;
            let ends = read.open_table(tables::ENDS).map_err(file::failed)?;
            Ok((rows.len().map_err(file::failed)?, ends.len().map_err(file::failed)?))
        })
        .unwrap()
}

#[tokio::test]
async fn an_answer_waits_for_the_disk() {
    let Subject { store, disk, path: _path, .. } = subject();
    disk.hold();
    let mut put = store.put("a", b"1", None);
    assert!(ask(put.as_mut()).is_pending());
    disk.wait_for_a_sync();
    assert!(ask(put.as_mut()).is_pending());
    assert_eq!(store.get("a").await.unwrap(), None, "nobody reads what is not on the disk");
    disk.release();
    put.await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(b"1".to_vec()));
}

#[tokio::test]
async fn who_waits_shares_a_commit_and_a_full_queue_lets_in_all_in_turn() {
    let Subject { store, disk, path: _path, .. } = subject();
    disk.hold();
    let mut first = store.put("first", b"", None);
    assert!(ask(first.as_mut()).is_pending());
    disk.wait_for_a_sync();
    let before = disk.syncs.load(SeqCst);
    let keys: Vec<_> = (0..1_100).map(|n| n.to_string()).collect();
    let mut puts: Vec<_> =
        keys.iter().map(|key| Box::pin(unconstrained(store.put(key, b"", None)))).collect();
    for put in &mut puts {
        assert!(ask(put.as_mut()).is_pending());
    }
    disk.release();
    first.await.unwrap();
    for put in puts {
        put.await.unwrap();
    }
    assert_eq!(store.scan("", None, usize::MAX).await.unwrap().len(), 1_101);
    let syncs = disk.syncs.load(SeqCst) - before;
    // Those beyond the queue's end are let in one by one here, because nothing else polls them.
    assert!(syncs < 200, "{syncs} for 1100 operations");
}

#[tokio::test]
async fn a_failed_commit_is_an_error_and_the_store_comes_back_with_the_disk() {
    let Subject { store, disk, path: _path, .. } = subject();
    store.put("before", b"1", None).await.unwrap();
    disk.fails.store(true, SeqCst);
    for _ in 0..2 {
        let failed = store.put("during", b"1", None).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    }
    let unread = store.get("before").await;
    assert!(matches!(unread, Err(StoreError::Unavailable(_))), "{unread:?}");
    disk.fails.store(false, SeqCst);
    store.put("after", b"1", None).await.unwrap();
    assert_eq!(store.get("before").await.unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.get("after").await.unwrap(), Some(b"1".to_vec()));
}

#[tokio::test]
async fn a_file_that_has_gone_is_not_replaced_by_an_empty_one() {
    let Subject { store, disk, path, .. } = subject();
    store.put("before", b"1", None).await.unwrap();
    for hide in [|path: &Path| std::fs::remove_file(path), |path: &Path| std::fs::write(path, b"")] {
        hide(path.path()).unwrap();
        disk.fails.store(true, SeqCst);
        store.put("during", b"1", None).await.unwrap_err();
        disk.fails.store(false, SeqCst);
        store.put("after", b"1", None).await.unwrap_err();
        store.get("before").await.unwrap_err();
    }
}

#[tokio::test]
async fn what_has_ended_leaves_the_file() {
    let Subject { store, clock, disk, path: _path } = subject();
    disk.hold();
    let end = Some(clock.now() + Duration::from_secs(60));
    let keys: Vec<_> = (0..1_000).map(|n| n.to_string()).collect();
    let mut puts: Vec<_> = keys.iter().map(|key| Box::pin(unconstrained(store.put(key, b"", end)))).collect();
    for put in &mut puts {
        assert!(ask(put.as_mut()).is_pending());
    }
    disk.release();
    for put in puts {
        put.await.unwrap();
    }
    let (hour, minute) = (Duration::from_secs(3_600), Duration::from_secs(60));
    store.put("stays", b"", None).await.unwrap();
    store.put("stays a while", b"", Some(clock.now() + hour)).await.unwrap();
    store.reserve("a", 1, 1, Window { length: minute }).await.unwrap();
    store.reserve("a", 1, 1, Window { length: hour }).await.unwrap();
    assert_eq!(sizes(&store), (1_004, 1_003));

    clock.advance(minute);
    for _ in 0..5 {
        store.put("stays", b"", None).await.unwrap();
    }
    assert_eq!(sizes(&store), (3, 2));
    assert_eq!(store.scan("", None, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_decides_nothing_is_not_committed() {
    let Subject { store, disk, path: _path, .. } = subject();
    let window = Window { length: Duration::from_secs(60) };
    store.put("a", b"1", None).await.unwrap();
    let Reservation::Held(held) = store.reserve("a", 1, 1, window).await.unwrap() else { panic!() };
    let before = disk.syncs.load(SeqCst);
    assert!(!store.put_if_absent("a", b"2", None).await.unwrap());
    assert!(!store.compare_and_swap("a", None, None).await.unwrap());
    assert!(!store.delete("b").await.unwrap());
    store.reserve("a", 1, 1, window).await.unwrap();
    store.settle("a", held, 1).await.unwrap();
    assert_eq!(disk.syncs.load(SeqCst), before);
}

#[tokio::test]
async fn a_value_in_another_encoding_is_an_error_of_its_own() {
    let Subject { store, path: _path, .. } = subject();
    store.put("good", b"1", None).await.unwrap();
    for bad in [&[][..], &[1; 8], &[2; 20]] {
        store
            .file
            .with(|database| {
                let write = tables::begin(database)?;
                let mut rows = write.open_table(tables::ROWS).map_err(file::failed)?;
                rows.insert(value_row("bad").as_slice(), bad).map_err(file::failed)?;
                drop(rows);
                write.commit().map_err(file::failed)
            })
            .unwrap();
        assert!(matches!(store.get("bad").await, Err(StoreError::Corrupt(_))));
        assert!(matches!(store.put("bad", b"", None).await, Err(StoreError::Corrupt(_))));
        assert!(matches!(store.scan("", None, 9).await, Err(StoreError::Corrupt(_))));
        assert_eq!(store.get("good").await.unwrap(), Some(b"1".to_vec()));
        store.put("good", b"1", None).await.unwrap();
    }
}
