//! The engine for `file:PATH`.

mod file;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use portunus_auth_core::Clock;

use self::file::DataFile;
use self::writer::Writer;
use crate::channels::{Channels, Subscription};
use crate::row::{Instant, instant, value_row};
use crate::store::{Held, NewValue, Reservation, Store, StoreError, Window};
use crate::update::Update;

/// State in one file (redb) that one process at a time has open.
///
/// A writing operation is answered when it is on the disk. After a failed one the caller cannot know
/// whether it was done. Dropping the store blocks until what was asked for has been done.
#[derive(Debug)]
pub struct Embedded {
    // Dropped first: it finishes what is queued while the file is still open.
    writer: Writer,
    file: Arc<DataFile>,
    clock: Arc<dyn Clock>,
    channels: Channels,
}

impl Embedded {
    /// Opens the file, or creates it (on Unix, for its owner only) in a directory that is there.
    ///
    /// Reads the whole file to verify it; blocks for as long.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the file cannot be opened, for example because another process
    /// has it open or its directory is missing; [`StoreError::Corrupt`] if it is damaged or not a
    /// store's.
    pub fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let path: PathBuf = path.as_ref().to_owned();
        Self::start(DataFile::open(Box::new(move |opening| file::open(&path, opening)))?, clock)
    }

    fn start(file: DataFile, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let file = Arc::new(file);
        let writer = Writer::start(file.clone(), clock.clone())?;
        Ok(Self { writer, file, clock, channels: Channels::default() })
    }

    fn now(&self) -> Instant {
        instant(self.clock.now())
    }
}

#[async_trait]
impl Store for Embedded {
    /// Reads on the caller's thread: one row is a few pages, which are nearly always in memory, and
    /// reading never waits for a commit.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.file.with(|database| tables::get(database, &value_row(key), self.now()))
    }

    async fn put(&self, key: &str, value: &[u8], expires_at: Option<SystemTime>) -> Result<(), StoreError> {
        self.writer.update(Update::put(key, value, expires_at)).await.map(drop)
    }

    async fn put_if_absent(
        &self,
        key: &str,
        value: &[u8],
        expires_at: Option<SystemTime>,
    ) -> Result<bool, StoreError> {
        self.writer.update(Update::put_if_absent(key, value, expires_at)).await.map(|answer| answer.yes)
    }

    async fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: Option<NewValue<'_>>,
    ) -> Result<bool, StoreError> {
        self.writer.update(Update::swap(key, expected, new)).await.map(|answer| answer.yes)
    }

    async fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.writer.update(Update::delete(key)).await.map(|answer| answer.yes)
    }

    /// Reads on a thread where blocking is allowed: it may touch any number of pages.
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let (file, now) = (self.file.clone(), self.now());
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        tokio::task::spawn_blocking(move || {
            file.with(|database| tables::scan(database, &prefix, after.as_deref(), limit, now))
        })
        .await
        .unwrap_or_else(|stopped| Err(StoreError::Unavailable(Box::new(stopped))))
    }

    async fn reserve(
        &self,
        counter: &str,
        amount: u64,
        cap: u64,
        window: Window,
    ) -> Result<Reservation, StoreError> {
        let answer = self.writer.update(Update::reserve(counter, amount, cap, window)).await?;
        Ok(answer.reservation(amount))
    }

    async fn settle(&self, counter: &str, reservation: Held, used: u64) -> Result<(), StoreError> {
        self.writer.update(Update::settle(counter, reservation, used)).await.map(drop)
    }

    async fn publish(&self, channel: &str, message: &[u8]) -> Result<(), StoreError> {
        self.channels.publish(channel, message);
        Ok(())
    }

    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        Ok(self.channels.subscribe(channel))
    }
}
