//! Identity tokens: what a workload's platform says about it, for an issuer that trusts the platform.

#[cfg(any(feature = "anthropic-auth", feature = "openai-auth"))]
mod assertion;
mod claims;
mod file;
mod github;

pub use self::file::IdentityTokenFile;
pub use self::github::GitHubActionsSource;

#[cfg(any(feature = "anthropic-auth", feature = "openai-auth"))]
pub(crate) use self::assertion::{Assertion, Exchange, exchanged, living};
