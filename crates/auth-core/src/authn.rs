//! Turning a presented token into a [`Principal`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{BearerToken, BoxError, Principal, Reason};

/// Recognises the tokens of one kind.
///
/// May refuse a token that would have been good; must never accept one that is not.
#[async_trait]
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// Who presents this token, and what they may do.
    ///
    /// # Errors
    /// [`AuthError`]; the caller must deny on every one of them.
    async fn authenticate(&self, token: &BearerToken) -> Result<Arc<Principal>, AuthError>;
}

/// Why a caller is not authenticated. The reason goes to the audit; every caller but the one who
/// meets [`AuthError::Unavailable`] sees the same 401.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// No credential was presented.
    #[error("no credential presented")]
    Missing,
    /// The text cannot be a token of this kind.
    #[error("malformed credential")]
    Malformed,
    /// Several credentials were presented that differ.
    #[error("more than one credential presented")]
    Ambiguous,
    /// Well-formed, but nobody issued it, or its issuer is not configured.
    #[error("unknown credential")]
    Unknown,
    /// It was good once.
    #[error("expired credential")]
    Expired,
    /// It was taken back.
    #[error("revoked credential")]
    Revoked,
    /// The identity is proven, but no policy grants it anything.
    #[error("no policy admits this identity")]
    NotAdmitted,
    /// Too many tokens came from the caller's address for this one to be looked at; deny, with 429.
    #[error("too many tokens from this address")]
    TooOften {
        /// How long to wait.
        retry_after: std::time::Duration,
    },
    /// It is bound to a private key (RFC 9449, RFC 8705), and whoever presents it did not prove to hold that
    /// key, for this reason.
    #[error("possession is not proven")]
    Unproven(Reason),
    /// It could not be told; deny, with 503.
    #[error("authentication is unavailable")]
    Unavailable(#[source] BoxError),
}
