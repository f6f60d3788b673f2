//! The documented provider: a [`GoogleSource`] in a cache.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use portunus_auth_core::{Clock, CredentialError, SecretSource, SystemClock};
use serde_json::Value;

use super::GoogleSource;
use crate::http::Http;
use crate::{Cached, ProcessEnv};

/// An access token for Vertex AI: fetched from Google, kept, and renewed five minutes before it ends (a
/// metadata server's later, because it hands out the same token until then).
///
/// Clones share what is held. The `with_…` methods begin anew: use them before the first call.
#[derive(Clone, Debug)]
pub struct VertexOAuthCredentialProvider(Cached<GoogleSource>);

impl VertexOAuthCredentialProvider {
    /// As the process's environment says; see [`from_secrets`](Self::from_secrets).
    ///
    /// # Errors
    /// `Invalid` if a credentials file is there and not usable.
    pub fn from_env() -> Result<Self, CredentialError> {
        Self::from_secrets(&ProcessEnv, Arc::new(SystemClock))
    }

    /// Application Default Credentials (<https://google.aip.dev/auth/4110>), in this order:
    ///
    /// 1. the file that `GOOGLE_APPLICATION_CREDENTIALS` names; it has to be there;
    /// 2. `application_default_credentials.json` in `CLOUDSDK_CONFIG`, else in `$HOME/.config/gcloud`
    ///    (`%APPDATA%\gcloud` on Windows);
    /// 3. the metadata server, at `GCE_METADATA_HOST` or else `metadata.google.internal`; not asked if
    ///    `NO_GCE_CHECK` is `true`. Where there is none, `resolve` answers `NotConfigured`.
    ///
    /// The scopes are those of `VERTEX_AI_SCOPE`, separated by spaces, or else
    /// `https://www.googleapis.com/auth/cloud-platform`; `GOOGLE_CLOUD_QUOTA_PROJECT`, or else the file's
    /// `quota_project_id`, is sent along as `x-goog-user-project`. A blank variable counts as unset.
    ///
    /// # Errors
    /// `Invalid` if a file is there and not usable.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        Ok(Self::of(GoogleSource::from_secrets(env, clock.clone())?, clock))
    }

    /// With a service account's key file.
    ///
    /// # Errors
    /// `Invalid` if it cannot be read, or is not the key of a service account.
    pub fn from_key_file(path: &Path) -> Result<Self, CredentialError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let source = GoogleSource::from_file(path, &ProcessEnv, clock.clone())?.service_account()?;
        Ok(Self::of(source, clock))
    }

    /// With the content of a service account's key file.
    ///
    /// # Errors
    /// `Invalid` if it is not the key of a service account.
    pub fn from_service_account_json(json: &Value) -> Result<Self, CredentialError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let source = GoogleSource::from_json(json, &ProcessEnv, clock.clone())?.service_account()?;
        Ok(Self::of(source, clock))
    }

    /// Keeps what that source gets.
    pub fn of(source: GoogleSource, clock: Arc<dyn Clock>) -> Self {
        Self(Cached::new(source, clock))
    }

    /// For other scopes, separated by spaces.
    #[must_use]
    pub fn with_scope(self, scope: impl Into<String>) -> Self {
        Self(self.0.changed(|source| *source = source.clone().with_scope(scope)))
    }

    /// Sends `x-goog-user-project` along: the project that pays and whose quota counts.
    ///
    /// # Errors
    /// `Invalid` if the id cannot be sent in a header.
    pub fn with_quota_project(self, project: &str) -> Result<Self, CredentialError> {
        self.tried(|source| source.with_quota_project(project))
    }

    /// Signs the tokens with the service account's key instead of asking for them: no network, no
    /// issuer. They are good for the scopes, or for the one service of that address, such as
    /// `https://aiplatform.googleapis.com/`.
    ///
    /// # Errors
    /// `Invalid` if these are not the credentials of a service account.
    pub fn with_self_signed_jwt(self, audience: Option<&str>) -> Result<Self, CredentialError> {
        self.tried(|source| source.with_self_signed_jwt(audience))
    }

    /// Shares an HTTP client, or sets other time limits, for all but the metadata server.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self(self.0.changed(|source| *source = source.clone().with_http(http)))
    }

    /// The same for the metadata server, and for a workload's identity token that a host of its own
    /// network hands out; begin with [`Http::for_metadata`].
    #[must_use]
    pub fn with_metadata_http(self, http: Http) -> Self {
        Self(self.0.changed(|source| *source = source.clone().with_metadata_http(http)))
    }

    fn tried(
        self,
        change: impl FnOnce(GoogleSource) -> Result<GoogleSource, CredentialError>,
    ) -> Result<Self, CredentialError> {
        let mut result = Ok(());
        let cached = self.0.changed(|source| match change(source.clone()) {
            Ok(changed) => *source = changed,
            Err(error) => result = Err(error),
        });
        result.map(|()| Self(cached))
    }
}

answers_from_its_cache!(VertexOAuthCredentialProvider);
