//! Bedrock's own API keys, which are sent as bearer tokens and not signed with.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html>

use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, CredentialSource, Issued, SecretSource};

use crate::env::set;

/// An API key of Amazon Bedrock.
#[derive(Clone, Debug)]
pub struct BedrockApiKeySource(Credential);

impl BedrockApiKeySource {
    /// This key.
    pub fn new(key: SecretString) -> Self {
        Self(Credential::BearerToken(key))
    }

    pub(crate) fn credential(&self) -> &Credential {
        &self.0
    }

    /// `AWS_BEARER_TOKEN_BEDROCK`.
    ///
    /// # Errors
    /// `NotConfigured` if it is unset or blank.
    pub fn from_secrets(env: &dyn SecretSource) -> Result<Self, CredentialError> {
        set(env, "AWS_BEARER_TOKEN_BEDROCK")
            .map(|key| Self::new(key.into()))
            .ok_or(CredentialError::NotConfigured)
    }
}

#[async_trait]
impl CredentialSource for BedrockApiKeySource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        Ok(Issued::new(self.0.clone(), None).from_source("Bedrock API key"))
    }
}
