//! Amazon Web Services in a configuration.

use std::path::PathBuf;

use portunus_auth_core::SecretRef;
use serde::Deserialize;

/// Whatever a workload on AWS finds: `AwsCredentialProvider`. Needs the feature `bedrock-auth`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AwsConfig {}

/// Keys to sign with. Needs the feature `bedrock-auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AwsKeysConfig {
    /// The access key's id.
    pub access_key_id: SecretRef,
    /// The secret access key.
    pub secret_access_key: SecretRef,
    /// The session token of temporary keys.
    pub session_token: Option<SecretRef>,
}

/// A role's temporary keys, against an identity token in a file. Needs the feature `bedrock-auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AwsWebIdentityConfig {
    /// The role's ARN.
    pub role_arn: String,
    /// The identity token's file, read at every exchange.
    pub token_file: PathBuf,
    /// What the session is called. `portunus-session` by default.
    pub session_name: Option<String>,
    /// The region whose STS is asked. `us-east-1` by default.
    pub region: Option<String>,
    /// Another STS than the region's own.
    pub endpoint: Option<String>,
    /// Whether the region's FIPS endpoint is asked.
    #[serde(default)]
    pub fips: bool,
    /// Whether the region's endpoint is asked that IPv6 reaches as well.
    #[serde(default)]
    pub dual_stack: bool,
    /// How long the keys are to live, in seconds: 900 to 43200. An hour by default.
    pub duration_seconds: Option<u32>,
}

/// The keys of this container, as its environment says. Needs the feature `bedrock-auth`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AwsContainerConfig {}

/// The keys of this EC2 instance. Needs the feature `bedrock-auth`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AwsImdsConfig {}

/// A profile of AWS's configuration files. Needs the feature `aws-chain`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AwsProfileConfig {
    /// Its name. `AWS_PROFILE`'s, or `default`, by default.
    pub profile: Option<String>,
}

/// An API key of Amazon Bedrock. Needs the feature `bedrock-auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BedrockApiKeyConfig {
    /// The key.
    pub key: SecretRef,
}

#[cfg(feature = "bedrock-auth")]
mod built {
    use std::sync::Arc;
    use std::time::Duration;

    use portunus_auth_core::{Clock, ConfigProblem, SecretSource};
    use url::Url;

    use super::*;
    use crate::aws::{SESSION_NAME, chain};
    use crate::config::{Source, at, if_set, secret};
    use crate::{
        AwsKeysSource, BedrockApiKeySource, ContainerSource, InstanceMetadataSource, StaticTokenProvider,
        WebIdentitySource,
    };

    type Built = Result<Source, ConfigProblem>;
    type Fixed = Result<StaticTokenProvider, ConfigProblem>;

    impl AwsConfig {
        #[expect(clippy::unused_self, reason = "every configuration is asked for its source")]
        pub(in crate::config) fn source(&self, secrets: &dyn SecretSource, clock: Arc<dyn Clock>) -> Built {
            Ok(Box::new(chain(secrets, &clock).map_err(at("source"))?))
        }
    }

    impl AwsKeysConfig {
        pub(in crate::config) fn source(&self, secrets: &dyn SecretSource) -> Built {
            Ok(Box::new(self.keys(secrets)?))
        }

        pub(in crate::config) fn fixed(&self, secrets: &dyn SecretSource) -> Fixed {
            Ok(StaticTokenProvider::of(self.keys(secrets)?.credential().clone()))
        }

        fn keys(&self, secrets: &dyn SecretSource) -> Result<AwsKeysSource, ConfigProblem> {
            let token = self.session_token.as_ref();
            Ok(AwsKeysSource::new(
                secret("access_key_id", &self.access_key_id, secrets)?,
                secret("secret_access_key", &self.secret_access_key, secrets)?,
                token.map(|token| secret("session_token", token, secrets)).transpose()?,
            ))
        }
    }

    impl AwsWebIdentityConfig {
        pub(in crate::config) fn source(&self, clock: Arc<dyn Clock>) -> Built {
            let session = self.session_name.as_deref().unwrap_or(SESSION_NAME);
            let region = self.region.as_deref().unwrap_or("us-east-1");
            let mut source = WebIdentitySource::new(&self.role_arn, &self.token_file, session, region, clock);
            if let Some(endpoint) = &self.endpoint {
                let url = Url::parse(endpoint);
                source = source.with_endpoint(url.map_err(|why| ConfigProblem::new("endpoint", why))?);
            }
            if self.fips {
                source = source.with_fips();
            }
            if self.dual_stack {
                source = source.with_dual_stack();
            }
            if let Some(seconds) = self.duration_seconds {
                let duration = Duration::from_secs(seconds.into());
                source = source.with_session_duration(duration);
                source.check_duration().map_err(at("duration_seconds"))?;
            }
            let place = if self.endpoint.is_some() { "endpoint" } else { "region" };
            source.url().map_err(at(place))?;
            Ok(Box::new(source))
        }
    }

    impl AwsContainerConfig {
        #[expect(clippy::unused_self, reason = "every configuration is asked for its source")]
        pub(in crate::config) fn source(&self, secrets: &dyn SecretSource, clock: Arc<dyn Clock>) -> Built {
            if_set(ContainerSource::from_secrets(secrets, clock))
        }
    }

    impl AwsImdsConfig {
        #[expect(clippy::unused_self, reason = "every configuration is asked for its source")]
        pub(in crate::config) fn source(&self, secrets: &dyn SecretSource, clock: Arc<dyn Clock>) -> Built {
            if_set(InstanceMetadataSource::from_secrets(secrets, clock))
        }
    }

    #[cfg(feature = "aws-chain")]
    impl AwsProfileConfig {
        pub(in crate::config) fn source(&self) -> Built {
            Ok(Box::new(crate::AwsProfileSource::new(self.profile.clone())))
        }
    }

    impl BedrockApiKeyConfig {
        pub(in crate::config) fn source(&self, secrets: &dyn SecretSource) -> Built {
            Ok(Box::new(BedrockApiKeySource::new(secret("key", &self.key, secrets)?)))
        }

        pub(in crate::config) fn fixed(&self, secrets: &dyn SecretSource) -> Fixed {
            Ok(StaticTokenProvider::new(secret("key", &self.key, secrets)?))
        }
    }
}
