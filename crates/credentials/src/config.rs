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
                let secret = secret("client_secret", client_secret, secrets)?;
                azure(tenant_id, client_id, secret, scope.as_deref(), authority.as_deref(), clock)?
            }
        })
    }
}

fn secret(at: &str, from: &SecretRef, secrets: &dyn SecretSource) -> Result<SecretString, ConfigProblem> {
    from.resolve(secrets).map_err(|error| ConfigProblem::new(at, error))
}

#[cfg(feature = "azure-auth")]
fn azure(
    tenant: &str,
    client_id: &str,
    secret: SecretString,
    scope: Option<&str>,
    authority: Option<&str>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn CredentialProvider>, ConfigProblem> {
    use crate::azure::{AzureAdSource, Misconfigured};

    let mut source = AzureAdSource::new(tenant, client_id, secret, clock.clone());
    source.scope = scope.map_or(source.scope, str::to_owned);
    source.authority = authority.map_or(source.authority, str::to_owned);
    source.token_url().map_err(|why| {
        let at = if matches!(why, Misconfigured::Tenant) { "tenant_id" } else { "authority" };
        ConfigProblem::new(at, why)
    })?;
    Ok(Arc::new(Cached::new(source, clock)))
}

#[cfg(not(feature = "azure-auth"))]
fn azure(
    _: &str,
    _: &str,
    _: SecretString,
    _: Option<&str>,
    _: Option<&str>,
    _: Arc<dyn Clock>,
) -> Result<Arc<dyn CredentialProvider>, ConfigProblem> {
    Err(ConfigProblem::new("source", "`azure` needs a build with the feature `azure-auth`"))
}
