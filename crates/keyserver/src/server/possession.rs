//! Whether the sender of a request holds the private key that a token is bound to.

use std::sync::Arc;

use portunus_auth_core::{AuthError, BearerToken, Confirmation, Principal, Reason};
use portunus_store::StoreError;
use url::Url;

use super::KeyServer;
use crate::dpop::{self, Asked, Proof, Seen};
use crate::exchange::{ExchangeError, TokenRequest};
use crate::possession::{Possession, Shown};

impl KeyServer {
    /// Whether the request that presents this principal's token may use it: always if the token is not bound
    /// to a key, else if the request proves possession of that key. A DPoP proof is used up by this. Answers
    /// from memory.
    ///
    /// Call it with what [`KeyServer::find`], [`KeyServer::verify`] and [`KeyServer::verified`] give, before
    /// anything is done for the principal. Proofs are remembered in this process: within the minute that it is
    /// good for, one can be used once at each server that shares the store. One that was made before this server
    /// began is not taken.
    ///
    /// # Errors
    /// [`AuthError::Unproven`] with the reason, and [`AuthError::Unavailable`] when no more proofs can be
    /// remembered.
    pub fn prove(
        &self,
        principal: &Principal,
        token: &BearerToken,
        shown: &Possession,
    ) -> Result<(), AuthError> {
        match &principal.grant().confirmation {
            None => Ok(()),
            Some(Confirmation::X5tS256(expected)) => holds(shown, expected).map_err(AuthError::Unproven),
            Some(Confirmation::Jkt(expected)) => {
                let proof = self.proof(shown, token, Some(expected), true).map_err(AuthError::Unproven)?;
                match self.0.proofs.spend(&proof, principal.id(), self.now()) {
                    Seen::Never => Ok(()),
                    Seen::Before => Err(AuthError::Unproven(Reason::ReplayedProof)),
                    Seen::Forgotten => Err(AuthError::Unproven(Reason::StaleProof)),
                    Seen::Full => Err(AuthError::Unavailable("no more proofs can be remembered".into())),
                }
            }
            Some(_) => Err(AuthError::Unproven(Reason::BadProof)),
        }
    }

    /// What a new key is bound to, and the proof that the exchange has to spend: whatever the request proves
    /// possession of, which must be what the subject token is bound to, if it is.
    pub(crate) fn bind(
        &self,
        required: Option<&Confirmation>,
        request: &TokenRequest,
    ) -> Result<(Option<Confirmation>, Option<Proof>), ExchangeError> {
        let shown = &request.possession;
        let proof = match shown.proof {
            Shown::Nothing => None,
            _ => {
                let expected = match required {
                    Some(Confirmation::Jkt(expected)) => Some(&**expected),
                    _ => None,
                };
                let proof = self.proof(shown, &request.subject_token, expected, false);
                Some(proof.map_err(ExchangeError::BadProof)?)
            }
        };
        let signer = proof.as_ref().map(|proof| Confirmation::Jkt(proof.key.clone()));
        match (required, signer) {
            (None, Some(signer)) => Ok((Some(signer), proof)),
            (None, None) => {
                let certificate = shown.certificate.as_ref();
                let thumbprint = certificate.map(|certificate| Arc::from(certificate.thumbprint()));
                Ok((thumbprint.map(Confirmation::X5tS256), None))
            }
            (Some(Confirmation::X5tS256(expected)), None) => {
                holds(shown, expected).map_err(ExchangeError::BadSubject)?;
                Ok((required.cloned(), None))
            }
            (Some(required), Some(signer)) if *required == signer => Ok((Some(signer), proof)),
            (Some(_), Some(_)) => Err(ExchangeError::BadProof(Reason::ProofOfOtherKey)),
            (Some(_), None) => Err(ExchangeError::BadProof(Reason::MissingProof)),
        }
    }

    /// Spends the proof. `true`: to this caller alone, here and on every server that shares the store.
    pub(crate) async fn spend_proof(&self, proof: &Proof) -> Result<bool, StoreError> {
        Ok(self.0.replay.spend_proof(proof).await? && self.now() < proof.until)
    }

    /// Without a public address there is nothing to compare a proof with but what its sender says.
    fn proof(
        &self,
        shown: &Possession,
        token: &BearerToken,
        key: Option<&str>,
        names_token: bool,
    ) -> Result<Proof, Reason> {
        let url = self.0.public_url.as_ref().and_then(|url| Url::parse(&url.at(&shown.path)).ok());
        let url = url.ok_or(Reason::ProofOfOtherRequest)?;
        let asked = Asked { method: &shown.method, url: &url, token, key, names_token };
        dpop::verify(&shown.proof, &asked, self.now())
    }
}

fn holds(shown: &Possession, expected: &str) -> Result<(), Reason> {
    match &shown.certificate {
        None => Err(Reason::MissingProof),
        Some(certificate) if certificate.thumbprint() == expected => Ok(()),
        Some(_) => Err(Reason::ProofOfOtherKey),
    }
}
