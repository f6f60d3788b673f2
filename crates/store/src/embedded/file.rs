//! The file: opening it, what its failures mean, and opening it again after one.

use std::error::Error;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{Builder, Database, StorageBackend};

use super::tables;
use crate::row::damaged;
use crate::store::StoreError;

/// How much of the file is kept in memory.
const CACHE_BYTES: usize = 64 << 20;

type Opener = Box<dyn Fn(Opening) -> Result<Database, StoreError> + Send + Sync>;

/// Whether the file may be a new one. One that had been open and is empty or missing has lost what
/// was acknowledged; an empty one in its place would answer as if nothing had ever been revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    First,
    Again,
}

/// The file, open unless it failed.
///
/// After a failed write redb refuses everything until its file is opened anew; so that a disk which
/// was full for a minute does not take the store down for good, [`DataFile::reopen`] does that.
pub(super) struct DataFile {
    opener: Opener,
    /// Written to only by `reopen`: readers never wait for each other, nor for a commit.
    database: RwLock<Result<Database, Failure>>,
}

impl DataFile {
    pub(super) fn open(opener: Opener) -> Result<Self, StoreError> {
        let database = RwLock::new(Ok(caught(|| opener(Opening::First))?));
        Ok(Self { opener, database })
    }

    /// Works with the database. Whatever damage makes redb panic is an error.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().map_err(Failure::error)?;
        caught(|| work(database))
    }

    /// Opens the file again if an earlier attempt to do so failed.
    pub(super) fn mend(&self) {
        let broken = self.database.read().unwrap_or_else(PoisonError::into_inner).is_err();
        if broken {
            self.reopen();
        }
    }

    /// Closes the file, verifies it and opens it again. Meanwhile, and if that fails until a later
    /// call succeeds, every use of it fails at once.
    pub(super) fn reopen(&self) {
        let closed = Failure::from(StoreError::Unavailable("the file is being opened again".into()));
        let old = self.replace(Err(closed));
        let reopened = caught(|| {
            drop(old); // It holds the file's lock.
            (self.opener)(Opening::Again)
        });
        drop(self.replace(reopened.map_err(Failure::from)));
    }

    fn replace(&self, database: Result<Database, Failure>) -> Result<Database, Failure> {
        let mut held = self.database.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, database)
    }
}

impl fmt::Debug for DataFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataFile")
    }
}

/// A failure told to many callers.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    damaged: bool,
    source: Arc<dyn Error + Send + Sync>,
}

impl Failure {
    pub(super) fn error(&self) -> StoreError {
        let source = Box::new(self.source.clone());
        if self.damaged { StoreError::Corrupt(source) } else { StoreError::Unavailable(source) }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(source) => Self { damaged: false, source: source.into() },
            StoreError::Corrupt(source) => Self { damaged: true, source: source.into() },
        }
    }
}

/// Opens or creates the file, verifies every page of it, and makes sure that the tables are there.
pub(super) fn open(path: &Path, opening: Opening) -> Result<Database, StoreError> {
    let file = open_private(path, opening)?;
    database(FileBackend::new(file).map_err(failed)?)
}

pub(super) fn database(backend: impl StorageBackend) -> Result<Database, StoreError> {
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        // A page that was altered since it was written could otherwise be read as an answer.
        .set_check_integrity_on_open(true)
        .create_with_backend(backend)
        .map_err(failed)?;
    tables::create(&database)?;
    Ok(database)
}

pub(super) fn open_private(path: &Path, opening: Opening) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(opening == Opening::First).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(unusable)?;
    if opening == Opening::Again && file.metadata().map_err(unusable)?.len() == 0 {
        return Err(damaged("the file has been emptied"));
    }
    #[cfg(unix)]
    sync_directory(path).map_err(unusable)?;
    Ok(file)
}

/// The entry in the directory must be as durable as what is acknowledged into the file.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn unusable(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Unavailable("there is no such file or directory".into()),
        _ => StoreError::Unavailable(Box::new(error)),
    }
}

/// What a failure of redb means to the caller.
pub(super) fn failed(error: impl Into<redb::Error>) -> StoreError {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => {
            StoreError::Unavailable("the file is in use; one process at a time can have it open".into())
        }
        // So redb says that a file is none of its own, or cut off.
        redb::Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => {
            StoreError::Corrupt(Box::new(error))
        }
        error @ (redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_)) => StoreError::Corrupt(Box::new(error)),
        error => StoreError::Unavailable(Box::new(error)),
    }
}

fn caught<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged("the file contradicts itself")))
}
