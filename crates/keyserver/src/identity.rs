//! Who somebody is, after a token of a configured issuer proved it.

use std::sync::Arc;
use std::time::SystemTime;

use portunus_auth_core::{BearerToken, Confirmation, PrincipalId};
use serde_json::{Map, Value};

use crate::jose::{Algorithm, half_hash};
use crate::policy::Asked;

/// A verified identity. Only [`crate::Issuer::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Identity {
    id: Arc<PrincipalId>,
    claims: Map<String, Value>,
    token: [u8; 32],
    algorithm: Algorithm,
    expires_at: SystemTime,
    forget_at: SystemTime,
    confirmation: Option<Confirmation>,
}

impl Identity {
    /// For [`crate::Issuer::verify`] alone.
    pub(crate) fn verified(
        id: PrincipalId,
        claims: Map<String, Value>,
        (token, algorithm): ([u8; 32], Algorithm),
        (expires_at, forget_at): (SystemTime, SystemTime),
        confirmation: Option<Confirmation>,
    ) -> Self {
        Self { id: Arc::new(id), claims, token, algorithm, expires_at, forget_at, confirmation }
    }

    /// The private key that whoever presents the token must prove to hold (`cnf`, RFC 7800).
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.confirmation.as_ref()
    }

    /// Tenant, issuer and subject.
    pub fn id(&self) -> &Arc<PrincipalId> {
        &self.id
    }

    /// Everything the issuer says about them.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// What policies are asked about.
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { id: &self.id, claims: &self.claims, kept: None }
    }

    /// When the token ends (`exp`), without leeway.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Whether the token answers the authentication request that carried this `nonce` (OpenID Connect
    /// Core section 3.1.3.7 rule 11). A login must ask; an exchange has no request to compare with.
    pub fn answers(&self, nonce: &str) -> bool {
        self.claims.get("nonce").is_some_and(|its| its == nonce)
    }

    /// Whether the token says that it was issued with another access token than this (`at_hash`, OpenID
    /// Connect Core section 3.1.3.6). A login that was given both must ask; a token that says nothing of it
    /// belongs to any.
    pub fn belongs_to_another(&self, access_token: &BearerToken) -> bool {
        let is_its = |its: &Value| *its == half_hash(self.algorithm, access_token);
        self.claims.get("at_hash").is_some_and(|its| !is_its(its))
    }

    /// A digest that names the token, by which a second use of it is recognised.
    pub(crate) fn token(&self) -> &[u8; 32] {
        &self.token
    }

    /// The first instant at which [`crate::Issuer::verify`] refuses the token for its age. Whoever
    /// remembers the token must not forget it earlier, or it can be used twice.
    pub(crate) fn forget_at(&self) -> SystemTime {
        self.forget_at
    }
}
