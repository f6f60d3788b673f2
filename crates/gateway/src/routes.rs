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
    pub(crate) fn pick(&self, hold: &Hold, call: &Call) -> Result<Target, Refusal> {
        let mut denied = None;
        for entry in self.serving(&call.model, call.head.route.dialect) {
            match hold.permit().at(&entry.provider.name) {
                Ok(()) => {
                    return Ok(Target { provider: entry.provider.clone(), rename: entry.rename.clone() });
                }
                Err(outside) => denied = Some(outside),
            }
        }
        Err(denied.map_or(Refusal::UnknownModel, Refusal::Denied))
    }

    /// What serves the model in this dialect, in the order in which it is tried.
    fn serving<'a>(&'a self, model: &'a str, dialect: Dialect) -> impl Iterator<Item = &'a Entry> {
        let exact = self.exact.get(model).into_iter().flatten();
        let matching = self.patterns.iter().filter(|(pattern, _)| pattern.matches(model));
        exact.chain(matching.map(|(_, entry)| entry)).filter(move |entry| entry.provider.dialect() == dialect)
    }
}
