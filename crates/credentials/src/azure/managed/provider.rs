//! A machine's token, kept and renewed.

use std::sync::Arc;

use async_trait::async_trait;
use portunus_auth_core::{Clock, CredentialError, SecretSource, SystemClock};

use super::AzureManagedIdentitySource;
use crate::{Cached, ProcessEnv};

/// The token of the Azure machine on which this runs, kept, and renewed before it ends.
///
/// Clones share what is held.
#[derive(Clone, Debug)]
pub struct AzureManagedIdentityProvider(Cached<AzureManagedIdentitySource>);

impl AzureManagedIdentityProvider {
    /// As the process's environment says, for Azure's cognitive services or `AZURE_AD_SCOPE`; the identity whose
    /// application is `AZURE_CLIENT_ID`, if that is set.
    ///
    /// # Errors
    /// `Invalid` on a kind of machine that is not supported.
    pub fn from_env() -> Result<Self, CredentialError> {
        Self::from_secrets(&ProcessEnv, Arc::new(SystemClock))
    }

    /// The same for another environment.
    ///
    /// # Errors
    /// `Invalid` on a kind of machine that is not supported.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        let source = AzureManagedIdentitySource::from_variables(env, clock.clone())?;
        Ok(Self::of(source, clock))
    }

    /// Keeps what that source gets.
    pub fn of(source: AzureManagedIdentitySource, clock: Arc<dyn Clock>) -> Self {
        Self(Cached::new(source, clock))
    }
}

answers_from_its_cache!(AzureManagedIdentityProvider);
