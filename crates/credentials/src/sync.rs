//! What the cache is synchronised with. `tests/model` puts a model checker's own in this place.

pub(crate) use std::sync::{Mutex, MutexGuard};

pub(crate) use arc_swap::ArcSwapOption;
pub(crate) use tokio::runtime::{Handle, TryCurrentError};
pub(crate) use tokio::sync::watch;
