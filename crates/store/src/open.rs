//! From a URL to an engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portunus_auth_core::Clock;

use crate::{Embedded, Memory, Store, StoreError};

/// There is no store to work with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no engine. It is not repeated: it may hold a password.
    #[error("a store's URL is `memory:` or `file:PATH`")]
    Url,
    /// The file cannot be opened; the source says why and whether that may pass.
    #[error("cannot open the store in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
}

/// Opens the store that the URL names: `memory:`, or `file:PATH` with a path as the operating system
/// knows it, taken literally and relative to the working directory unless it is absolute.
///
/// Reads the whole file to verify it; blocks for as long.
///
/// # Errors
/// [`OpenError`]: a URL that names no engine, or a file that cannot be used.
pub fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, OpenError> {
    if url == "memory:" {
        return Ok(Arc::new(Memory::new(clock)));
    }
    let path = Path::new(file_path(url).ok_or(OpenError::Url)?);
    match Embedded::open(path, clock) {
        Ok(store) => Ok(Arc::new(store)),
        Err(source) => Err(OpenError::File { path: path.to_owned(), source }),
    }
}

/// Whether [`open`] knows the engine that the URL names; opens nothing.
///
/// # Errors
/// [`OpenError::Url`].
pub fn check(url: &str) -> Result<(), OpenError> {
    if url == "memory:" || file_path(url).is_some() { Ok(()) } else { Err(OpenError::Url) }
}

/// `file:PATH` or `file:///PATH`; in `file://HOST/PATH` the file would be another machine's (RFC 8089).
fn file_path(url: &str) -> Option<&str> {
    let path = url.strip_prefix("file:")?;
    match path.strip_prefix("//") {
        Some(path) => path.starts_with('/').then_some(path),
        None => (!path.is_empty()).then_some(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_url_names_a_path() {
        for (url, path) in [
            ("file:portunus.redb", Some("portunus.redb")),
            ("file:a b%20c#?.redb", Some("a b%20c#?.redb")),
            ("file:/var/lib/portunus.redb", Some("/var/lib/portunus.redb")),
            ("file:///var/lib/portunus.redb", Some("/var/lib/portunus.redb")),
            ("file://host/portunus.redb", None),
            ("file://", None),
            ("file:", None),
            ("FILE:x", None),
            ("portunus.redb", None),
        ] {
            assert_eq!(file_path(url), path, "{url}");
            assert_eq!(check(url).is_ok(), path.is_some(), "{url}");
        }
    }
}
