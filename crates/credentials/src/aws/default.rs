//! Credentials for AWS from wherever this workload has them.

use std::sync::Arc;

use async_trait::async_trait;
use portunus_auth_core::{Clock, CredentialError, CredentialSource, SecretSource, SystemClock};

use super::{AwsKeysSource, BedrockApiKeySource, ContainerSource, InstanceMetadataSource, WebIdentitySource};
use crate::env::NotSet;
use crate::{Cached, Chain, ProcessEnv};

/// What a workload on AWS finds: an API key of Bedrock, keys in the environment, a web identity, keys for
/// its container, keys for its instance; the first that is there. Kept, and renewed before it ends.
///
/// Clones share what is held.
#[derive(Clone, Debug)]
pub struct AwsCredentialProvider(Cached<Chain>);

impl AwsCredentialProvider {
    /// As the process's environment says; see [`from_secrets`](Self::from_secrets).
    ///
    /// # Errors
    /// `Invalid` if one of the sources is set up wrongly.
    pub fn from_env() -> Result<Self, CredentialError> {
        Self::from_secrets(&ProcessEnv, Arc::new(SystemClock))
    }

    /// In this order: `AWS_BEARER_TOKEN_BEDROCK`; `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; with the feature
    /// `aws-chain`, the profile of `AWS_PROFILE`, or `default`;
    /// `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`; `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or
    /// `…_FULL_URI`; the instance's metadata service, unless `AWS_EC2_METADATA_DISABLED` is `true`. The
    /// sources themselves say which further variables they read.
    ///
    /// # Errors
    /// `Invalid` if one of the sources is set up wrongly.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        Ok(Self(Cached::new(chain(env, &clock)?, clock)))
    }
}

pub(crate) fn chain(env: &dyn SecretSource, clock: &Arc<dyn Clock>) -> Result<Chain, CredentialError> {
    let chain = Chain::first("Bedrock API key", link(BedrockApiKeySource::from_secrets(env))?)
        .then("AWS access key", link(AwsKeysSource::from_secrets(env))?);
    #[cfg(feature = "aws-chain")]
    let chain = chain.then("AWS profile", link(super::AwsProfileSource::from_secrets(env))?);
    Ok(chain
        .then("web identity", link(WebIdentitySource::from_secrets(env, clock.clone()))?)
        .then("container credentials", link(ContainerSource::from_secrets(env, clock.clone()))?)
        .then(
            "EC2 instance metadata",
            link(
                InstanceMetadataSource::from_secrets(env, clock.clone())
                    .map(InstanceMetadataSource::may_be_absent),
            )?,
        ))
}

/// What is not set up stays in the chain, so that its error names it.
fn link<S: CredentialSource>(
    source: Result<S, CredentialError>,
) -> Result<Box<dyn CredentialSource>, CredentialError> {
    match source {
        Ok(source) => Ok(Box::new(source)),
        Err(CredentialError::NotConfigured) => Ok(Box::new(NotSet)),
        Err(error) => Err(error),
    }
}

answers_from_its_cache!(AwsCredentialProvider);
