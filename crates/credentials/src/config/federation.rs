//! Workload identities in a configuration: where one comes from, and what it is exchanged for.

use std::path::PathBuf;

use serde::Deserialize;

use super::ProviderConfig;

/// Whatever Anthropic's own clients find in the environment: `AnthropicCredentialProvider`. Needs the
/// feature `anthropic-auth`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AnthropicConfig {}

/// Workload identity federation with Anthropic. Needs the feature `anthropic-auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AnthropicFederationConfig {
    /// The federation rule, `fdrl_…`.
    pub federation_rule_id: String,
    /// The organisation, a UUID.
    pub organization_id: String,
    /// The service account that the token acts as, `svac_…`.
    pub service_account_id: Option<String>,
    /// The workspace, `wrkspc_…` or `default`, where the rule has several.
    pub workspace_id: Option<String>,
    /// The API's address. Anthropic's own by default.
    pub base_url: Option<String>,
    /// Where the identity token comes from; a source of bearer tokens.
    pub identity: Box<ProviderConfig>,
}

/// Workload identity federation with OpenAI. Needs the feature `openai-auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenAiFederationConfig {
    /// The workload identity provider.
    pub identity_provider_id: String,
    /// The service account that the token acts as.
    pub service_account_id: String,
    /// What kind of token the identity yields.
    #[serde(default)]
    pub subject_token_type: SubjectTokenType,
    /// The token endpoint. OpenAI's own by default.
    pub token_url: Option<String>,
    /// Where the identity token comes from; a source of bearer tokens.
    pub identity: Box<ProviderConfig>,
}

/// What kind of identity token is exchanged (RFC 8693 section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SubjectTokenType {
    /// Any JWT, such as that of a Kubernetes service account, a managed identity or a CI job.
    #[default]
    Jwt,
    /// An ID token (OpenID Connect Core section 2), such as that of a Google service account.
    IdToken,
}

/// The identity token of a GitHub Actions job. Needs the feature `http`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GitHubActionsConfig {
    /// Whom the token is for, such as `https://api.anthropic.com`.
    pub audience: String,
}

/// The service account token of a Kubernetes pod. Needs the feature `http`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KubernetesConfig {
    /// Where it is projected to. `/var/run/secrets/kubernetes.io/serviceaccount/token` by default.
    pub path: Option<PathBuf>,
}

#[cfg(feature = "http")]
mod built {
    use std::sync::Arc;

    use portunus_auth_core::{Clock, ConfigProblem, SecretSource};

    use super::{GitHubActionsConfig, KubernetesConfig};
    use crate::config::{Source, if_set};
    use crate::{GitHubActionsSource, IdentityTokenFile};

    type Built = Result<Source, ConfigProblem>;

    impl GitHubActionsConfig {
        pub(in crate::config) fn source(&self, secrets: &dyn SecretSource, clock: Arc<dyn Clock>) -> Built {
            if self.audience.trim().is_empty() {
                return Err(ConfigProblem::new("audience", "say whom the identity token is for"));
            }
            if_set(GitHubActionsSource::from_secrets(secrets, &self.audience, clock))
        }
    }

    impl KubernetesConfig {
        pub(in crate::config) fn source(&self, secrets: &dyn SecretSource, clock: Arc<dyn Clock>) -> Built {
            match &self.path {
                Some(path) => Ok(Box::new(IdentityTokenFile::projected(path, clock))),
                None => if_set(IdentityTokenFile::in_kubernetes(secrets, clock)),
            }
        }
    }
}

#[cfg(any(feature = "anthropic-auth", feature = "openai-auth"))]
mod exchanged {
    use std::sync::Arc;

    use portunus_auth_core::{Clock, ConfigProblem, SecretSource};

    use crate::IdentityTokenFile;
    use crate::config::{ProviderConfig, Source, at};

    type Built = Result<Source, ConfigProblem>;

    #[cfg(feature = "anthropic-auth")]
    impl super::AnthropicConfig {
        #[expect(clippy::unused_self, reason = "every configuration is asked for its source")]
        pub(in crate::config) fn source(&self, secrets: &dyn SecretSource, clock: Arc<dyn Clock>) -> Built {
            crate::config::if_set(crate::anthropic::found(secrets, &clock))
        }
    }

    #[cfg(feature = "anthropic-auth")]
    impl super::AnthropicFederationConfig {
        pub(in crate::config) fn source(&self, secrets: &dyn SecretSource, clock: Arc<dyn Clock>) -> Built {
            let rule = given("federation_rule_id", &self.federation_rule_id)?;
            let organization = given("organization_id", &self.organization_id)?;
            let identity = identity(&self.identity, secrets, clock.clone())?;
            let source = crate::AnthropicSource::new(rule, organization, identity, clock).completed(
                self.service_account_id.clone(),
                self.workspace_id.clone(),
                self.base_url.clone(),
            );
            Ok(Box::new(source.map_err(at("base_url"))?))
        }
    }

    #[cfg(feature = "openai-auth")]
    impl super::OpenAiFederationConfig {
        pub(in crate::config) fn source(&self, secrets: &dyn SecretSource, clock: Arc<dyn Clock>) -> Built {
            let provider = given("identity_provider_id", &self.identity_provider_id)?;
            let account = given("service_account_id", &self.service_account_id)?;
            let identity = identity(&self.identity, secrets, clock.clone())?;
            let source = crate::OpenAiSource::new(provider, account, identity, clock)
                .with_subject_token_type(self.subject_token_type);
            Ok(Box::new(match &self.token_url {
                Some(url) => source.at(url.clone()).map_err(at("token_url"))?,
                None => source,
            }))
        }
    }

    fn given<'a>(place: &str, text: &'a str) -> Result<&'a str, ConfigProblem> {
        let text = text.trim();
        if text.is_empty() { Err(ConfigProblem::new(place, "this must not be empty")) } else { Ok(text) }
    }

    /// The source of the identity. A file that is named here has to be there when it is needed.
    fn identity(config: &ProviderConfig, secrets: &dyn SecretSource, clock: Arc<dyn Clock>) -> Built {
        let source = config.yields_bearer_tokens().and_then(|()| match config {
            ProviderConfig::File { path } => Ok(Box::new(IdentityTokenFile::new(path, clock)) as Source),
            other => other.source(secrets, clock),
        });
        source.map_err(|problem| problem.below("identity"))
    }

    impl ProviderConfig {
        /// Nothing but a bearer token can be an identity token.
        fn yields_bearer_tokens(&self) -> Result<(), ConfigProblem> {
            match self {
                Self::ApiKey { .. }
                | Self::Aws(_)
                | Self::AwsKeys(_)
                | Self::AwsWebIdentity(_)
                | Self::AwsContainer(_)
                | Self::AwsImds(_)
                | Self::BedrockApiKey(_)
                | Self::Anthropic(_)
                | Self::AnthropicFederation(_) => {
                    let says = format!("`{}` does not yield identity tokens", self.name());
                    Err(ConfigProblem::new("source", says))
                }
                Self::Chain { sources } => sources.iter().enumerate().try_for_each(|(n, source)| {
                    source.yields_bearer_tokens().map_err(|problem| problem.below(&format!("sources.{n}")))
                }),
                _ => Ok(()),
            }
        }
    }
}
