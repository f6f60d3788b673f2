//! `credential = { source = "…", … }`: which provider a configuration asks for.

mod aws;
mod azure;
mod command;
mod federation;
mod google;

use std::path::PathBuf;
use std::sync::Arc;

use ::http::HeaderName;
#[cfg(feature = "http")]
use portunus_auth_core::CredentialError;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{
    Clock, ConfigProblem, CredentialProvider, CredentialSource, SecretRef, SecretSource,
};
use serde::Deserialize;

#[cfg(feature = "http")]
use crate::cached::Causes;
use crate::env::{NotSet, set};
use crate::{Cached, Chain, FileSource, RefreshPolicy, StaticTokenProvider};

pub use self::aws::{
    AwsConfig, AwsContainerConfig, AwsImdsConfig, AwsKeysConfig, AwsProfileConfig, AwsWebIdentityConfig,
    BedrockApiKeyConfig,
};
pub use self::azure::{
    AzureCertificateConfig, AzureDefaultConfig, AzureManagedIdentityConfig, AzureSecretConfig,
    AzureWorkloadConfig,
};
pub use self::command::CommandConfig;
pub use self::federation::{
    AnthropicConfig, AnthropicFederationConfig, GitHubActionsConfig, KubernetesConfig,
    OpenAiFederationConfig, SubjectTokenType,
};
pub use self::google::{
    GoogleAmbientConfig, GoogleFileConfig, GoogleIdentityConfig, GoogleServiceAccountConfig,
};

/// How to obtain a credential. Secrets are given by reference only.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "source", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ProviderConfig {
    /// A bearer token that never changes.
    StaticToken {
        /// The token.
        token: SecretRef,
    },
    /// A key in a header of the vendor's own.
    ApiKey {
        /// The header. `x-api-key` by default.
        #[serde(default = "default_header")]
        header: String,
        /// The key.
        key: SecretRef,
    },
    /// A bearer token in an environment variable, which has to be set, except in a chain.
    Env {
        /// The variable.
        var: String,
    },
    /// A bearer token in a file that somebody else renews; see [`FileSource`].
    File {
        /// The file. It may appear later.
        path: PathBuf,
    },
    /// The credential that a program prints.
    Command(CommandConfig),
    /// The first of these that is configured; see [`Chain`].
    Chain {
        /// The sources, in order.
        sources: Vec<ProviderConfig>,
    },
    /// Whatever a workload on AWS finds.
    Aws(AwsConfig),
    /// AWS keys from elsewhere.
    AwsKeys(AwsKeysConfig),
    /// A role's temporary keys, against an identity token in a file.
    AwsWebIdentity(AwsWebIdentityConfig),
    /// The keys of this container.
    AwsContainer(AwsContainerConfig),
    /// The keys of this EC2 instance.
    AwsImds(AwsImdsConfig),
    /// A profile of AWS's configuration files.
    AwsProfile(AwsProfileConfig),
    /// An API key of Amazon Bedrock.
    BedrockApiKey(BedrockApiKeyConfig),
    /// Whatever a workload on Azure finds.
    AzureDefault(AzureDefaultConfig),
    /// Microsoft Entra ID with a client secret.
    Azure(AzureSecretConfig),
    /// Microsoft Entra ID with a federated token of another issuer.
    AzureWorkloadIdentity(AzureWorkloadConfig),
    /// Microsoft Entra ID with a client certificate.
    AzureCertificate(AzureCertificateConfig),
    /// The identity of the Azure machine on which this runs.
    AzureManagedIdentity(AzureManagedIdentityConfig),
    /// A Google service account's key.
    GoogleServiceAccount(GoogleServiceAccountConfig),
    /// A credentials file of any type that Google's tools write.
    GoogleCredentialsFile(GoogleFileConfig),
    /// Google's Application Default Credentials: a file, or else the metadata server.
    GoogleAdc(GoogleAmbientConfig),
    /// The metadata server of a machine of Google's.
    GoogleMetadata(GoogleAmbientConfig),
    /// An identity token of a machine of Google's, for a federation with others.
    GoogleIdentityToken(GoogleIdentityConfig),
    /// Whatever Anthropic's own clients find.
    Anthropic(AnthropicConfig),
    /// Workload identity federation with Anthropic.
    AnthropicFederation(AnthropicFederationConfig),
    /// Workload identity federation with OpenAI.
    OpenaiFederation(OpenAiFederationConfig),
    /// The identity token of a GitHub Actions job.
    GithubActions(GitHubActionsConfig),
    /// The service account token of a Kubernetes pod.
    Kubernetes(KubernetesConfig),
}

