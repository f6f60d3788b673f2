//! The audit file: one JSON line for each event, in a chain of hashes, written by one thread in
//! batches.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use portunus_auth_core::{AuditEvent, AuditFull, AuditSink};

/// How long an event waits for others to be written with. Nobody waits for it, so it is long enough
/// for the writer to cost nothing, and short enough for somebody who watches the file.
const BATCH: Duration = Duration::from_millis(20);

/// How many events one batch holds at most, and how long to wait before trying a failed write again.
const MAX_BATCH: usize = 1024;
const RETRY: Duration = Duration::from_secs(1);

/// Appends events to a file. While the file cannot be written, and once the queue is full, it admits
/// nothing more, so that nothing happens that could not be audited.
#[derive(Debug)]
pub struct AuditFile {
    queue: Sender<AuditEvent>,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    /// Events that were admitted and are not written yet.
    open: AtomicUsize,
    capacity: usize,
    broken: AtomicBool,
    closing: AtomicBool,
}

impl AuditFile {
    /// Opens the file, making it if need be (mode 0600), and goes on with its chain.
    ///
    /// # Errors
    /// Whatever opening or reading it reported, with the file's name.
    pub fn open(path: &Path, capacity: usize) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("the audit file {} cannot be used: {error}", path.display()))
        };
        let (file, chain) = resume(path).map_err(named)?;
        let (queue, events) = channel();
        let shared = Arc::new(Shared {
            open: AtomicUsize::new(0),
            capacity,
            broken: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        });
        let mut writer =
            Writer { path: path.to_owned(), file, chain, events, shared: shared.clone(), lines: Vec::new() };
        let thread = thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run())?;
        Ok(Self { queue, shared, writer: Mutex::new(Some(thread)) })
    }

    /// Whether events can be written now.
    pub fn is_healthy(&self) -> bool {
        !self.shared.broken.load(Ordering::Relaxed)
    }

    /// Writes what is queued, and ends the writer.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            writer.thread().unpark();
            if writer.join().is_err() {
                tracing::error!("the audit's writer crashed");
            }
        }
    }
}

impl Drop for AuditFile {
    fn drop(&mut self) {
        self.close();
    }
}

impl AuditSink for AuditFile {
    fn admit(&self) -> Result<(), AuditFull> {
        let before = self.shared.open.fetch_add(1, Ordering::Relaxed);
        if before >= self.shared.capacity || self.shared.broken.load(Ordering::Relaxed) {
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
            return Err(AuditFull);
        }
        Ok(())
    }

    fn record(&self, event: AuditEvent) {
        if self.queue.send(event).is_err() {
            tracing::error!("an audit event came after the audit was closed");
        }
    }
}

/// Where the chain of hashes stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    seq: u64,
    prev: String,
}

struct Writer {
    path: PathBuf,
    file: File,
    chain: Chain,
    events: Receiver<AuditEvent>,
    shared: Arc<Shared>,
    lines: Vec<u8>,
}

impl Writer {
    fn run(&mut self) {
        loop {
            // Read before the queue, so that whatever was sent before closing is still taken.
            let closing = self.shared.closing.load(Ordering::Acquire);
            let taken = self.take();
            if taken > 0 {
                self.write();
                self.shared.open.fetch_sub(taken, Ordering::Relaxed);
            } else if closing {
                return;
            }
            if taken < MAX_BATCH && !closing {
                thread::park_timeout(BATCH);
            }
        }
    }

    /// Turns what is queued into lines.
    fn take(&mut self) -> usize {
        let mut taken = 0;
        while taken < MAX_BATCH
            && let Ok(event) = self.events.try_recv()
        {
            let start = self.lines.len();
            append(&mut self.lines, &self.chain, &event);
            let line = self.lines.get(start..).unwrap_or_default();
            self.chain = Chain { seq: self.chain.seq + 1, prev: hash(line) };
            self.lines.push(b'\n');
            taken += 1;
        }
        taken
    }

