//! The trait and the words it is spoken in.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portunus_auth_core::BoxError;

use crate::channels::Subscription;

/// Shared state: small atomic operations on bytes under text keys.
///
/// May answer "could not tell" ([`StoreError`]); must never answer wrongly. What was acknowledged is
/// durable as far as the engine says it is. An entry is gone from the instant `expires_at` on, by the
/// engine's clock, whether or not its bytes are still there.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The live value under `key`.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Sets the value, whatever was there.
    async fn put(&self, key: &str, value: &[u8], expires_at: Option<SystemTime>) -> Result<(), StoreError>;

    /// Sets the value unless a live one is there. `true`: it was set, by this call and no other.
    async fn put_if_absent(
        &self,
        key: &str,
        value: &[u8],
        expires_at: Option<SystemTime>,
    ) -> Result<bool, StoreError>;

    /// Replaces the live value if it is `expected` (`None`: if there is none) by `new` (`None`: deletes).
    /// `true`: it was, and has been replaced.
    async fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: Option<NewValue<'_>>,
    ) -> Result<bool, StoreError>;

    /// Deletes. `true`: a live value was there.
    async fn delete(&self, key: &str) -> Result<bool, StoreError>;

    /// Up to `limit` live entries whose keys begin with `prefix` and come after `after`, in key order.
    /// Fewer than `limit`: there are no more. Not a snapshot across calls.
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Adds `amount` to the counter of the current window unless that would exceed `cap`; one step.
    async fn reserve(
        &self,
        counter: &str,
        amount: u64,
        cap: u64,
        window: Window,
    ) -> Result<Reservation, StoreError>;

    /// Replaces what was reserved by what was used. After the reservation's window has ended this
    /// changes nothing. Call it once for a reservation.
    async fn settle(&self, counter: &str, reservation: Held, used: u64) -> Result<(), StoreError>;

    /// Announces to all who subscribe to the channel now, in this and every other process that shares
    /// the state.
    async fn publish(&self, channel: &str, message: &[u8]) -> Result<(), StoreError>;

    /// Listens from now on.
    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError>;
}

/// A value to set.
#[derive(Clone, Copy, Debug)]
pub struct NewValue<'a> {
    /// The bytes.
    pub value: &'a [u8],
    /// When it ends.
    pub expires_at: Option<SystemTime>,
}

/// A stretch of time that all who share the state agree on: whole multiples of `length` since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How long; at least a second: a shorter one counts as a second.
    pub length: Duration,
}

/// The answer to a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// Kept.
    Held(Held),
    /// There is no room.
    Full {
        /// What is used and reserved.
        used: u64,
        /// When the window ends and the counter begins anew.
        until: SystemTime,
    },
}

/// A kept reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// How much.
    pub amount: u64,
    /// What is used and reserved, this included.
    pub used: u64,
    /// When the window ends.
    pub until: SystemTime,
}

/// The store could not tell. The caller must deny.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, or its disk failed. May pass.
    #[error("the store is unavailable")]
    Unavailable(#[source] BoxError),
    /// What it holds cannot be read. A person must act.
    #[error("the store is damaged")]
    Corrupt(#[source] BoxError),
}
