//! A map from secret texts, which shows none of them.

use std::collections::HashMap;
use std::fmt;

/// Secret texts and what is known of each. `Debug` shows how many there are.
pub(crate) struct Secrets<V>(HashMap<String, V>);

impl<V> Secrets<V> {
    pub(crate) fn insert(&mut self, secret: &str, value: V) {
        self.0.insert(secret.to_owned(), value);
    }

    pub(crate) fn get_mut(&mut self, secret: &str) -> Option<&mut V> {
        self.0.get_mut(secret)
    }

    pub(crate) fn get(&self, secret: &str) -> Option<&V> {
        self.0.get(secret)
    }

    pub(crate) fn each(&mut self, change: impl FnMut(&mut V)) {
        self.0.values_mut().for_each(change);
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.0.retain(|_, value| keep(value));
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, secret: &str) -> bool {
        self.0.remove(secret).is_some()
    }
}

impl<V> Default for Secrets<V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<V> fmt::Debug for Secrets<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.len())
    }
}
