//! What an exchange is asked for, what it gives, and why it does not.

use std::time::Duration;

use portunus_auth_core::{BearerToken, BoxError, Grant, KeyId, Reason};
use portunus_store::StoreError;

use crate::index::InsertError;
use crate::issuer::TokenKind;
use crate::limits::TooOften;
use crate::possession::{Possession, token_type};

/// What a caller wants: a key in exchange for an identity token, or for a key that is to be narrowed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenRequest {
    /// The identity token; or, as a [`TokenKind::Access`], a live key, which keeps working.
    pub subject_token: BearerToken,
    /// What kind of token it is meant to be.
    pub kind: TokenKind,
    /// The scopes wanted, as `model:PATTERN tool:PATTERN role:PATTERN upstream:PATTERN`. `None`: whatever the
    /// policy grants.
    pub scope: Option<String>,
    /// The policy meant, where several admit the caller.
    pub policy: Option<String>,
    /// A shorter life than the policy grants.
    pub ttl: Option<Duration>,
    /// Whom the key is for. Each must be this server's audience.
    pub audiences: Vec<String>,
    /// What the request shows to prove possession of a private key. The key is bound to it (RFC 9449, RFC
    /// 8705).
    pub possession: Possession,
}

impl TokenRequest {
    /// Asks for whatever the policy grants to the identity in this token.
    pub fn new(subject_token: BearerToken, kind: TokenKind) -> Self {
        Self {
            subject_token,
            kind,
            scope: None,
            policy: None,
            ttl: None,
            audiences: Vec::new(),
            possession: Possession::none(),
        }
    }
}

/// A key, for the caller alone.
#[derive(Debug)]
#[non_exhaustive]
pub struct IssuedKey {
    /// The key. This is the only time it is seen.
    pub access_token: BearerToken,
    /// Its public name, by which it can be revoked.
    pub key_id: KeyId,
    /// How long it lives from now.
    pub expires_in: Duration,
    /// What it may be used for, as a scope.
    pub scope: String,
    /// What it may be used for.
    pub grant: Grant,
}

impl IssuedKey {
    /// How it is presented: `Bearer`, or `DPoP` (RFC 9449 section 5).
    pub fn token_type(&self) -> &'static str {
        token_type(&self.grant)
    }
}

/// Why no key is issued, by what the caller can do about it. What exactly was wrong is for the audit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The request is not what RFC 8693 asks for.
    #[error("the request is malformed")]
    Malformed,
    /// The request's body is longer than 32 KiB.
    #[error("the request is too large")]
    TooLarge,
    /// The request's body took longer than 10 seconds to arrive.
    #[error("the request did not arrive in time")]
    TooSlow,
    /// Another grant type than token exchange.
    #[error("the grant type is not supported")]
    UnsupportedGrantType,
    /// The subject token is bad, unacceptable, or was used before: sign in again.
    #[error("the subject token is not acceptable")]
    BadSubject(Reason),
    /// The DPoP proof is bad, was used before, or is missing where the subject token is bound to a key.
    #[error("the DPoP proof is missing or not acceptable")]
    BadProof(Reason),
    /// A scope is unknown, or nothing of it is granted.
    #[error("the scope is unknown or not granted")]
    InvalidScope,
    /// Another audience than this server's.
    #[error("the audience is not served here")]
    InvalidTarget,
    /// Too many tokens came from the caller's address. Wait.
    #[error("too many requests")]
    TooOften {
        /// So long.
        retry_after: Duration,
    },
    /// Wait until a key ends.
    #[error("too many live keys")]
    TooManyKeys {
        /// Until the first of them ends.
        retry_after: Duration,
    },
    /// It could not be told, or not be kept. Try again later.
    #[error("the key server cannot answer now")]
    Unavailable {
        /// What is missing.
        reason: Reason,
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl ExchangeError {
    pub(crate) fn unavailable(reason: Reason, source: impl Into<BoxError>) -> Self {
        Self::Unavailable { reason, source: source.into() }
    }

    /// What the audit says.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Malformed => Reason::MalformedRequest,
            Self::TooLarge => Reason::RequestTooLarge,
            Self::TooSlow => Reason::RequestTimeout,
            Self::UnsupportedGrantType => Reason::UnsupportedGrant,
            Self::BadSubject(reason) | Self::BadProof(reason) | Self::Unavailable { reason, .. } => *reason,
            Self::InvalidScope => Reason::ScopeDenied,
            Self::InvalidTarget => Reason::WrongAudience,
            Self::TooOften { .. } => Reason::RateLimited,
            Self::TooManyKeys { .. } => Reason::TooManyKeys,
        }
    }
}

impl From<TooOften> for ExchangeError {
    fn from(TooOften { retry_after }: TooOften) -> Self {
        Self::TooOften { retry_after }
    }
}

impl From<StoreError> for ExchangeError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(Reason::StoreUnavailable, error)
    }
}

impl From<InsertError> for ExchangeError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::TooMany { retry_after } => Self::TooManyKeys { retry_after },
            InsertError::ParentGone => Self::BadSubject(Reason::RevokedCredential),
            InsertError::NotGranted => Self::BadSubject(Reason::NoPolicy),
            InsertError::Store(error) => error.into(),
        }
    }
}
