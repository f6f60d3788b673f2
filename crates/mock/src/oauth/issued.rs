//! The access tokens that were issued, and what they are good for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::secrets::Secrets;

/// After so many new entries the expired ones are forgotten.
const SWEEP_EVERY: usize = 1_024;

/// What an access token is good for.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) subject: String,
    pub(super) scopes: Vec<String>,
    /// What `/userinfo` tells.
    pub(super) claims: Map<String, Value>,
    pub(super) expires_at: SystemTime,
    /// The code that it was issued for, by number.
    pub(super) grant: Option<u64>,
}

/// All access tokens of an identity provider.
#[derive(Debug, Default)]
pub(crate) struct IssuedTokens(Mutex<Secrets<Access>>);

impl IssuedTokens {
    pub(super) fn add(&self, token: &str, access: Access, now: SystemTime) {
        let mut tokens = self.lock();
        if tokens.len() % SWEEP_EVERY == SWEEP_EVERY - 1 {
            tokens.retain(|access| now < access.expires_at);
        }
        tokens.insert(token, access);
    }

    /// Whether that token is still valid; `None`: it was never issued, or revoked.
    pub(crate) fn is_valid(&self, token: &str, now: SystemTime) -> Option<bool> {
        self.lock().get(token).map(|access| now < access.expires_at)
    }

    pub(super) fn find(&self, token: &str, now: SystemTime) -> Option<Access> {
        self.lock().get(token).filter(|access| now < access.expires_at).cloned()
    }

    /// Forgets every token that was issued for that code.
    pub(super) fn revoke(&self, grant: u64) {
        self.lock().retain(|access| access.grant != Some(grant));
    }

    fn lock(&self) -> MutexGuard<'_, Secrets<Access>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
