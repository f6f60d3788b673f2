//! Google Cloud in a configuration.

use std::path::PathBuf;

use portunus_auth_core::SecretRef;
use serde::Deserialize;

/// A service account's key. Needs the feature `vertex-auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GoogleServiceAccountConfig {
    /// The key file, read once; this or `key`.
    pub key_file: Option<PathBuf>,
    /// A reference to the key file's content.
    pub key: Option<SecretRef>,
    /// The scopes, separated by spaces. `https://www.googleapis.com/auth/cloud-platform` by default.
    pub scope: Option<String>,
    /// Signs the tokens with the key instead of asking Google for them. Not, by default.
    #[serde(default)]
    pub self_signed: bool,
    /// The project that pays and whose quota counts. The file's own by default.
    pub quota_project: Option<String>,
}

/// A credentials file of any type that Google's tools write. Needs the feature `vertex-auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GoogleFileConfig {
    /// The file, read once.
    pub path: PathBuf,
    /// The scopes, separated by spaces. `https://www.googleapis.com/auth/cloud-platform` by default.
    pub scope: Option<String>,
    /// The project that pays and whose quota counts. The file's own by default.
    pub quota_project: Option<String>,
}

/// Application Default Credentials, or the metadata server alone. Needs the feature `vertex-auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GoogleAmbientConfig {
    /// The scopes, separated by spaces. `https://www.googleapis.com/auth/cloud-platform` by default.
    pub scope: Option<String>,
    /// The project that pays and whose quota counts.
    pub quota_project: Option<String>,
}

/// An identity token of the machine's service account, from the metadata server, for a federation with
/// others. Needs the feature `vertex-auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GoogleIdentityConfig {
    /// For whom the token is, such as `https://api.anthropic.com`.
    pub audience: String,
}

#[cfg(feature = "vertex-auth")]
mod built {
    use std::sync::Arc;

    use portunus_auth_core::{Clock, ConfigProblem, SecretSource};

    use super::{GoogleAmbientConfig, GoogleFileConfig, GoogleIdentityConfig, GoogleServiceAccountConfig};
    use crate::config::{Source, at, secret};
    use crate::google::{GoogleIdentityTokenSource, GoogleSource};

    impl GoogleServiceAccountConfig {
        pub(in crate::config) fn source(
            &self,
            secrets: &dyn SecretSource,
            clock: Arc<dyn Clock>,
        ) -> Result<Source, ConfigProblem> {
            let (key, read) = match (&self.key_file, &self.key) {
                (Some(path), None) => ("key_file", GoogleSource::from_file(path, secrets, clock)),
                (None, Some(key)) => {
                    let json = secret("key", key, secrets)?;
                    ("key", GoogleSource::from_secret(&json, secrets, clock))
                }
                _ => return Err(ConfigProblem::new("key_file", "give either `key_file` or `key`")),
            };
            let source = read.and_then(GoogleSource::service_account).map_err(at(key))?;
            let source =
                if self.self_signed { source.with_self_signed_jwt(None).map_err(at(key))? } else { source };
            finished(source, self.scope.as_ref(), self.quota_project.as_ref())
        }
    }

    impl GoogleFileConfig {
        pub(in crate::config) fn source(
            &self,
            secrets: &dyn SecretSource,
            clock: Arc<dyn Clock>,
        ) -> Result<Source, ConfigProblem> {
            let source = GoogleSource::from_file(&self.path, secrets, clock).map_err(at("path"))?;
            finished(source, self.scope.as_ref(), self.quota_project.as_ref())
        }
    }

    impl GoogleIdentityConfig {
        pub(in crate::config) fn source(
            &self,
            secrets: &dyn SecretSource,
            clock: Arc<dyn Clock>,
        ) -> Result<Source, ConfigProblem> {
            if self.audience.trim().is_empty() {
                return Err(ConfigProblem::new("audience", "say for whom the token is"));
            }
            let source = GoogleIdentityTokenSource::new(&self.audience, secrets, clock);
            Ok(Box::new(source.map_err(at("source"))?))
        }
    }

    impl GoogleAmbientConfig {
        pub(in crate::config) fn default_credentials(
            &self,
            secrets: &dyn SecretSource,
            clock: Arc<dyn Clock>,
        ) -> Result<Source, ConfigProblem> {
            let source = GoogleSource::from_secrets(secrets, clock).map_err(at("source"))?;
            finished(source, self.scope.as_ref(), self.quota_project.as_ref())
        }

        pub(in crate::config) fn metadata(
            &self,
            secrets: &dyn SecretSource,
            clock: Arc<dyn Clock>,
        ) -> Result<Source, ConfigProblem> {
            let source = GoogleSource::from_metadata(secrets, clock).map_err(at("source"))?;
            finished(source, self.scope.as_ref(), self.quota_project.as_ref())
        }
    }

    fn finished(
        source: GoogleSource,
        scope: Option<&String>,
        quota_project: Option<&String>,
    ) -> Result<Source, ConfigProblem> {
        let source = match scope {
            Some(scope) => source.with_scope(scope),
            None => source,
        };
        let source = match quota_project {
            Some(project) => source.with_quota_project(project).map_err(at("quota_project"))?,
            None => source,
        };
        Ok(Box::new(source))
    }
}
