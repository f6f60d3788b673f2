//! What the file holds: two tables, changed together in one transaction.
//!
//! `rows` maps a row to a version byte, eight bytes of end (big-endian nanoseconds since 1970, all
//! ones: never) and the bytes. `ends` lists every row that ends under its end, so that what has ended
//! is found without looking at anything else.

use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::file::failed;
use crate::row::{Cell, Instant, NEVER, damaged, key_of, value_row};
use crate::store::StoreError;
use crate::update::{Answer, Change, Update};

pub(super) const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
pub(super) const ENDS: TableDefinition<'_, (Instant, &[u8]), ()> = TableDefinition::new("ends");

/// The version of a cell's encoding.
const VERSION: u8 = 1;

/// Begins a transaction whose commit returns when it is on the disk.
///
/// Its two phases let damage be told from a commit that a crash cut short. With one phase both look
/// alike, and the file would quietly fall back to what it said before: a revocation undone.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut transaction = database.begin_write().map_err(failed)?;
    transaction.set_durability(redb::Durability::Immediate).map_err(failed)?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// Makes sure that the tables are there.
pub(super) fn create(database: &Database) -> Result<(), StoreError> {
    let transaction = begin(database)?;
    drop(Tables::open(&transaction)?);
    transaction.commit().map_err(failed)
}

/// The live bytes of a value.
pub(super) fn get(database: &Database, row: &[u8], now: Instant) -> Result<Option<Vec<u8>>, StoreError> {
    let transaction = database.begin_read().map_err(failed)?;
    let rows = transaction.open_table(ROWS).map_err(failed)?;
    let Some(cell) = rows.get(row).map_err(failed)? else { return Ok(None) };
    let (ends, bytes) = decode(cell.value())?;
    Ok((ends > now).then(|| bytes.to_vec()))
}

/// The first live values whose keys begin with `prefix` and come after `after`.
pub(super) fn scan(
    database: &Database,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    now: Instant,
) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let prefix = value_row(prefix);
    let after = after.map(value_row);
    let start = after.as_ref().map_or(&prefix, |after| after.max(&prefix));
    let transaction = database.begin_read().map_err(failed)?;
    let rows = transaction.open_table(ROWS).map_err(failed)?;
    let mut found = Vec::new();
    for entry in rows.range(start.as_slice()..).map_err(failed)? {
        let (row, cell) = entry.map_err(failed)?;
        let row = row.value();
        if found.len() == limit || !row.starts_with(&prefix) {
            break;
        }
        let (ends, bytes) = decode(cell.value())?;
        if ends > now && after.as_deref() != Some(row) {
            found.push((key_of(row)?, bytes.to_vec()));
        }
    }
    Ok(found)
}

/// Both tables, open for writing.
pub(super) struct Tables<'txn> {
    rows: Table<'txn, &'static [u8], &'static [u8]>,
    ends: Table<'txn, (Instant, &'static [u8]), ()>,
    /// Whether there is anything to commit.
    pub(super) changed: bool,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, StoreError> {
        let rows = transaction.open_table(ROWS).map_err(failed)?;
        let ends = transaction.open_table(ENDS).map_err(failed)?;
        Ok(Self { rows, ends, changed: false })
    }

    /// Decides one operation and applies what it decided.
    ///
    /// # Errors
    /// The outer one fails the transaction; the inner one is this operation's own, and nothing was
    /// changed for it.
    pub(super) fn apply(
        &mut self,
        update: Update,
        now: Instant,
    ) -> Result<Result<Answer, StoreError>, StoreError> {
        let row = update.row(now);
        let (old, decided) = match self.rows.get(row.as_slice()).map_err(failed)? {
            None => (None, update.decide(None, now)),
            Some(cell) => match decode(cell.value()) {
                Ok((ends, bytes)) => (Some(ends), update.decide((ends > now).then_some(bytes), now)),
                Err(error) => return Ok(Err(error)),
            },
        };
        let (change, answer) = match decided {
            Ok(decided) => decided,
            Err(error) => return Ok(Err(error)),
        };
        match change {
            Change::Keep => {}
            Change::Set(cell) => self.set(&row, old, &cell)?,
            Change::Remove => self.remove(&row, old)?,
        }
        Ok(Ok(answer))
    }

    /// Removes up to `limit` rows that have ended. `true`: there may be more.
    pub(super) fn reap(&mut self, limit: usize, now: Instant) -> Result<bool, StoreError> {
        for _ in 0..limit {
            let (ends, row) = match self.ends.first().map_err(failed)? {
                Some((key, _)) if key.value().0 <= now => (key.value().0, key.value().1.to_vec()),
                _ => return Ok(false),
            };
            self.remove(&row, Some(ends))?;
        }
        Ok(true)
    }

    fn set(&mut self, row: &[u8], old: Option<Instant>, cell: &Cell) -> Result<(), StoreError> {
        self.changed = true;
        if old != Some(cell.ends) {
            self.unlist(row, old)?;
            if cell.ends != NEVER {
                self.ends.insert((cell.ends, row), ()).map_err(failed)?;
            }
        }
        self.rows.insert(row, encode(cell).as_slice()).map_err(failed)?;
        Ok(())
    }

    fn remove(&mut self, row: &[u8], old: Option<Instant>) -> Result<(), StoreError> {
        if old.is_some() {
            self.changed = true;
            self.unlist(row, old)?;
            self.rows.remove(row).map_err(failed)?;
        }
        Ok(())
    }

    fn unlist(&mut self, row: &[u8], old: Option<Instant>) -> Result<(), StoreError> {
        if let Some(ends) = old.filter(|ends| *ends != NEVER) {
            self.ends.remove((ends, row)).map_err(failed)?;
        }
        Ok(())
    }
}

fn encode(cell: &Cell) -> Vec<u8> {
    [&[VERSION], cell.ends.to_be_bytes().as_slice(), &cell.bytes].concat()
}

fn decode(cell: &[u8]) -> Result<(Instant, &[u8]), StoreError> {
    match cell.split_first_chunk::<9>() {
        Some(([VERSION, ends @ ..], bytes)) => Ok((Instant::from_be_bytes(*ends), bytes)),
        _ => Err(damaged("a value in an unknown encoding")),
    }
}
