//! The program as it is typed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod credentials;
mod exits;
mod kill;
mod mock;
mod policy;
mod program;
