//! What `tidy.toml` holds.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) budgets: Budgets,
    #[serde(default, rename = "exception")]
    pub(crate) exceptions: Vec<Exception>,
    /// For each package, the product crates that it may use.
    pub(crate) layers: BTreeMap<String, Layer>,
    #[serde(rename = "room")]
    pub(crate) rooms: Vec<Room>,
    pub(crate) never: Vec<Never>,
}

/// How long things may be, in lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budgets {
    /// A file, without its tests.
    pub(crate) file: usize,
    /// A function, tests included.
    pub(crate) function: usize,
    /// A crate, without its tests.
    #[serde(rename = "crate")]
    pub(crate) package: usize,
}

/// One thing that may be longer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    /// A file, or a crate's folder.
    pub(crate) path: String,
    /// A function in that file.
    pub(crate) function: Option<String>,
    pub(crate) lines: usize,
    pub(crate) reason: String,
}

/// What a package may depend on.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layer {
    #[serde(default)]
    pub(crate) uses: Vec<String>,
    /// Only behind a feature.
    #[serde(default)]
    pub(crate) uses_optionally: Vec<String>,
}

/// Words of code that only a few files may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Room {
    pub(crate) name: String,
    pub(crate) says: Vec<String>,
    /// What to do instead.
    pub(crate) instead: String,
    pub(crate) files: Vec<Admitted>,
}

/// A file that may.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admitted {
    /// A file; with a `/` at its end, a folder.
    pub(crate) path: String,
    pub(crate) reason: String,
}

impl Admitted {
    pub(crate) fn is(&self, file: &str) -> bool {
        self.path == file || self.path.ends_with('/') && file.starts_with(&self.path)
    }
}

/// Words of code that no file may say, tests included.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Never {
    pub(crate) says: String,
    pub(crate) instead: String,
}
