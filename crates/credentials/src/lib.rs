#![doc = include_str!("../README.md")]

#[macro_use]
mod face;

#[cfg(feature = "anthropic-auth")]
mod anthropic;
mod apply;
#[cfg(feature = "bedrock-auth")]
mod aws;
#[cfg(feature = "azure-auth")]
mod azure;
mod cached;
mod chain;
#[cfg(feature = "command")]
mod command;
mod config;
mod env;
mod file;
mod fixed;
#[cfg(feature = "vertex-auth")]
mod google;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
mod identity;
#[cfg(any(feature = "azure-auth", feature = "vertex-auth"))]
mod jwt;
#[cfg(any(
    feature = "anthropic-auth",
    feature = "azure-auth",
    feature = "bedrock-auth",
    feature = "openai-auth"
))]
mod kept;
#[cfg(feature = "openai-auth")]
mod openai;
mod sync;
#[cfg(feature = "http")]
mod token;

#[cfg(feature = "anthropic-auth")]
pub use anthropic::{AnthropicCredentialProvider, AnthropicRefusal, AnthropicSource};
pub use apply::{ApplyError, apply};
#[cfg(feature = "bedrock-auth")]
pub use aws::{
    AwsCredentialProvider, AwsKeysSource, BedrockApiKeySource, BedrockMintedKeySource, ContainerSource,
    InstanceMetadataSource, MetadataError, PayloadHash, SignError, Signer, StsError,
    WebIdentityCredentialProvider, WebIdentitySource,
};
#[cfg(feature = "aws-chain")]
pub use aws::{AwsProfileSource, ProfileError};
#[cfg(feature = "azure-auth")]
pub use azure::{
    AzureAdCredentialProvider, AzureAdSource, AzureManagedIdentityProvider, AzureManagedIdentitySource,
    ClientCertificate, ManagedIdentityId,
};
pub use cached::{Cached, RefreshPolicy};
pub use chain::{Chain, NoneConfigured};
#[cfg(feature = "command")]
pub use command::{CommandError, CommandSource};
pub use config::{
    AnthropicConfig, AnthropicFederationConfig, AwsConfig, AwsContainerConfig, AwsImdsConfig, AwsKeysConfig,
    AwsProfileConfig, AwsWebIdentityConfig, AzureCertificateConfig, AzureDefaultConfig,
    AzureManagedIdentityConfig, AzureSecretConfig, AzureWorkloadConfig, BedrockApiKeyConfig, CommandConfig,
    GitHubActionsConfig, GoogleAmbientConfig, GoogleFileConfig, GoogleIdentityConfig,
    GoogleServiceAccountConfig, KubernetesConfig, OpenAiFederationConfig, ProviderConfig, SubjectTokenType,
};
pub use env::{EnvSource, ProcessEnv};
pub use file::FileSource;
pub use fixed::StaticTokenProvider;
#[cfg(feature = "vertex-auth")]
pub use google::{GoogleIdentityTokenSource, GoogleSource, VertexOAuthCredentialProvider};
#[cfg(feature = "http")]
pub use identity::{GitHubActionsSource, IdentityTokenFile};
#[cfg(feature = "openai-auth")]
pub use openai::{OpenAiCredentialProvider, OpenAiRefusal, OpenAiSource};
#[cfg(feature = "http")]
pub use token::{IssuerError, Token};

pub use portunus_auth_core::secret::SecretString;
pub use portunus_auth_core::{
    CompanionHeader, Credential, CredentialError, CredentialProvider, CredentialSource, Issued,
};
