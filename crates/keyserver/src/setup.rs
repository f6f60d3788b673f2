//! What a key server is put together from, and why it may not be.

use std::sync::Arc;

use portunus_auth_core::{
    AuditFull, AuditSink, BearerToken, BoxError, Clock, ConfigProblem, SecretRef, SecretSource,
};
use portunus_store::{Store, StoreError};

use crate::check::Checked;
use crate::clients::Clients;
use crate::config::Config;
use crate::key::{Pepper, SecretDigest, Unfit};

/// Where the pepper is kept when the configuration names none.
const PEPPER: &str = "ks/pepper";

/// What a key server is put together from.
#[non_exhaustive]
#[expect(missing_debug_implementations, reason = "a source of secrets has nothing to show")]
pub struct Parts<'a> {
    /// Where keys are kept. All servers that share it share their keys.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where every decision is told.
    pub audit: Arc<dyn AuditSink>,
    /// What the secrets in the configuration refer to.
    pub secrets: &'a dyn SecretSource,
}

impl<'a> Parts<'a> {
    /// These.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        audit: Arc<dyn AuditSink>,
        secrets: &'a dyn SecretSource,
    ) -> Self {
        Self { store, clock, audit, secrets }
    }
}

/// Why there is no key server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The configuration is wrong, in these places.
    #[error("the configuration is wrong in {} places", .0.len())]
    Config(Vec<ConfigProblem>),
    /// The keys cannot be read.
    #[error("the keys cannot be read")]
    Store(#[from] StoreError),
    /// Keys that the policies do not give any more could not be revoked, because that could not be audited.
    #[error("the revocation of keys cannot be audited")]
    AuditFull(#[from] AuditFull),
}

/// A configuration without a problem, and the secrets it refers to.
pub(crate) struct Sound {
    pub(crate) checked: Checked,
    pub(crate) admin: Option<SecretDigest>,
    pub(crate) clients: Clients,
    pub(crate) pepper: Option<Pepper>,
}

impl Config {
    /// Everything that is wrong with it, without opening anything but the secrets it refers to.
    pub fn problems(&self, secrets: &dyn SecretSource) -> Vec<ConfigProblem> {
        self.sound(secrets).err().unwrap_or_default()
    }

    pub(crate) fn sound(&self, secrets: &dyn SecretSource) -> Result<Sound, Vec<ConfigProblem>> {
        let mut problems = Vec::new();
        let checked = self.check().map_err(|found| problems = found);
        let admin = self.key_server.admin.as_ref().map(|admin| &admin.bearer_token);
        let admin = secret(admin, secrets, SecretDigest::new)
            .map_err(|says| problems.push(ConfigProblem::new("key_server.admin.bearer_token", says)));
        let pepper = secret(self.key_server.pepper.as_ref(), secrets, Pepper::configured)
            .map_err(|says| problems.push(ConfigProblem::new("key_server.pepper", says)));
        let clients = Clients::open(&self.key_server.clients, secrets, &mut problems);
        match (checked, admin, pepper) {
            (Ok(checked), Ok(admin), Ok(pepper)) if problems.is_empty() => {
                Ok(Sound { checked, admin, clients, pepper })
            }
            _ => Err(problems),
        }
    }
}

/// What the referenced secret is made into, if there is one.
fn secret<T>(
    reference: Option<&SecretRef>,
    source: &dyn SecretSource,
    make: impl Fn(&BearerToken) -> Result<T, Unfit>,
) -> Result<Option<T>, BoxError> {
    let Some(reference) = reference else { return Ok(None) };
    Ok(Some(make(&BearerToken::from(reference.resolve(source)?))?))
}

/// The pepper in the store, made by whoever comes first.
pub(crate) async fn kept_pepper(store: &dyn Store) -> Result<Pepper, StoreError> {
    let mut fresh = [0; 32];
    aws_lc_rs::rand::fill(&mut fresh).map_err(|error| StoreError::Unavailable(error.into()))?;
    if store.put_if_absent(PEPPER, &fresh, None).await? {
        return Ok(Pepper::new(&fresh));
    }
    match store.get(PEPPER).await? {
        Some(kept) if kept.len() == fresh.len() => Ok(Pepper::new(&kept)),
        _ => Err(StoreError::Corrupt("the pepper has another length".into())),
    }
}
