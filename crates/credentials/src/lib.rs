#![doc = include_str!("../README.md")]

mod apply;
#[cfg(feature = "azure-auth")]
mod azure;
mod cached;
mod chain;
mod config;
mod env;
mod file;
mod fixed;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "azure-auth", feature = "vertex-auth"))]
mod jwt;
#[cfg(feature = "bedrock-auth")]
mod sign;
mod sync;
#[cfg(feature = "http")]
mod token;
#[cfg(feature = "bedrock-auth")]
mod web_identity;

pub use apply::{ApplyError, apply};
#[cfg(feature = "azure-auth")]
pub use azure::{AzureAdCredentialProvider, AzureAdSource};
pub use cached::{Cached, RefreshPolicy};
pub use chain::{Chain, NoneConfigured};
pub use config::{AzureSecretConfig, AzureWorkloadConfig, ProviderConfig};
pub use env::{EnvSource, ProcessEnv};
pub use file::FileSource;
pub use fixed::StaticTokenProvider;
#[cfg(feature = "bedrock-auth")]
pub use sign::{PayloadHash, SignError, Signer};
#[cfg(feature = "http")]
pub use token::{IssuerError, Token};
#[cfg(feature = "bedrock-auth")]
pub use web_identity::{StsError, WebIdentityCredentialProvider, WebIdentitySource};

pub use portunus_auth_core::secret::SecretString;
pub use portunus_auth_core::{
    CompanionHeader, Credential, CredentialError, CredentialProvider, CredentialSource, Issued,
};
