//! What a key is good for, told to those who may know (RFC 7662).

use std::sync::Arc;

use portunus_auth_core::audit::Actor;
use portunus_auth_core::{AuthError, BearerToken, Principal, Reason, TenantId};

use super::KeyServer;
use crate::key::is_ours;

/// Who asks what a key is good for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Asker {
    /// May know it of every key.
    Admin,
    /// May know it of the keys of its tenant.
    Client {
        /// Its name.
        id: Arc<str>,
        /// Its tenant.
        tenant: TenantId,
    },
    /// Whoever holds a live key; may know it of the keys of the same tenant.
    Holder(Arc<Principal>),
}

impl Asker {
    /// Who it is, for the audit.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Admin => Actor::Admin,
            Self::Client { id, tenant } => Actor::Client { id: id.clone(), tenant: tenant.clone() },
            Self::Holder(key) => Actor::Principal(key.clone()),
        }
    }

    fn may_know(&self, key: &Principal) -> bool {
        match self {
            Self::Admin => true,
            Self::Client { tenant, .. } => *tenant == key.id().tenant,
            Self::Holder(holder) => holder.id().tenant == key.id().tenant,
        }
    }
}

impl KeyServer {
    /// Who presents this bearer token to ask about a key: the administrator, or the holder of a live key that works
    /// without further proof. `None`: nobody who may ask.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`]: it cannot be told.
    pub fn asker_with_token(&self, token: &BearerToken) -> Result<Option<Asker>, AuthError> {
        if !is_ours(token) {
            return Ok(self.is_admin(token).then_some(Asker::Admin));
        }
        match self.find(token) {
            // Who presents a bound key alone may have stolen it.
            Ok(key) => Ok(Some(key).filter(|key| key.grant().confirmation.is_none()).map(Asker::Holder)),
            Err(error @ AuthError::Unavailable(_)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The client of that name, if it presents its secret.
    pub fn asker_with_secret(&self, id: &str, presented: &[BearerToken]) -> Option<Asker> {
        let client = self.0.clients.authenticate(id, presented)?;
        Some(Asker::Client { id: client.id.clone(), tenant: client.tenant.clone() })
    }

    /// Whose live key this is. Answers from memory. Leaves no audit event; whoever answers the asker does.
    ///
    /// # Errors
    /// Why the asker is told nothing but that it is not active, for the audit alone.
    pub fn inspect(&self, token: &BearerToken, asker: &Asker) -> Result<Arc<Principal>, Reason> {
        match self.find(token) {
            Ok(key) if asker.may_know(&key) => Ok(key),
            Ok(_) => Err(Reason::Unauthorized),
            Err(error) => Err(no_key(&error)),
        }
    }
}

/// Why a presented text is no live key, or it cannot be told, for the audit.
pub(crate) fn no_key(error: &AuthError) -> Reason {
    match error {
        AuthError::Malformed => Reason::MalformedCredential,
        AuthError::Expired => Reason::ExpiredCredential,
        AuthError::Revoked => Reason::RevokedCredential,
        AuthError::Unavailable(_) => Reason::AuthenticationUnavailable,
        _ => Reason::UnknownCredential,
    }
}
