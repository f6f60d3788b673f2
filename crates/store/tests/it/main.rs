//! What the store promises, through its public interface.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[cfg(unix)]
mod crash;
mod file;
mod model;
#[cfg(feature = "conformance")]
mod suite;
