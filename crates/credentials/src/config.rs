//! `credential = { source = "…", … }`: which provider a configuration asks for.

use std::path::PathBuf;
use std::sync::Arc;

use ::http::HeaderName;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Clock, ConfigProblem, CredentialProvider, SecretRef, SecretSource};
use serde::Deserialize;

use crate::{Cached, FileSource, StaticTokenProvider};

/// How to obtain a credential. Secrets are given by reference only.
#[derive(Clone, Debug, Deserialize)]
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
    /// A bearer token in an environment variable, which has to be set.
    Env {
        /// The variable.
        var: String,
    },
    /// A bearer token in a file that somebody else renews; see [`FileSource`].
    File {
        /// The file. It may appear later.
        path: PathBuf,
    },
    /// Microsoft Entra ID with a client secret. Needs the feature `azure-auth`.
    Azure {
        /// The tenant: a domain or an id.
        tenant_id: String,
        /// The registered application.
        client_id: String,
        /// Its secret.
        client_secret: SecretRef,
        /// The resource. Azure's cognitive services by default.
        scope: Option<String>,
        /// The authority. The public cloud's by default.
        authority: Option<String>,
    },
    /// Microsoft Entra ID with a federated token of another issuer. Needs the feature `azure-auth`.
    AzureWorkloadIdentity {
        /// The tenant: a domain or an id.
        tenant_id: String,
        /// The registered application.
        client_id: String,
        /// The token's file, read at every exchange.
        token_file: PathBuf,
        /// The resource. Azure's cognitive services by default.
        scope: Option<String>,
        /// The authority. The public cloud's by default.
        authority: Option<String>,
    },
}

fn default_header() -> String {
    "x-api-key".to_owned()
}

impl ProviderConfig {
    /// The provider. Nothing is fetched yet.
    ///
    /// # Errors
    /// A [`ConfigProblem`] at the key that is wrong.
    pub fn build(
        &self,
        secrets: &dyn SecretSource,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn CredentialProvider>, ConfigProblem> {
        Ok(match self {
            Self::StaticToken { token } => {
                Arc::new(StaticTokenProvider::new(secret("token", token, secrets)?))
            }
            Self::ApiKey { header, key } => {
                let header = HeaderName::try_from(header.as_str())
                    .map_err(|_| ConfigProblem::new("header", "this cannot be a header's name"))?;
                Arc::new(StaticTokenProvider::api_key(header, secret("key", key, secrets)?))
            }
            Self::Env { var } => {
                let token = secret("var", &SecretRef::Env(var.clone()), secrets)?;
                Arc::new(StaticTokenProvider::new(token))
            }
            Self::File { path } => Arc::new(Cached::new(FileSource::new(path, clock.clone()), clock)),
            Self::Azure { tenant_id, client_id, client_secret, scope, authority } => {
                let proof = azure::Proof::Secret(secret("client_secret", client_secret, secrets)?);
                azure::build([tenant_id, client_id], proof, [scope, authority], clock)?
            }
            Self::AzureWorkloadIdentity { tenant_id, client_id, token_file, scope, authority } => {
                let proof = azure::Proof::TokenFile(token_file.clone());
                azure::build([tenant_id, client_id], proof, [scope, authority], clock)?
            }
        })
    }
}

fn secret(at: &str, from: &SecretRef, secrets: &dyn SecretSource) -> Result<SecretString, ConfigProblem> {
    from.resolve(secrets).map_err(|error| ConfigProblem::new(at, error))
}

#[cfg(feature = "azure-auth")]
mod azure {
    use super::*;
    use crate::azure::{AzureAdSource, Misconfigured};

    pub(super) use crate::azure::Proof;

    pub(super) fn build(
        [tenant, client_id]: [&String; 2],
        proof: Proof,
        [scope, authority]: [&Option<String>; 2],
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn CredentialProvider>, ConfigProblem> {
        let mut source = AzureAdSource::proving(tenant.clone(), client_id.clone(), proof, clock.clone());
        source.scope = scope.clone().unwrap_or(source.scope);
        source.authority = authority.clone().unwrap_or(source.authority);
        source.token_url().map_err(|why| {
            let at = if matches!(why, Misconfigured::Tenant) { "tenant_id" } else { "authority" };
            ConfigProblem::new(at, why)
        })?;
        Ok(Arc::new(Cached::new(source, clock)))
    }
}

#[cfg(not(feature = "azure-auth"))]
mod azure {
    use super::*;

    #[expect(dead_code, reason = "what a build without the feature cannot use")]
    pub(super) enum Proof {
        Secret(SecretString),
        TokenFile(PathBuf),
    }

    pub(super) fn build(
        _: [&String; 2],
        _: Proof,
        _: [&Option<String>; 2],
        _: Arc<dyn Clock>,
    ) -> Result<Arc<dyn CredentialProvider>, ConfigProblem> {
        Err(ConfigProblem::new("source", "`azure` needs a build with the feature `azure-auth`"))
    }
}
