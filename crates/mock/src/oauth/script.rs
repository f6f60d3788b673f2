//! What a test has arranged for the requests to come, and the count of those that came.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

use super::client::GrantType;

#[derive(Debug, Default)]
pub(super) struct Script {
    /// Errors that the next token requests are answered, whatever they ask.
    refusals: Mutex<VecDeque<&'static str>>,
    /// Members of the metadata that are said in place of the true ones; null takes one away.
    pub(super) metadata: Mutex<Map<String, Value>>,
    grants: [AtomicU64; GrantType::ALL.len()],
}

impl Script {
    pub(super) fn refuse(&self, requests: usize, error: &'static str) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.extend(std::iter::repeat_n(error, requests));
    }

    pub(super) fn refusal(&self) -> Option<&'static str> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Undoes what was arranged, and counts anew.
    pub(super) fn clear(&self) {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.grants.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    pub(super) fn came(&self, grant: GrantType) {
        self.grants[grant as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, grant: GrantType) -> u64 {
        self.grants[grant as usize].load(Ordering::Relaxed)
    }
}
