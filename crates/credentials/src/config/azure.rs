//! Microsoft Entra ID in a configuration.

use std::path::PathBuf;

use portunus_auth_core::SecretRef;
use serde::Deserialize;

/// Whatever a workload on Azure finds: what the variables of `AzureAdCredentialProvider` say, or else the identity
/// of the machine. Needs the feature `azure-auth`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AzureDefaultConfig {}

/// Microsoft Entra ID with a client secret. Needs the feature `azure-auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

/// Microsoft Entra ID with a client certificate. Needs the feature `azure-auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AzureCertificateConfig {
    /// The tenant: a domain or an id.
    pub tenant_id: String,
    /// The registered application.
    pub client_id: String,
    /// The PEM file with the certificate and its key, not encrypted; read at every exchange.
    pub certificate: PathBuf,
    /// The PEM file with the key, if it is another one.
    pub key: Option<PathBuf>,
    /// Whether the certificates are sent along.
    #[serde(default)]
    pub send_chain: bool,
    /// The resource. Azure's cognitive services by default.
    pub scope: Option<String>,
    /// The authority. The public cloud's by default.
    pub authority: Option<String>,
}

/// The identity of the Azure machine on which this runs. Needs the feature `azure-auth`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AzureManagedIdentityConfig {
    /// The identity, by its application's id, where the machine has several.
    pub client_id: Option<String>,
    /// The same by its service principal's object id.
    pub object_id: Option<String>,
    /// The same by its resource id.
    pub resource_id: Option<String>,
    /// Whether a chain goes on to its next source where there is no such machine, or it has no identity of its
    /// own.
    #[serde(default)]
    pub may_be_absent: bool,
    /// The resource. Azure's cognitive services by default.
    pub scope: Option<String>,
}

#[cfg(feature = "azure-auth")]
mod built {
    use std::sync::Arc;

    use portunus_auth_core::{Clock, ConfigProblem, SecretSource};

    use super::*;
    use crate::azure::{AzureManagedIdentitySource, ManagedIdentityId, Misconfigured, Proof, SCOPE};
    use crate::config::{Source, at, if_set, secret};
    use crate::env::set;
    use crate::{AzureAdSource, Chain, StaticTokenProvider};

    impl AzureDefaultConfig {
        #[expect(clippy::unused_self, reason = "every configuration is asked for its source")]
        pub(in crate::config) fn source(
            &self,
            secrets: &dyn SecretSource,
            clock: Arc<dyn Clock>,
        ) -> Result<Source, ConfigProblem> {
            if let Some(token) = set(secrets, "AZURE_AD_TOKEN") {
                return Ok(Box::new(StaticTokenProvider::new(token.into())));
            }
            let application = if_set(AzureAdSource::from_secrets(secrets, clock.clone()))?;
            let machine = AzureManagedIdentitySource::from_variables(secrets, clock);
            let machine = machine.map(AzureManagedIdentitySource::may_be_absent);
            let chain = Chain::first("Entra application", application);
            Ok(Box::new(chain.then("managed identity", if_set(machine)?)))
        }
    }

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

    impl AzureCertificateConfig {
        pub(in crate::config) fn source(&self, clock: Arc<dyn Clock>) -> Result<Source, ConfigProblem> {
            let (path, key) = (self.certificate.clone(), self.key.clone());
            let proof = Proof::CertificateFile { path, key, sends_chain: self.send_chain };
            source([&self.tenant_id, &self.client_id], proof, [&self.scope, &self.authority], clock)
        }
    }

    impl AzureManagedIdentityConfig {
        pub(in crate::config) fn source(
            &self,
            secrets: &dyn SecretSource,
            clock: Arc<dyn Clock>,
        ) -> Result<Source, ConfigProblem> {
            let scope = self.scope.as_deref().unwrap_or(SCOPE);
            let source = AzureManagedIdentitySource::from_secrets(scope, secrets, clock);
            let mut source = source.map_err(at("source"))?;
            if self.may_be_absent {
                source = source.may_be_absent();
            }
            let id = match (&self.client_id, &self.object_id, &self.resource_id) {
                (None, None, None) => return Ok(Box::new(source)),
                (Some(id), None, None) => ManagedIdentityId::ClientId(id.clone()),
                (None, Some(id), None) => ManagedIdentityId::ObjectId(id.clone()),
                (None, None, Some(id)) => ManagedIdentityId::ResourceId(id.clone()),
                _ => return Err(ConfigProblem::new("client_id", "name the identity by one of its ids")),
            };
            Ok(Box::new(source.with_identity(id)))
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
