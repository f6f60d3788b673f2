//! An identity token that is about to be shown to an issuer.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use portunus_auth_core::{Credential, CredentialError, CredentialSource, Issued};

use super::claims::Claims;
use crate::Token;

/// Larger tokens are refused by issuers; what is larger is a key or a certificate.
const LARGEST: usize = 16 * 1024;

/// So long after its end a token may still be accepted, because clocks differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// An identity token that looks like one and has not ended.
pub(crate) struct Assertion {
    token: SecretString,
    /// It carries a name (`jti`), so an issuer may take it only once.
    #[cfg(feature = "anthropic-auth")]
    pub(crate) is_named: bool,
}

#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the identity source yields keys or headers, but only a bearer token can be an identity token")]
    NotABearerToken,
    #[error(
        "the identity token is not a JWT: give the token that the platform issued, no key and no access token"
    )]
    NotAJwt,
    #[error("the identity token is larger than 16 KiB, so it is a key or a certificate")]
    TooLarge,
    #[error(
        "the identity token expired {0} s ago: see that its issuer replaces it, and that this machine's clock is right"
    )]
    Expired(u64),
}

#[derive(Debug, thiserror::Error)]
#[error("the issued token had no lifetime")]
struct Lifeless;

impl From<Unfit> for CredentialError {
    fn from(why: Unfit) -> Self {
        match why {
            Unfit::Expired(_) => Self::Rejected(why.into()),
            _ => Self::Invalid(why.into()),
        }
    }
}

/// A federation, as far as it knows how to show an identity token.
#[async_trait]
pub(crate) trait Exchange: Sync {
    async fn exchange(&self, assertion: &Assertion, asked: SystemTime) -> Result<Issued, CredentialError>;
}

/// Shows the identity's token, and after a refusal the one that has taken its place meanwhile, if one has: an expired
/// token is refused like any other.
pub(crate) async fn exchanged(
    by: &dyn Exchange,
    identity: &dyn CredentialSource,
    now: SystemTime,
) -> Result<Issued, CredentialError> {
    let assertion = Assertion::from(identity, now).await?;
    match by.exchange(&assertion, now).await {
        Err(error @ CredentialError::Rejected(_)) => match assertion.successor(identity, now).await {
            Some(assertion) => by.exchange(&assertion, now).await,
            None => Err(error),
        },
        answer => answer,
    }
}

impl Assertion {
    /// Asks for an identity token.
    ///
    /// # Errors
    /// The source's, `Invalid` for what cannot be an identity token, `Rejected` for one that has ended.
    async fn from(identity: &dyn CredentialSource, now: SystemTime) -> Result<Self, CredentialError> {
        let Credential::BearerToken(token) = identity.fetch().await?.credential else {
            return Err(Unfit::NotABearerToken.into());
        };
        if token.expose_secret().len() > LARGEST {
            return Err(Unfit::TooLarge.into());
        }
        let claims = Claims::of(&token).ok_or(Unfit::NotAJwt)?;
        let ended = claims.expires_at().and_then(|end| now.duration_since(end).ok());
        if let Some(since) = ended.filter(|since| *since >= LEEWAY) {
            return Err(Unfit::Expired(since.as_secs()).into());
        }
        Ok(Self {
            token,
            #[cfg(feature = "anthropic-auth")]
            is_named: claims.is_named(),
        })
    }

    /// The token that has taken this one's place, if one has: the issuer's refusal of this one says
    /// nothing about that one.
    async fn successor(&self, identity: &dyn CredentialSource, now: SystemTime) -> Option<Self> {
        let next = Self::from(identity, now).await.ok()?;
        (next.token.expose_secret() != self.token.expose_secret()).then_some(next)
    }

    /// The token.
    pub(crate) fn token(&self) -> &SecretString {
        &self.token
    }
}

/// Refuses a token whose stated lifetime is zero or less.
pub(crate) fn living(token: Token) -> Result<Token, CredentialError> {
    if token.expires_in.is_zero() {
        return Err(CredentialError::Unavailable { retry_after: None, source: Lifeless.into() });
    }
    Ok(token)
}
