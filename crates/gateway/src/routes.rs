//! Which provider serves a call, under which name for the model.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use portunus_auth_core::{Dialect, Pattern};

use crate::call::Call;
use crate::limit::Hold;
use crate::reply::Refusal;
use crate::upstream::Provider;

/// All models, by the names that callers use.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    exact: HashMap<Box<str>, Vec<Entry>>,
    patterns: Vec<(Pattern, Entry)>,
}

#[derive(Clone, Debug)]
struct Entry {
    provider: Arc<Provider>,
    /// The provider's own name for the model, as a JSON string; `None` passes the caller's name on.
    rename: Option<Bytes>,
}

/// Where one call goes.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) provider: Arc<Provider>,
    pub(crate) rename: Option<Bytes>,
}

impl Routes {
    /// Adds a model. Of several that match, the first added wins, and an exact name before a pattern.
    pub(crate) fn add(&mut self, name: &Pattern, provider: Arc<Provider>, model: Option<&str>) {
        let rename = model
            .filter(|model| *model != name.as_str())
            .map(|model| Bytes::from(serde_json::Value::from(model).to_string()));
        let entry = Entry { provider, rename };
        if name.as_str().contains('*') {
            self.patterns.push((name.clone(), entry));
        } else {
            self.exact.entry(name.as_str().into()).or_default().push(entry);
        }
    }

    /// Where this call goes. Needs the hold, because nobody without one may learn which models exist.
    pub(crate) fn pick(&self, _hold: &Hold, call: &Call) -> Result<Target, Refusal> {
        self.find(&call.model, call.head.route.dialect)
            .map(|entry| Target { provider: entry.provider.clone(), rename: entry.rename.clone() })
            .ok_or(Refusal::UnknownModel)
    }

    fn find(&self, model: &str, dialect: Dialect) -> Option<&Entry> {
        let speaks = |entry: &&Entry| entry.provider.dialect() == dialect;
        self.exact.get(model).and_then(|entries| entries.iter().find(speaks)).or_else(|| {
            let matching = self.patterns.iter().filter(|(pattern, _)| pattern.matches(model));
            matching.map(|(_, entry)| entry).find(speaks)
        })
    }
}
