//! The engine for `memory:`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use portunus_auth_core::Clock;

use crate::channels::{Channels, Subscription};
use crate::row::{Cell, Instant, NEVER, instant, key_of, value_row};
use crate::store::{Held, NewValue, Reservation, Store, StoreError, Window};
use crate::update::{Answer, Change, Update};

/// How many expired rows a write removes at most. More than one, so that a store that is written to
/// catches up with its garbage.
const SWEEP: usize = 4;

/// State in this process's memory; gone with it.
///
/// Reading and writing one key costs the same however much is held; a scan looks at every row, which
/// is what tests and demos can afford.
pub struct Memory {
    clock: Arc<dyn Clock>,
    rows: DashMap<Vec<u8>, Cell>,
    /// Which rows end when. Changed only under the row's own lock, so that no row is forgotten.
    ends: Mutex<BTreeSet<(Instant, Vec<u8>)>>,
    channels: Channels,
}

impl Memory {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, rows: DashMap::new(), ends: Mutex::default(), channels: Channels::default() }
    }

    fn now(&self) -> Instant {
        instant(self.clock.now())
    }

    fn update(&self, update: Update) -> Result<Answer, StoreError> {
        let now = self.now();
        self.sweep(now);
        match self.rows.entry(update.row(now)) {
            Entry::Occupied(mut row) => {
                let (change, answer) = update.decide(row.get().live(now), now)?;
                match change {
                    Change::Keep => {}
                    Change::Set(cell) => {
                        self.index(row.key(), row.get().ends, cell.ends);
                        row.insert(cell);
                    }
                    Change::Remove => {
                        self.index(row.key(), row.get().ends, NEVER);
                        row.remove();
                    }
                }
                Ok(answer)
            }
            Entry::Vacant(row) => {
                let (change, answer) = update.decide(None, now)?;
                if let Change::Set(cell) = change {
                    self.index(row.key(), NEVER, cell.ends);
                    row.insert(cell);
                }
                Ok(answer)
            }
        }
    }

    fn index(&self, row: &[u8], old: Instant, new: Instant) {
        if old == new {
            return;
        }
        let mut ends = self.ends();
        if old != NEVER {
            ends.remove(&(old, row.to_vec()));
        }
        if new != NEVER {
            ends.insert((new, row.to_vec()));
        }
    }

    /// Removes a few rows that have ended.
    fn sweep(&self, now: Instant) {
        for _ in 0..SWEEP {
            let Some(row) = self.pop_due(now) else { return };
            self.rows.remove_if(&row, |_, cell| cell.ends <= now);
        }
    }

    /// Lets go of the index before the row is locked: `update` takes the two locks in the other order.
    fn pop_due(&self, now: Instant) -> Option<Vec<u8>> {
        let mut ends = self.ends();
        if ends.first()?.0 > now {
            return None;
        }
        ends.pop_first().map(|(_, row)| row)
    }

    fn ends(&self) -> MutexGuard<'_, BTreeSet<(Instant, Vec<u8>)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first_rows(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let now = self.now();
        let mut first = BTreeMap::new();
        for row in &self.rows {
            let key = row.key();
            if !key.starts_with(prefix) || after.is_some_and(|after| key.as_slice() <= after) {
                continue;
            }
            let Some(bytes) = row.live(now) else { continue };
            if first.len() < limit {
                first.insert(key.clone(), bytes.to_vec());
            } else if first.last_key_value().is_some_and(|(last, _)| key < last) {
                first.insert(key.clone(), bytes.to_vec());
                first.pop_last();
            }
        }
        first
    }
}

