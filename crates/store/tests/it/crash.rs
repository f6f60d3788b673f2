//! What was acknowledged is there after `kill -9`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use portunus_auth_core::SystemClock;
use portunus_store::{Embedded, Store, StoreError};

/// Names the file; set in the child only.
const CHILD: &str = "PORTUNUS_STORE_CRASH_FILE";
const WRITERS: usize = 8;
const ROUNDS: usize = 6;

/// In the child, this is what is killed; in the parent, what kills and then looks.
#[test]
fn acknowledged_writes_survive_a_kill() {
    #[expect(clippy::disallowed_methods, reason = "so the parent tells its child apart")]
    if let Some(path) = std::env::var_os(CHILD) {
        return write_until_killed(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let mut acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut child = spawn(&path);
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        read_acknowledgements(&mut lines, 20 + 70 * round, &mut acknowledged);
        child.kill().unwrap();
        read_acknowledgements(&mut lines, usize::MAX, &mut acknowledged);
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it ended by itself");
        check(&path, &acknowledged);
    }
    let deleted = acknowledged.values().filter(|there| !**there).count();
    assert!(deleted > ROUNDS && acknowledged.len() > 2 * deleted, "{deleted} of {}", acknowledged.len());
}

fn spawn(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::acknowledged_writes_survive_a_kill", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Up to `count` of them: key, and whether it is there. A line without an end was cut off.
fn read_acknowledgements(lines: &mut impl BufRead, count: usize, acknowledged: &mut BTreeMap<String, bool>) {
    let mut seen = 0;
    let mut line = String::new();
    while seen < count && lines.read_line(&mut line).unwrap() > 0 {
        if let Some((what @ ("put" | "del"), key)) =
            line.strip_suffix('\n').and_then(|line| line.split_once(' '))
        {
            acknowledged.insert(key.to_owned(), what == "put");
            seen += 1;
        }
        line.clear();
    }
}

fn check(path: &Path, acknowledged: &BTreeMap<String, bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open(path, Arc::new(SystemClock)).unwrap();
        let found: BTreeMap<_, _> = store.scan("", None, usize::MAX).await.unwrap().into_iter().collect();
        for (key, there) in acknowledged {
            if *there {
                // One more operation may have been done than was acknowledged: its own delete.
                assert!(found.get(key).is_none_or(|value| value == key.as_bytes()), "{key} is another value");
            }
            assert!(found.contains_key(key) == *there || deletes(key) && *there, "{key}: there? {there}");
        }
    });
}

/// Whether the child deletes this key some time after it put it.
fn deletes(key: &str) -> bool {
    key.ends_with('0')
}

fn write_until_killed(path: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Embedded::open(path, Arc::new(SystemClock)).unwrap());
        let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(store.clone(), writer))).collect();
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
    });
}

/// Never ends. Starts each line anew, because the test harness may have left one unfinished.
async fn write(store: Arc<Embedded>, writer: usize) -> Result<(), StoreError> {
    let run = store.scan("run/", None, usize::MAX).await?.len();
    store.put(&format!("run/{writer}/{run}"), b"", None).await?;
    for n in 0_u64.. {
        let key = format!("{writer}/{run}/{n}");
        store.put(&key, key.as_bytes(), None).await?;
        acknowledge("put", &key);
        if deletes(&key) {
            store.delete(&key).await?;
            acknowledge("del", &key);
        }
    }
    Ok(())
}

fn acknowledge(what: &str, key: &str) {
    let mut out = std::io::stdout().lock();
    write!(out, "\n{what} {key}\n").and_then(|()| out.flush()).unwrap();
}