fn default_header() -> String {
    "x-api-key".to_owned()
}

/// What a vendor's part of the crate makes of its configuration, where that part is built in.
macro_rules! vendor {
    ($feature:literal, $config:ident, $source:expr) => {{
        #[cfg(feature = $feature)]
        let source = $source;
        #[cfg(not(feature = $feature))]
        let source: Result<Source, ConfigProblem> = {
            let _ = $config;
            let needs = concat!("this source needs a build with the feature `", $feature, "`");
            Err(ConfigProblem::new("source", needs))
        };
        source?
    }};
}

/// A source that has been checked; it fetches nothing before it is asked.
type Source = Box<dyn CredentialSource>;

impl ProviderConfig {
    /// The provider: a fixed one, or the source in a [`Cached`]. Nothing is fetched yet.
    ///
    /// Every source can be written down in every build; one whose feature is missing is a problem here.
    ///
    /// # Errors
    /// A [`ConfigProblem`] at the key that is wrong.
    pub fn build(
        &self,
        secrets: &dyn SecretSource,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn CredentialProvider>, ConfigProblem> {
        Ok(match self {
            Self::StaticToken { .. } | Self::ApiKey { .. } => Arc::new(self.fixed(secrets)?),
            Self::Env { var } => {
                let token = secret("var", &SecretRef::Env(var.clone()), secrets)?;
                Arc::new(StaticTokenProvider::new(token))
            }
            #[cfg(feature = "bedrock-auth")]
            Self::AwsKeys(config) => Arc::new(config.fixed(secrets)?),
            #[cfg(feature = "bedrock-auth")]
            Self::BedrockApiKey(config) => Arc::new(config.fixed(secrets)?),
            _ => Arc::new(Cached::with_policy(self.source(secrets, clock.clone())?, clock, self.policy())),
        })
    }

    /// When [`build`](Self::build)'s provider renews what it holds.
    pub fn policy(&self) -> RefreshPolicy {
        match self {
            #[cfg(feature = "openai-auth")]
            Self::OpenaiFederation(_) => crate::OpenAiSource::policy(),
            _ => RefreshPolicy::default(),
        }
    }

    /// The source alone, without a cache.
    ///
    /// # Errors
    /// A [`ConfigProblem`] at the key that is wrong.
    pub fn source(&self, secrets: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Source, ConfigProblem> {
        Ok(match self {
            Self::StaticToken { .. } | Self::ApiKey { .. } => Box::new(self.fixed(secrets)?),
            Self::Env { var } => match set(secrets, var) {
                Some(token) => Box::new(StaticTokenProvider::new(token.into())),
                None => Box::new(NotSet),
            },
            Self::File { path } => Box::new(FileSource::new(path, clock)),
            Self::Chain { sources } => Box::new(chain(sources, secrets, &clock)?),
            Self::Command(config) => vendor!("command", config, config.source(clock)),
            Self::Aws(config) => vendor!("bedrock-auth", config, config.source(secrets, clock)),
            Self::AwsKeys(config) => vendor!("bedrock-auth", config, config.source(secrets)),
            Self::AwsWebIdentity(config) => vendor!("bedrock-auth", config, config.source(clock)),
            Self::AwsContainer(config) => vendor!("bedrock-auth", config, config.source(secrets, clock)),
            Self::AwsImds(config) => vendor!("bedrock-auth", config, config.source(secrets, clock)),
            Self::AwsProfile(config) => vendor!("aws-chain", config, config.source()),
            Self::BedrockApiKey(config) => vendor!("bedrock-auth", config, config.source(secrets)),
            Self::AzureDefault(config) => vendor!("azure-auth", config, config.source(secrets, clock)),
            Self::Azure(config) => vendor!("azure-auth", config, config.source(secrets, clock)),
            Self::AzureWorkloadIdentity(config) => vendor!("azure-auth", config, config.source(clock)),
            Self::AzureCertificate(config) => vendor!("azure-auth", config, config.source(clock)),
            Self::AzureManagedIdentity(config) => {
                vendor!("azure-auth", config, config.source(secrets, clock))
            }
            Self::GoogleServiceAccount(config) => {
                vendor!("vertex-auth", config, config.source(secrets, clock))
            }
            Self::GoogleCredentialsFile(config) => {
                vendor!("vertex-auth", config, config.source(secrets, clock))
            }
            Self::GoogleAdc(config) => {
                vendor!("vertex-auth", config, config.default_credentials(secrets, clock))
            }
            Self::GoogleMetadata(config) => vendor!("vertex-auth", config, config.metadata(secrets, clock)),
            Self::GoogleIdentityToken(config) => {
                vendor!("vertex-auth", config, config.source(secrets, clock))
            }
            Self::Anthropic(config) => vendor!("anthropic-auth", config, config.source(secrets, clock)),
            Self::AnthropicFederation(config) => {
                vendor!("anthropic-auth", config, config.source(secrets, clock))
            }
            Self::OpenaiFederation(config) => vendor!("openai-auth", config, config.source(secrets, clock)),
            Self::GithubActions(config) => vendor!("http", config, config.source(secrets, clock)),
            Self::Kubernetes(config) => vendor!("http", config, config.source(secrets, clock)),
        })
    }

    fn fixed(&self, secrets: &dyn SecretSource) -> Result<StaticTokenProvider, ConfigProblem> {
        match self {
            Self::ApiKey { header, key } => {
                let header = HeaderName::try_from(header.as_str())
                    .map_err(|_| ConfigProblem::new("header", "this cannot be a header's name"))?;
                Ok(StaticTokenProvider::api_key(header, secret("key", key, secrets)?))
            }
            Self::StaticToken { token } => Ok(StaticTokenProvider::new(secret("token", token, secrets)?)),
            _ => Err(ConfigProblem::new("source", "this source is not a fixed one")),
        }
    }

    /// What the configuration calls the source.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StaticToken { .. } => "static-token",
            Self::ApiKey { .. } => "api-key",
            Self::Env { .. } => "env",
            Self::File { .. } => "file",
            Self::Chain { .. } => "chain",
            Self::Command(_) => "command",
            Self::Aws(_) => "aws",
            Self::AwsKeys(_) => "aws-keys",
            Self::AwsWebIdentity(_) => "aws-web-identity",
            Self::AwsContainer(_) => "aws-container",
            Self::AwsImds(_) => "aws-imds",
            Self::AwsProfile(_) => "aws-profile",
            Self::BedrockApiKey(_) => "bedrock-api-key",
            Self::AzureDefault(_) => "azure-default",
            Self::Azure(_) => "azure",
            Self::AzureWorkloadIdentity(_) => "azure-workload-identity",
            Self::AzureCertificate(_) => "azure-certificate",
            Self::AzureManagedIdentity(_) => "azure-managed-identity",
            Self::GoogleServiceAccount(_) => "google-service-account",
            Self::GoogleCredentialsFile(_) => "google-credentials-file",
            Self::GoogleAdc(_) => "google-adc",
            Self::GoogleMetadata(_) => "google-metadata",
            Self::GoogleIdentityToken(_) => "google-identity-token",
            Self::Anthropic(_) => "anthropic",
            Self::AnthropicFederation(_) => "anthropic-federation",
            Self::OpenaiFederation(_) => "openai-federation",
            Self::GithubActions(_) => "github-actions",
            Self::Kubernetes(_) => "kubernetes",
        }
    }
}