impl fmt::Debug for Memory {
    /// Not what it holds: that is for those who may read it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (row, now) = (value_row(key), self.now());
        let live = self.rows.get(&row).map(|cell| cell.live(now).map(<[u8]>::to_vec));
        if live == Some(None) {
            self.rows.remove_if(&row, |_, cell| cell.ends <= now);
        }
        Ok(live.flatten())
    }

    async fn put(&self, key: &str, value: &[u8], expires_at: Option<SystemTime>) -> Result<(), StoreError> {
        self.update(Update::put(key, value, expires_at)).map(drop)
    }

    async fn put_if_absent(
        &self,
        key: &str,
        value: &[u8],
        expires_at: Option<SystemTime>,
    ) -> Result<bool, StoreError> {
        self.update(Update::put_if_absent(key, value, expires_at)).map(|answer| answer.yes)
    }

    async fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: Option<NewValue<'_>>,
    ) -> Result<bool, StoreError> {
        self.update(Update::swap(key, expected, new)).map(|answer| answer.yes)
    }

    async fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.update(Update::delete(key)).map(|answer| answer.yes)
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let after = after.map(value_row);
        self.first_rows(&value_row(prefix), after.as_deref(), limit)
            .into_iter()
            .map(|(row, bytes)| Ok((key_of(&row)?, bytes)))
            .collect()
    }

    async fn reserve(
        &self,
        counter: &str,
        amount: u64,
        cap: u64,
        window: Window,
    ) -> Result<Reservation, StoreError> {
        self.update(Update::reserve(counter, amount, cap, window)).map(|answer| answer.reservation(amount))
    }

    async fn settle(&self, counter: &str, reservation: Held, used: u64) -> Result<(), StoreError> {
        self.update(Update::settle(counter, reservation, used)).map(drop)
    }

    async fn publish(&self, channel: &str, message: &[u8]) -> Result<(), StoreError> {
        self.channels.publish(channel, message);
        Ok(())
    }

    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        Ok(self.channels.subscribe(channel))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portunus_auth_core::clock::ManualClock;

    use super::*;

    fn store() -> (Memory, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at_unix(1_000));
        (Memory::new(clock.clone()), clock)
    }

    #[tokio::test]
    async fn writes_sweep_away_what_has_ended_and_nothing_else() -> Result<(), StoreError> {
        let (store, clock) = store();
        let end = clock.now() + Duration::from_secs(10);
        for n in 0..100 {
            store.put(&format!("ends/{n}"), b"", Some(end)).await?;
            store.reserve(&format!("count/{n}"), 1, 1, Window { length: Duration::from_secs(10) }).await?;
            store.put(&format!("stays/{n}"), b"", None).await?;
        }
        clock.advance(Duration::from_secs(10));
        for _ in 0..200 / SWEEP {
            store.put("stays/0", b"", None).await?;
        }
        assert_eq!((store.rows.len(), store.ends().len()), (100, 0));
        assert_eq!(store.scan("stays/", None, 1_000).await?.len(), 100);
        Ok(())
    }

    #[tokio::test]
    async fn a_read_removes_what_it_finds_ended() -> Result<(), StoreError> {
        let (store, clock) = store();
        store.put("a", b"", Some(clock.now() + Duration::from_secs(1))).await?;
        clock.advance(Duration::from_secs(1));
        assert_eq!(store.get("a").await?, None);
        assert!(store.rows.is_empty());
        Ok(())
    }

    #[tokio::test]
    async fn its_debug_text_holds_no_value() -> Result<(), StoreError> {
        let (store, _) = store();
        store.put("canary", b"canary", None).await?;
        let text = format!("{store:?}");
        assert!(!text.contains("canary") && !text.contains(&format!("{:?}", b"canary")), "{text}");
        Ok(())
    }

    #[tokio::test]
    async fn a_key_written_often_is_indexed_once() -> Result<(), StoreError> {
        let (store, clock) = store();
        for seconds in 1..100 {
            store.put("a", b"", Some(clock.now() + Duration::from_secs(seconds))).await?;
        }
        assert_eq!(store.ends().len(), 1);
        store.put("a", b"", None).await?;
        assert_eq!(store.ends().len(), 0);
        Ok(())
    }
}
