//! Keys that never change, from the environment.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html>

use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, CredentialSource, Issued, SecretSource};

use crate::env::set;

/// An access key of a user, or keys of a session that somebody else renews.
#[derive(Clone, Debug)]
pub struct AwsKeysSource(Credential);

#[derive(Debug, thiserror::Error)]
enum Misconfigured {
    #[error("`AWS_ACCESS_KEY_ID` is set, and `AWS_SECRET_ACCESS_KEY` is not")]
    NoSecret,
    #[error("`AWS_SECRET_ACCESS_KEY` is set, and `AWS_ACCESS_KEY_ID` is not")]
    NoId,
}

impl AwsKeysSource {
    /// These keys; temporary ones have a session token.
    pub fn new(id: SecretString, secret: SecretString, session_token: Option<SecretString>) -> Self {
        Self(Credential::AwsCredentials { access_key_id: id, secret_access_key: secret, session_token })
    }

    pub(crate) fn credential(&self) -> &Credential {
        &self.0
    }

    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` (or, as older tools call it, `SECRET_ACCESS_KEY`) and
    /// `AWS_SESSION_TOKEN`. A blank variable counts as unset.
    ///
    /// # Errors
    /// `NotConfigured` if neither of the first two is set, `Invalid` if only one is.
    pub fn from_secrets(env: &dyn SecretSource) -> Result<Self, CredentialError> {
        let secret = set(env, "AWS_SECRET_ACCESS_KEY").or_else(|| set(env, "SECRET_ACCESS_KEY"));
        match (set(env, "AWS_ACCESS_KEY_ID"), secret) {
            (Some(id), Some(secret)) => {
                let token = set(env, "AWS_SESSION_TOKEN").map(SecretString::from);
                Ok(Self::new(id.into(), secret.into(), token))
            }
            (None, None) => Err(CredentialError::NotConfigured),
            (Some(_), None) => Err(CredentialError::Invalid(Misconfigured::NoSecret.into())),
            (None, Some(_)) => Err(CredentialError::Invalid(Misconfigured::NoId.into())),
        }
    }
}

#[async_trait]
impl CredentialSource for AwsKeysSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        Ok(Issued::new(self.0.clone(), None).from_source("AWS access key"))
    }
}
