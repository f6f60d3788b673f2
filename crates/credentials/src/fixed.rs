//! A credential that never changes.

use std::sync::Arc;

use ::http::HeaderName;
use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, CredentialProvider, CredentialSource, Issued};

/// Always the same token or key: no cache, no refresh. A refusal by the upstream changes nothing here;
/// whoever configured it has to.
#[derive(Clone, Debug)]
pub struct StaticTokenProvider(Arc<Credential>);

impl StaticTokenProvider {
    /// A bearer token.
    pub fn new(token: SecretString) -> Self {
        Self(Arc::new(Credential::BearerToken(token)))
    }

    #[cfg(feature = "bedrock-auth")]
    pub(crate) fn of(credential: Credential) -> Self {
        Self(Arc::new(credential))
    }

    /// A key in a header of the vendor's own, such as `x-api-key`.
    pub fn api_key(header: HeaderName, key: SecretString) -> Self {
        Self(Arc::new(Credential::ApiKey { header, value: key }))
    }
}

#[async_trait]
impl CredentialProvider for StaticTokenProvider {
    async fn resolve(&self) -> Result<Credential, CredentialError> {
        Ok((*self.0).clone())
    }

    fn held(&self) -> Option<Arc<Credential>> {
        Some(self.0.clone())
    }

    fn renews(&self) -> bool {
        false
    }
}

/// So that it can end a [`Chain`](crate::Chain).
#[async_trait]
impl CredentialSource for StaticTokenProvider {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        Ok(Issued::new((*self.0).clone(), None))
    }
}