fn chain(
    sources: &[ProviderConfig],
    secrets: &dyn SecretSource,
    clock: &Arc<dyn Clock>,
) -> Result<Chain, ConfigProblem> {
    let mut chain: Option<Chain> = None;
    for (n, config) in sources.iter().enumerate() {
        let below = |problem: ConfigProblem| problem.below(&format!("sources.{n}"));
        let source = config.source(secrets, clock.clone()).map_err(below)?;
        chain = Some(match chain {
            Some(chain) => chain.then(config.name(), source),
            None => Chain::first(config.name(), source),
        });
    }
    chain.ok_or_else(|| ConfigProblem::new("sources", "a chain needs at least one source"))
}

fn secret(at: &str, from: &SecretRef, secrets: &dyn SecretSource) -> Result<SecretString, ConfigProblem> {
    from.resolve(secrets).map_err(|error| ConfigProblem::new(at, error))
}

/// What the environment does not set up stays a source, for a chain to pass over.
#[cfg(feature = "http")]
fn if_set<S: CredentialSource>(source: Result<S, CredentialError>) -> Result<Source, ConfigProblem> {
    match source {
        Ok(source) => Ok(Box::new(source)),
        Err(CredentialError::NotConfigured) => Ok(Box::new(NotSet)),
        Err(error) => Err(at("source")(error)),
    }
}

#[cfg(feature = "http")]
fn at(place: &'static str) -> impl FnOnce(CredentialError) -> ConfigProblem {
    move |error| ConfigProblem::new(place, Causes(&error))
}
