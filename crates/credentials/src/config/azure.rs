//! Microsoft Entra ID in a configuration.

use std::path::PathBuf;

use portunus_auth_core::SecretRef;
use serde::Deserialize;

/// Microsoft Entra ID with a client secret. Needs the feature `azure-auth`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzureSecretConfig {
    /// The tenant: a domain or an id.
    pub tenant_id: String,
    /// The registered application.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretRef,
    /// The resource. Azure's cognitive services by default.
    pub scope: Option<String>,
    /// The authority. The public cloud's by default.
    pub authority: Option<String>,
}

/// Microsoft Entra ID with a federated token of another issuer. Needs the feature `azure-auth`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzureWorkloadConfig {
    /// The tenant: a domain or an id.
    pub tenant_id: String,
    /// The registered application.
    pub client_id: String,
    /// The token's file, read at every exchange.
    pub token_file: PathBuf,
    /// The resource. Azure's cognitive services by default.
    pub scope: Option<String>,
    /// The authority. The public cloud's by default.
    pub authority: Option<String>,
}

#[cfg(feature = "azure-auth")]
mod built {
    use std::sync::Arc;

    use portunus_auth_core::{Clock, ConfigProblem, SecretSource};

    use super::{AzureSecretConfig, AzureWorkloadConfig};
    use crate::azure::{AzureAdSource, Misconfigured, Proof};
    use crate::config::{Source, secret};

    impl AzureSecretConfig {
        pub(in crate::config) fn source(
            &self,
            secrets: &dyn SecretSource,
            clock: Arc<dyn Clock>,
        ) -> Result<Source, ConfigProblem> {
            let proof = Proof::Secret(secret("client_secret", &self.client_secret, secrets)?);
            source([&self.tenant_id, &self.client_id], proof, [&self.scope, &self.authority], clock)
        }
    }

    impl AzureWorkloadConfig {
        pub(in crate::config) fn source(&self, clock: Arc<dyn Clock>) -> Result<Source, ConfigProblem> {
            let proof = Proof::TokenFile(self.token_file.clone());
            source([&self.tenant_id, &self.client_id], proof, [&self.scope, &self.authority], clock)
        }
    }

    fn source(
        [tenant, client_id]: [&String; 2],
        proof: Proof,
        [scope, authority]: [&Option<String>; 2],
        clock: Arc<dyn Clock>,
    ) -> Result<Source, ConfigProblem> {
        let mut source = AzureAdSource::proving(tenant.clone(), client_id.clone(), proof, clock);
        source.scope = scope.clone().unwrap_or(source.scope);
        source.authority = authority.clone().unwrap_or(source.authority);
        source.token_url().map_err(|why| {
            let at = if matches!(why, Misconfigured::Tenant) { "tenant_id" } else { "authority" };
            ConfigProblem::new(at, why)
        })?;
        Ok(Box::new(source))
    }
}
