//! Who somebody is, after a token of a configured issuer proved it.

use std::sync::Arc;
use std::time::SystemTime;

use portunus_auth_core::PrincipalId;
use serde_json::{Map, Value};

use crate::policy::Asked;

/// A verified identity. Only [`crate::Issuer::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Identity {
    id: Arc<PrincipalId>,
    claims: Map<String, Value>,
    token: [u8; 32],
    expires_at: SystemTime,
    forget_at: SystemTime,
}

impl Identity {
    /// For [`crate::Issuer::verify`] alone.
    pub(crate) fn verified(
        id: PrincipalId,
        claims: Map<String, Value>,
        token: [u8; 32],
        expires_at: SystemTime,
        forget_at: SystemTime,
    ) -> Self {
        Self { id: Arc::new(id), claims, token, expires_at, forget_at }
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
