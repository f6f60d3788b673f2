//! Why a mock did not start.

use std::borrow::Cow;

/// Why a mock did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port asked for; 0 is "any".
        port: u16,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The server's thread cannot be started.
    #[error("cannot start the server's thread")]
    Thread(#[source] std::io::Error),
    /// No certificate can be made.
    #[error("cannot make a certificate")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The CA's certificate cannot be written.
    #[error("cannot write {}", .path.display())]
    CaFile {
        /// Where to.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A fixture can never do what it says.
    #[error("fixture {index}: {says}")]
    Fixture {
        /// Its place, counted from 0 in the order of adding.
        index: usize,
        /// What is wrong with it.
        says: Cow<'static, str>,
    },
    /// A token, a client or an application is incomplete.
    #[error("{0}")]
    Incomplete(&'static str),
}
