//! `[[providers]]` and `[[models]]`: what may be called, where, and with which credential.

use portunus_auth_core::{Dialect, Pattern, SecretRef};
use serde::Deserialize;
use url::Url;

/// Which API a provider speaks, and how its URLs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderType {
    /// OpenAI's API. The base URL ends in `/v1`.
    #[serde(rename = "openai")]
    OpenAi,
    /// Azure OpenAI's v1 API. The base URL ends in `/openai/v1`.
    Azure,
    /// Anthropic's API. The base URL ends before `/v1`.
    Anthropic,
}

impl ProviderType {
    /// The kind behind a built-in provider's name.
    pub fn built_in(name: &str) -> Option<Self> {
        match name {
            "openai" => Some(Self::OpenAi),
            "azure" => Some(Self::Azure),
            "anthropic" => Some(Self::Anthropic),
            _ => None,
        }
    }

    /// The dialect that its callers speak.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::OpenAi | Self::Azure => Dialect::OpenAi,
            Self::Anthropic => Dialect::Anthropic,
        }
    }

    /// The part of a route's path that the base URL already has.
    pub fn base_has(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Azure => "/v1",
            Self::Anthropic => "",
        }
    }
}

/// `[[providers]]`: one upstream account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// The name that models use.
    pub name: String,
    /// The API it speaks.
    pub provider_type: ProviderType,
    /// Where it is. Callers never choose it.
    pub base_url: Option<Url>,
    /// An API key, by reference; or
    pub api_key: Option<SecretRef>,
    /// another way to obtain the credential.
    pub credential: Option<portunus_credentials::ProviderConfig>,
    /// Headers of callers that reach it beside the usual ones.
    #[serde(default)]
    pub forward_headers: Vec<String>,
    /// `false` leaves it and its models out.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// `[[models]]`: a name that callers use, and what it stands for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The name, or a pattern of names.
    pub name: Pattern,
    /// `PROVIDER/MODEL`: a `[[providers]]` name or a built-in kind, and the provider's own name for the
    /// model. `*` as the model passes the caller's name on.
    pub provider_model: String,
    /// An API key for a built-in kind, by reference.
    pub api_key: Option<SecretRef>,
}

fn yes() -> bool {
    true
}
