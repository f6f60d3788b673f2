//! A token for Azure OpenAI, kept and renewed.

use std::sync::Arc;

use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Clock, CredentialError, SecretSource, SystemClock};
use url::Url;

use super::AzureAdSource;
use crate::env::set;
use crate::http::Http;
use crate::kept::Kept;
use crate::{Cached, ProcessEnv, StaticTokenProvider};

/// A token for Azure OpenAI: fetched from Microsoft Entra ID, kept, and renewed five minutes before it
/// ends; or the static token of `AZURE_AD_TOKEN`.
///
/// Clones share what is held. A `with_…` method makes a provider that holds nothing yet, because what is asked
/// for otherwise is another token. The static token comes before anything else, and so the `with_…` methods
/// leave it as it is, and log a warning; [`renews`](portunus_auth_core::CredentialProvider::renews) tells it from the others.
#[derive(Clone, Debug)]
pub struct AzureAdCredentialProvider(Kept<AzureAdSource>);

impl AzureAdCredentialProvider {
    /// For a tenant, by domain or id, and a registered application with its secret.
    pub fn new(tenant: impl Into<String>, client_id: impl Into<String>, secret: SecretString) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self::of(AzureAdSource::new(tenant, client_id, secret, clock.clone()), clock)
    }

    /// As the process's environment says; see [`from_secrets`](Self::from_secrets).
    ///
    /// # Errors
    /// `NotConfigured` if none of the variables is set, or only `AZURE_CLIENT_ID`; `Invalid` if only some are.
    pub fn from_env() -> Result<Self, CredentialError> {
        Self::from_secrets(&ProcessEnv, Arc::new(SystemClock))
    }

    /// As these variables say: `AZURE_AD_TOKEN`, a static token, before which nothing else is read; or
    /// `AZURE_TENANT_ID` and `AZURE_CLIENT_ID` with one of
    ///
    /// * `AZURE_CLIENT_SECRET`;
    /// * `AZURE_CLIENT_CERTIFICATE_PATH`, a PEM file with the certificate and its key, not encrypted; with
    ///   `AZURE_CLIENT_SEND_CERTIFICATE_CHAIN` `1` or `true` the certificates are sent along;
    /// * `AZURE_FEDERATED_TOKEN_FILE`, for a workload identity;
    ///
    /// and `AZURE_AD_SCOPE` and `AZURE_AUTHORITY_HOST` if they differ from the usual ones. A blank variable
    /// counts as unset.
    ///
    /// # Errors
    /// `NotConfigured` if none of the variables is set, or only `AZURE_CLIENT_ID`; `Invalid` if only some are.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        if let Some(token) = set(env, "AZURE_AD_TOKEN") {
            return Ok(Self(Kept::Given(StaticTokenProvider::new(token.into()))));
        }
        Ok(Self::of(AzureAdSource::from_secrets(env, clock.clone())?, clock))
    }

    /// Keeps what that source gets.
    pub fn of(source: AzureAdSource, clock: Arc<dyn Clock>) -> Self {
        Self(Kept::Issued(Cached::new(source, clock)))
    }

    /// For another resource. Without it, `https://cognitiveservices.azure.com/.default`.
    #[must_use]
    pub fn with_scope(self, scope: impl Into<String>) -> Self {
        Self(self.0.changed(|source| source.scope = scope.into()))
    }

    /// Another authority, such as `https://login.microsoftonline.us`; https, except on a loopback host.
    #[must_use]
    pub fn with_authority(self, authority: Url) -> Self {
        Self(self.0.changed(|source| source.authority = authority.into()))
    }

    /// Shares an HTTP client, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self(self.0.changed(|source| source.http = http))
    }
}

answers_from_its_cache!(AzureAdCredentialProvider);
