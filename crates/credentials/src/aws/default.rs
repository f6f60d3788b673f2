//! Credentials for AWS from wherever this workload has them.

use std::sync::Arc;

use async_trait::async_trait;
use portunus_auth_core::{Clock, Credential, CredentialError, CredentialSource, SecretSource, SystemClock};

#[cfg(feature = "aws-chain")]
use super::AwsProfileSource;
use super::{AwsKeysSource, BedrockApiKeySource, ContainerSource, InstanceMetadataSource, WebIdentitySource};
use crate::env::NotSet;
use crate::http::Http;
use crate::kept::Kept;
use crate::{Cached, Chain, ProcessEnv, StaticTokenProvider};

/// What a workload on AWS finds: an API key of Bedrock, keys in the environment, a web identity, keys for
/// its container, keys for its instance; the first that is there. Kept, and renewed before it ends.
///
/// Clones share what is held. The `with_…` methods begin anew: use them before the first call.
#[derive(Clone, Debug)]
pub struct AwsCredentialProvider {
    found: Found,
    clock: Arc<dyn Clock>,
    answers: Kept<Chain>,
}

impl AwsCredentialProvider {
    /// As the process's environment says; see [`from_secrets`](Self::from_secrets).
    ///
    /// # Errors
    /// `Invalid` if a source is set up wrongly that would be asked.
    pub fn from_env() -> Result<Self, CredentialError> {
        Self::from_secrets(&ProcessEnv, Arc::new(SystemClock))
    }

    /// In this order: `AWS_BEARER_TOKEN_BEDROCK`; `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; with the feature
    /// `aws-chain`, the profile of `AWS_PROFILE`, or `default`;
    /// `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`; `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or
    /// `…_FULL_URI`; the instance's metadata service, unless `AWS_EC2_METADATA_DISABLED` is `true`. The
    /// sources themselves say which further variables they read.
    ///
    /// After one of the first two nothing else is read: they are there, or are not.
    ///
    /// # Errors
    /// `Invalid` if a source is set up wrongly that would be asked.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        Ok(Self::of(Found::in_secrets(env, &clock)?, clock))
    }

    fn of(found: Found, clock: Arc<dyn Clock>) -> Self {
        let answers = match found.fixed() {
            Some(credential) => Kept::Given(StaticTokenProvider::of(credential.clone())),
            None => Kept::Issued(Cached::new(found.chain(), clock.clone())),
        };
        Self { found, clock, answers }
    }

    /// Shares an HTTP client for STS, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        let mut found = self.found;
        found.web_identity = found.web_identity.map(|source| source.with_http(http));
        Self::of(found, self.clock)
    }

    /// The same for the metadata services of containers and instances. Only [`Http::for_metadata`] may ask in
    /// plain text.
    #[must_use]
    pub fn with_metadata_http(self, http: Http) -> Self {
        let mut found = self.found;
        found.container = found.container.map(|source| source.with_http(http.clone()));
        found.instance = found.instance.map(|source| source.with_http(http));
        Self::of(found, self.clock)
    }
}

/// What is set up, in the order in which it is asked.
#[derive(Clone, Debug, Default)]
struct Found {
    key: Option<BedrockApiKeySource>,
    keys: Option<AwsKeysSource>,
    #[cfg(feature = "aws-chain")]
    profile: Option<AwsProfileSource>,
    web_identity: Option<WebIdentitySource>,
    container: Option<ContainerSource>,
    instance: Option<InstanceMetadataSource>,
}

impl Found {
    fn in_secrets(env: &dyn SecretSource, clock: &Arc<dyn Clock>) -> Result<Self, CredentialError> {
        let mut found = Self { key: if_set(BedrockApiKeySource::from_secrets(env))?, ..Self::default() };
        if found.key.is_none() {
            found.keys = if_set(AwsKeysSource::from_secrets(env))?;
        }
        if found.fixed().is_none() {
            #[cfg(feature = "aws-chain")]
            {
                found.profile = if_set(AwsProfileSource::from_secrets(env))?;
            }
            found.web_identity = if_set(WebIdentitySource::from_secrets(env, clock.clone()))?;
            found.container = if_set(ContainerSource::from_secrets(env, clock.clone()))?;
            let instance = if_set(InstanceMetadataSource::from_secrets(env, clock.clone()))?;
            found.instance = instance.map(InstanceMetadataSource::may_be_absent);
        }
        Ok(found)
    }

    fn fixed(&self) -> Option<&Credential> {
        let key = self.key.as_ref().map(BedrockApiKeySource::credential);
        key.or_else(|| self.keys.as_ref().map(AwsKeysSource::credential))
    }

    fn chain(&self) -> Chain {
        let chain = Chain::first("Bedrock API key", link(&self.key)).then("AWS access key", link(&self.keys));
        #[cfg(feature = "aws-chain")]
        let chain = chain.then("AWS profile", link(&self.profile));
        chain
            .then("web identity", link(&self.web_identity))
            .then("container credentials", link(&self.container))
            .then("EC2 instance metadata", link(&self.instance))
    }
}

pub(crate) fn chain(env: &dyn SecretSource, clock: &Arc<dyn Clock>) -> Result<Chain, CredentialError> {
    Ok(Found::in_secrets(env, clock)?.chain())
}

fn if_set<S>(source: Result<S, CredentialError>) -> Result<Option<S>, CredentialError> {
    match source {
        Ok(source) => Ok(Some(source)),
        Err(CredentialError::NotConfigured) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is not set up stays in the chain, so that its error names it.
fn link<S: CredentialSource + Clone>(source: &Option<S>) -> Box<dyn CredentialSource> {
    match source {
        Some(source) => Box::new(source.clone()),
        None => Box::new(NotSet),
    }
}

answers_from_its_cache!(AwsCredentialProvider, answers);