    /// Writes the lines, however long that takes; meanwhile nothing new is admitted. Gives up only when
    /// the process is to end.
    fn write(&mut self) {
        let mut done = 0;
        while done < self.lines.len() {
            match self.file.write(self.lines.get(done..).unwrap_or_default()) {
                Ok(n) if n > 0 => {
                    done += n;
                    self.shared.broken.store(false, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    self.shared.broken.store(true, Ordering::Relaxed);
                    tracing::error!(file = %self.path.display(), ?result, "the audit cannot be written");
                    if self.shared.closing.load(Ordering::Acquire) {
                        break;
                    }
                    thread::park_timeout(RETRY);
                }
            }
        }
        self.lines.clear();
    }
}

/// One line: the chain's members, then the event's.
fn append(lines: &mut Vec<u8>, chain: &Chain, event: &AuditEvent) {
    let head = format!("{{\"v\":1,\"seq\":{},\"prev_hash\":\"{}\",", chain.seq, chain.prev);
    lines.extend_from_slice(head.as_bytes());
    let brace = lines.len();
    if let Err(error) = serde_json::to_writer(&mut *lines, event) {
        // Cannot happen: an event holds nothing that JSON cannot say. If it did, the line says so.
        tracing::error!(%error, "an audit event cannot be written as JSON");
        lines.truncate(brace);
        lines.extend_from_slice(b"{\"event\":\"unwritable\"}");
    }
    lines.remove(brace);
}

fn hash(line: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in digest(&SHA256, line).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Opens the file at its end. A last line that was cut off by a crash is taken away, because it was
/// never complete; the chain goes on from the last one that was.
fn resume(path: &Path) -> io::Result<(File, Chain)> {
    let mut options = File::options();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    // Two writers would tear each other's chain apart.
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process writes it"),
        TryLockError::Error(error) => error,
    })?;
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok((file, Chain { seq: 0, prev: "0".repeat(64) }));
    }
    let (end, line) = last_line(&mut file, length)?;
    if end < length {
        tracing::warn!(file = %path.display(), "the audit's last line was cut off; it is taken away");
        file.set_len(end)?;
    }
    let chain = match line {
        Some(line) => Chain { seq: sequence(&line)? + 1, prev: hash(&line) },
        None => Chain { seq: 0, prev: "0".repeat(64) },
    };
    Ok((file, chain))
}

/// The end of the last complete line, and that line.
fn last_line(file: &mut File, length: u64) -> io::Result<(u64, Option<Vec<u8>>)> {
    // A line is a few hundred bytes; the tail is far longer than two of them.
    let start = length.saturating_sub(1 << 20);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let Some(newline) = tail.iter().rposition(|byte| *byte == b'\n') else {
        return if start == 0 { Ok((0, None)) } else { Err(not_ours()) };
    };
    let complete = tail.get(..newline).unwrap_or_default();
    let line = complete.rsplit(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
    Ok((start + newline as u64 + 1, Some(line)))
}

fn sequence(line: &[u8]) -> io::Result<u64> {
    #[derive(serde::Deserialize)]
    struct Seq {
        seq: u64,
    }
    serde_json::from_slice::<Seq>(line).map(|line| line.seq).map_err(|_| not_ours())
}

fn not_ours() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its last line is not an audit event")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use portunus_auth_core::Outcome;
    use portunus_auth_core::audit::EventKind;

    use super::*;

    fn event() -> AuditEvent {
        AuditEvent::new(SystemTime::UNIX_EPOCH, EventKind::ServerStarted, Outcome::Allowed)
    }

    fn write(path: &Path, count: usize) {
        let audit = AuditFile::open(path, 10).unwrap();
        for _ in 0..count {
            while audit.admit().is_err() {
                thread::yield_now();
            }
            audit.record(event());
        }
    }

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    fn assert_chained(lines: &[String]) {
        let mut prev = "0".repeat(64);
        for (n, line) in lines.iter().enumerate() {
            assert!(
                line.starts_with(&format!("{{\"v\":1,\"seq\":{n},\"prev_hash\":\"{prev}\",\"ts\":")),
                "{line}"
            );
            serde_json::from_str::<serde_json::Value>(line).unwrap();
            prev = hash(line.as_bytes());
        }
    }

    #[test]
    fn every_event_is_written_once_and_the_chain_goes_on_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        write(&path, 25);
        write(&path, 5);
        let lines = lines(&path);
        assert_eq!(lines.len(), 30);
        assert_chained(&lines);
    }

    #[test]
    fn a_line_that_was_cut_off_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        write(&path, 3);
        let whole = std::fs::read(&path).unwrap();
        for cut in [whole.len() - 1, whole.len() - 30, 5] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            write(&path, 1);
            assert_chained(&lines(&path));
        }
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        std::fs::write(&path, "precious\n").unwrap();
        assert!(AuditFile::open(&path, 1).unwrap_err().to_string().contains("audit.jsonl"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious\n");
    }

    #[test]
    fn a_file_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let first = AuditFile::open(&path, 1).unwrap();
        assert!(AuditFile::open(&path, 1).unwrap_err().to_string().contains("another process writes it"));
        drop(first);
        AuditFile::open(&path, 1).unwrap();
    }

    #[test]
    fn a_full_queue_admits_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let audit = AuditFile::open(&folder.path().join("audit.jsonl"), 2).unwrap();
        assert_eq!(audit.admit(), Ok(()));
        assert_eq!(audit.admit(), Ok(()));
        assert_eq!(audit.admit(), Err(AuditFull));
        audit.record(event());
        while audit.admit().is_err() {
            thread::yield_now();
        }
        audit.record(event());
        audit.record(event());
    }
}
