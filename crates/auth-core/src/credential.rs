//! What is attached to an upstream request, and the two traits that obtain it: a source fetches, a
//! provider always answers with something that works now.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::HeaderName;
use secrecy::{ExposeSecret, SecretString};

use crate::BoxError;

/// What gets attached to an upstream request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// `Authorization: Bearer …` (RFC 6750).
    BearerToken(SecretString),
    /// A key in a header of the vendor's own: `x-api-key`, `api-key`, `x-goog-api-key`.
    ApiKey {
        /// The header that carries it.
        header: HeaderName,
        /// The key.
        value: SecretString,
    },
    /// Keys to sign with (AWS Signature Version 4); signing is a step of its own.
    AwsCredentials {
        /// The access key id.
        access_key_id: SecretString,
        /// The secret access key.
        secret_access_key: SecretString,
        /// The session token of temporary credentials.
        session_token: Option<SecretString>,
    },
}

impl PartialEq for Credential {
    /// Whether both would authenticate the same way. Decides only whether a refused credential has
    /// been replaced; both sides are our own, so the time it takes tells a caller nothing.
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &SecretString, b: &SecretString| a.expose_secret() == b.expose_secret();
        match (self, other) {
            (Self::BearerToken(a), Self::BearerToken(b)) => same(a, b),
            (Self::ApiKey { header: ha, value: a }, Self::ApiKey { header: hb, value: b }) => {
                ha == hb && same(a, b)
            }
            (
                Self::AwsCredentials { access_key_id: ia, secret_access_key: sa, session_token: ta },
                Self::AwsCredentials { access_key_id: ib, secret_access_key: sb, session_token: tb },
            ) => {
                let tokens = match (ta, tb) {
                    (Some(a), Some(b)) => same(a, b),
                    (None, None) => true,
                    _ => false,
                };
                same(ia, ib) && same(sa, sb) && tokens
            }
            _ => false,
        }
    }
}

/// A credential and when it ends. `None`: it has no end of its own.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The credential.
    pub credential: Credential,
    /// The instant from which the issuer no longer honours it.
    pub expires_at: Option<SystemTime>,
}

/// What a caller of this library holds: always answers with a credential that works now.
#[async_trait]
pub trait CredentialProvider: fmt::Debug + Send + Sync + 'static {
    /// A credential that works now.
    ///
    /// # Errors
    /// [`CredentialError`], by what the caller can do about it.
    async fn resolve(&self) -> Result<Credential, CredentialError>;

    /// What `resolve` would answer, if it is at hand and nothing is to be done about it: no waiting, no
    /// copy, no boxed future. `None` says only that `resolve` has to be asked.
    fn held(&self) -> Option<Arc<Credential>> {
        None
    }

    /// Whether another credential may come once this one has been invalidated. A fixed one says
    /// `false`, so that nobody prepares for a second try that cannot help.
    fn renews(&self) -> bool {
        true
    }

    /// The upstream refused this credential: do not serve it again. Another credential that has
    /// taken its place meanwhile stays.
    fn invalidate(&self, refused: &Credential) {
        let _ = refused;
    }
}

/// What a vendor implements: one fetch, no memory. `Cached` turns it into a provider.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// Asks the issuer once.
    ///
    /// # Errors
    /// [`CredentialError`], by what the caller can do about it.
    async fn fetch(&self) -> Result<Issued, CredentialError>;
}

/// Why there is no credential, by what can be done about it.
///
/// The `source` holds at most a status and the issuer's parsed error code, never a response body:
/// an issuer's body can echo the secret that was sent to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Nothing is set up here. A chain tries its next source.
    #[error("no credential configured")]
    NotConfigured,
    /// Set up, but wrongly. Retrying cannot help; a person must act.
    #[error("credential configuration is invalid")]
    Invalid(#[source] BoxError),
    /// The issuer said no, e.g. the secret or the refresh token was revoked.
    #[error("issuer rejected the credential")]
    Rejected(#[source] BoxError),
    /// The issuer could not answer. Retry, after the given delay if there is one.
    #[error("issuer unavailable")]
    Unavailable {
        /// What the issuer asked to wait.
        retry_after: Option<Duration>,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_every_kind_hides_the_secret() {
        let secret = || SecretString::from("canary-7f3a");
        let all = [
            Credential::BearerToken(secret()),
            Credential::ApiKey { header: HeaderName::from_static("x-api-key"), value: secret() },
            Credential::AwsCredentials {
                access_key_id: secret(),
                secret_access_key: secret(),
                session_token: Some(secret()),
            },
        ];
        for credential in all {
            let shown = format!("{credential:?}");
            assert!(!shown.contains("canary"), "{shown}");
            assert!(credential == credential.clone());
        }
    }
}
