#![doc = include_str!("../README.md")]

mod channels;
#[cfg(feature = "conformance")]
pub mod conformance;
mod embedded;
mod memory;
mod open;
mod row;
mod store;
mod update;

pub use channels::{Notice, Subscription};
pub use embedded::Embedded;
pub use memory::Memory;
pub use open::{OpenError, check, open};
pub use store::{Held, NewValue, Reservation, Store, StoreError, Window};
