//! Whose token this is: the issuers, and what a token of theirs proves.

use std::sync::Arc;

use portunus_auth_core::{AuthError, BearerToken, Grant, Principal};

use super::{KeyServer, Peer};
use crate::identity::Identity;
use crate::issuer::{Issuer, TokenKind};
use crate::jose::{Refused, UnverifiedJwt};
use crate::jwks::{IssuerDown, Jwks};
use crate::limits::TooOften;
use crate::verified::{Proof, Recalled};

/// An issuer and its keys.
pub(super) struct Trusted {
    pub(super) issuer: Issuer,
    pub(super) jwks: Jwks,
}

/// Why it is not known whose token this is.
#[derive(Debug)]
pub(crate) enum NotIdentified {
    /// The token is no good.
    Refused(Refused),
    /// It cannot be told.
    Unavailable(IssuerDown),
}

impl From<Refused> for NotIdentified {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl KeyServer {
    /// [`KeyServer::verify_from`] for a caller in this process, which has no address.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn verify(&self, token: &BearerToken) -> Result<Arc<Principal>, AuthError> {
        self.verify_from(token, Peer::default()).await
    }

    /// Who presents this token of a configured issuer as a credential, and what the policies grant them. Whether
    /// the request that presents it may use it is for [`KeyServer::prove`]. What was found for this very token
    /// before is found again without waiting, as long as it still holds.
    ///
    /// # Errors
    /// [`AuthError`]; [`AuthError::TooOften`] when too many tokens came from the peer's address, before
    /// anything of this one is verified, and [`AuthError::Unavailable`] when the issuer's keys cannot be had.
    pub async fn verify_from(&self, token: &BearerToken, from: Peer) -> Result<Arc<Principal>, AuthError> {
        match self.recall(token) {
            Recalled::Holds(principal) => return Ok(principal),
            // Good until its issuer's keys or the policies changed, so no stranger's.
            Recalled::Outdated => {}
            Recalled::Unknown => {
                self.admit(from).map_err(|TooOften { retry_after }| AuthError::TooOften { retry_after })?;
            }
        }
        self.verify_anew(token).await
    }

    /// What [`KeyServer::verify_from`] found for this very token before, as long as it still holds. Does not
    /// wait.
    pub fn verified(&self, token: &BearerToken) -> Option<Arc<Principal>> {
        match self.recall(token) {
            Recalled::Holds(principal) => Some(principal),
            Recalled::Outdated | Recalled::Unknown => None,
        }
    }

    fn recall(&self, token: &BearerToken) -> Recalled {
        let keys_of = |issuer: usize| self.0.issuers.get(issuer)?.jwks.fresh();
        self.0.verified.recall(token, self.now(), keys_of, &self.0.policies.load())
    }

    async fn verify_anew(&self, token: &BearerToken) -> Result<Arc<Principal>, AuthError> {
        let (identity, proof) = self.identify(token, TokenKind::Any).await.map_err(|why| match why {
            NotIdentified::Unavailable(down) => AuthError::Unavailable(down.into()),
            NotIdentified::Refused(Refused::Malformed) => AuthError::Malformed,
            NotIdentified::Refused(Refused::Expired) => AuthError::Expired,
            NotIdentified::Refused(_) => AuthError::Unknown,
        })?;
        let now = self.now();
        // The leeway is for exchanges; a token used as a credential ends when it says.
        if identity.expires_at() <= now {
            return Err(AuthError::Expired);
        }
        let policies = self.policies();
        let decision = policies.decide(&identity.asked(), None, None, now).ok_or(AuthError::NotAdmitted)?;
        let grant = Grant { confirmation: identity.confirmation().cloned(), ..decision.grant };
        Ok(self.0.verified.remember(token, &identity, grant, (proof, policies), now))
    }

    /// Counts a token from this address, before anything of it is looked at.
    pub(crate) fn admit(&self, from: Peer) -> Result<(), TooOften> {
        self.0.addresses.admit(from.ip)
    }

    /// Whose token this is.
    pub(crate) async fn identify(
        &self,
        token: &BearerToken,
        kind: TokenKind,
    ) -> Result<(Identity, Proof), NotIdentified> {
        let jwt = UnverifiedJwt::read(token)?;
        let claimed = jwt.claimed()?;
        let place = self.0.issuers.iter().position(|trusted| trusted.issuer.naming.goes_by(&claimed));
        let place = place.ok_or(Refused::UnknownIssuer)?;
        let Trusted { issuer, jwks } = &self.0.issuers[place];
        // Before any key is looked up or fetched.
        if !issuer.algorithms.contains(&jwt.algorithm()) {
            return Err(Refused::UnsupportedAlgorithm.into());
        }
        let mut keys = jwks.current().await.map_err(NotIdentified::Unavailable)?;
        let mut found = issuer.verify(&jwt, kind, &keys, self.now());
        if matches!(found, Err(Refused::UnknownKey))
            && let Some(newer) = jwks.newer(jwt.key_id(), &keys).await.map_err(NotIdentified::Unavailable)?
        {
            found = issuer.verify(&jwt, kind, &newer, self.now());
            keys = newer;
        }
        Ok((found?, Proof { issuer: place, keys }))
    }
}
