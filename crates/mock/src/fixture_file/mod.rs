//! Fixtures from YAML files. What a file may say stands in `FIXTURES.md`.

mod condition;
mod entry;
mod error;
mod failure;
mod response;
mod value;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::fixture::Fixture;
use entry::Entry;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 8 << 20;

/// Why a fixture file is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FixtureError {
    /// The file cannot be read.
    #[error("{}: the file cannot be read", file.display())]
    Unreadable {
        /// Its path.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is no fixture file, or a fixture in it can never do what it says.
    #[error("{}:{line}:{column}: {says}", file.display())]
    Invalid {
        /// Its path.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column, counted from 1.
        column: u64,
        /// What is wrong there.
        says: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixtures {
    fixtures: Vec<Entry>,
}

impl Fixture {
    /// Reads the fixtures of a YAML file.
    ///
    /// # Errors
    /// [`FixtureError`] for the first thing that is wrong, with its file, line and column.
    pub fn load(file: impl AsRef<Path>) -> Result<Vec<Self>, FixtureError> {
        let file = file.as_ref();
        let unreadable = |source| FixtureError::Unreadable { file: file.to_owned(), source };
        let mut yaml = String::new();
        let opened = File::open(file).map_err(unreadable)?;
        opened.take(LARGEST + 1).read_to_string(&mut yaml).map_err(unreadable)?;
        Self::parse(file, &yaml)
    }

    /// Reads fixtures from YAML. `file` is what errors call it.
    ///
    /// ```
    /// use portunus_mock::Fixture;
    ///
    /// let yaml = "fixtures:\n  - match: {user_mesage: rain}\n    response: {content: Take an umbrella.}\n";
    /// let error = Fixture::parse("rain.yaml", yaml).unwrap_err();
    /// assert!(error.to_string().starts_with("rain.yaml:2:13: unknown field `user_mesage`"));
    /// ```
    ///
    /// # Errors
    /// As for [`Fixture::load`].
    pub fn parse(file: impl AsRef<Path>, yaml: &str) -> Result<Vec<Self>, FixtureError> {
        let file = file.as_ref();
        let invalid =
            |line, column, says| FixtureError::Invalid { file: file.to_owned(), line, column, says };
        if yaml.len() as u64 > LARGEST {
            return Err(invalid(1, 1, format!("a fixture file has at most {LARGEST} bytes; split it")));
        }
        // Anything but `true` and `false` is a text, such as a country's `no`.
        let options = serde_saphyr::options! { strict_booleans: true };
        let read = serde_saphyr::from_str_with_options(yaml, options);
        let Fixtures { fixtures } = read.map_err(|error| {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            invalid(line, column, says(error.without_snippet()))
        })?;
        if fixtures.is_empty() {
            return Err(invalid(1, 1, "a fixture file has at least one fixture".to_owned()));
        }
        Ok(fixtures.into_iter().flat_map(|entry| entry.0).collect())
    }
}

/// The error without its place, which is said in front of it.
fn says(error: &serde_saphyr::Error) -> String {
    let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
