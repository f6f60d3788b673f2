//! One fetch of a Google access token.

use std::path::Path;
use std::sync::Arc;

use ::http::{HeaderName, HeaderValue};
use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{
    Clock, CompanionHeader, Credential, CredentialError, CredentialSource, Issued, SecretSource,
};
use serde_json::Value;

use super::adc::{self, Found};
use super::metadata::Metadata;
use super::misconfigured::Misconfigured;
use super::service_account::SelfSigned;
use super::{Call, SCOPE, Way};
use crate::env::set;
use crate::http::Http;

/// The project that pays and whose quota counts, instead of the credential's own
/// (<https://cloud.google.com/docs/quotas/quota-project>).
const QUOTA_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

/// Fetches an access token of Google's. A credentials file is read once, when the source is made.
#[derive(Clone, Debug)]
pub struct GoogleSource {
    way: Way,
    scope: Option<String>,
    quota_project: Option<HeaderValue>,
    http: Http,
    metadata_http: Http,
    clock: Arc<dyn Clock>,
}

impl GoogleSource {
    /// Application Default Credentials: the file that `GOOGLE_APPLICATION_CREDENTIALS` names; else the one
    /// that `gcloud auth application-default login` keeps; else the metadata server. See
    /// [`VertexOAuthCredentialProvider::from_secrets`](crate::VertexOAuthCredentialProvider::from_secrets)
    /// for all variables.
    ///
    /// # Errors
    /// `Invalid` if a file is there and not usable.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        let source = Self::found(adc::find(env)?, clock)?;
        let source = Self { scope: set(env, "VERTEX_AI_SCOPE"), ..source };
        match set(env, "GOOGLE_CLOUD_QUOTA_PROJECT") {
            Some(project) => source.with_quota_project(&project),
            None => Ok(source),
        }
    }

    /// The credentials file at that path, of any supported type. `env` reads it, and says whether a file may
    /// name a program (`GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES`) or another universe
    /// (`GOOGLE_CLOUD_UNIVERSE_DOMAIN`).
    ///
    /// # Errors
    /// `Invalid` if it cannot be read or used.
    pub fn from_file(
        path: &Path,
        env: &dyn SecretSource,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialError> {
        Self::found(adc::read(path, env)?, clock)
    }

    /// The metadata server, at `GCE_METADATA_HOST` or else `metadata.google.internal`.
    ///
    /// # Errors
    /// `Invalid` if that host is not one of this machine's own network.
    pub fn from_metadata(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        let way = Way::Metadata(Metadata::from_secrets(env)?);
        Self::found(Found { way, quota_project: None }, clock)
    }

    pub(super) fn from_json(
        json: &Value,
        env: &dyn SecretSource,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialError> {
        Self::found(adc::parse(json, env)?, clock)
    }

    /// With the content of a file that a configuration refers to as a secret.
    pub(crate) fn from_secret(
        json: &SecretString,
        env: &dyn SecretSource,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialError> {
        Self::found(adc::parse_secret(json, env)?, clock)
    }

    fn found(found: Found, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        let source = Self {
            way: found.way,
            scope: None,
            quota_project: None,
            http: Http::default(),
            metadata_http: Http::for_metadata(),
            clock,
        };
        match &found.quota_project {
            Some(project) => source.with_quota_project(project),
            None => Ok(source),
        }
    }

    /// The same, if it is a service account's key.
    pub(crate) fn service_account(self) -> Result<Self, CredentialError> {
        match self.way {
            Way::ServiceAccount(_) => Ok(self),
            _ => Err(Misconfigured::NotAServiceAccount.into()),
        }
    }

    /// For other scopes, separated by spaces.
    #[must_use]
    pub fn with_scope(self, scope: impl Into<String>) -> Self {
        Self { scope: Some(scope.into()), ..self }
    }

    /// Sends `x-goog-user-project` along: the project that pays and whose quota counts.
    ///
    /// # Errors
    /// `Invalid` if the id cannot be sent in a header.
    pub fn with_quota_project(self, project: &str) -> Result<Self, CredentialError> {
        let project = HeaderValue::from_str(project).map_err(|_| Misconfigured::QuotaProject)?;
        Ok(Self { quota_project: Some(project), ..self })
    }

    /// Signs the tokens with the service account's key instead of asking for them: no network, no issuer. They are
    /// good for the scopes, or for the one service of that address, such as `https://aiplatform.googleapis.com/`.
    ///
    /// # Errors
    /// `Invalid` if these are not the credentials of a service account.
    pub fn with_self_signed_jwt(mut self, audience: Option<&str>) -> Result<Self, CredentialError> {
        let how = audience.map_or(SelfSigned::Scope, |audience| SelfSigned::Audience(audience.to_owned()));
        match &mut self.way {
            Way::ServiceAccount(account) => account.self_signed = Some(how),
            _ => return Err(Misconfigured::NotAServiceAccount.into()),
        }
        Ok(self)
    }

    /// Shares an HTTP client, or sets other time limits, for all but the metadata server.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }

    /// The same for the metadata server, and for a workload's identity token that a host of its own network hands
    /// out; begin with [`Http::for_metadata`].
    #[must_use]
    pub fn with_metadata_http(self, metadata_http: Http) -> Self {
        Self { metadata_http, ..self }
    }
}

#[async_trait]
impl CredentialSource for GoogleSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let call = Call {
            http: &self.http,
            metadata_http: &self.metadata_http,
            now: self.clock.now(),
            scope: self.scope.as_deref().unwrap_or(SCOPE),
            scope_is_chosen: self.scope.is_some(),
        };
        let mut issued = self.way.token(&call).await?;
        if let (Some(project), Credential::BearerToken(token)) = (&self.quota_project, &issued.credential) {
            let header = CompanionHeader { name: QUOTA_PROJECT, value: project.clone(), is_element: false };
            issued.credential = Credential::BearerTokenWith { token: token.clone(), headers: vec![header] };
        }
        Ok(issued)
    }
}
