//! Where a program runs, by the variables that Azure sets there, and what is asked there.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{CredentialError, SecretSource};
use url::Url;

use super::ManagedIdentityId;
use crate::env::set;
use crate::http::{HttpError, allowed_metadata};

const VM: &str = "http://169.254.169.254";
const PATH: &str = "/metadata/identity/oauth2/token";
const ARC: &str = "http://localhost:40342/metadata/identity/oauth2/token";

/// What gives tokens to the programs of a machine.
#[derive(Clone, Debug)]
pub(super) enum Host {
    Vm(Url),
    AppService { endpoint: Url, header: SecretString },
    Arc { endpoint: Url, keys: PathBuf },
}

#[derive(Debug, thiserror::Error)]
enum Misconfigured {
    #[error("`{0}` is not the address of a service on this machine or its host")]
    Address(&'static str, #[source] Option<HttpError>),
    #[error("managed identity on {0} is not supported; use a workload identity or a client secret")]
    NotSupported(&'static str),
}

impl From<Misconfigured> for CredentialError {
    fn from(why: Misconfigured) -> Self {
        Self::Invalid(why.into())
    }
}

pub(super) fn detect(env: &dyn SecretSource) -> Result<Host, CredentialError> {
    let name = "IDENTITY_ENDPOINT";
    let is_set = |name| set(env, name).is_some();
    match (set(env, name), set(env, "IDENTITY_HEADER")) {
        (Some(_), Some(_)) if is_set("IDENTITY_SERVER_THUMBPRINT") => {
            return Err(Misconfigured::NotSupported("Service Fabric").into());
        }
        (Some(endpoint), Some(header)) => {
            return Ok(Host::AppService { endpoint: near(name, &endpoint)?, header: header.into() });
        }
        (Some(endpoint), None) if is_set("IMDS_ENDPOINT") => {
            return Ok(Host::Arc { endpoint: near(name, &endpoint)?, keys: arc_keys(env) });
        }
        _ => {}
    }
    if is_set("MSI_ENDPOINT") {
        let host = if is_set("MSI_SECRET") { "Azure Machine Learning" } else { "Cloud Shell" };
        return Err(Misconfigured::NotSupported(host).into());
    }
    if exists(env, &arc_agent(env)) {
        return Ok(Host::Arc { endpoint: near(name, ARC)?, keys: arc_keys(env) });
    }
    let name = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
    let base = set(env, name).unwrap_or_else(|| VM.to_owned());
    Ok(Host::Vm(near(name, &format!("{}{PATH}", base.trim_end_matches('/')))?))
}

fn near(variable: &'static str, url: &str) -> Result<Url, Misconfigured> {
    let url = Url::parse(url).map_err(|_| Misconfigured::Address(variable, None))?;
    allowed_metadata(&url).map_err(|why| Misconfigured::Address(variable, Some(why)))?;
    Ok(url)
}

/// On Linux, or below `%ProgramData%` on Windows; Arc manages no other systems.
fn arc_keys(env: &dyn SecretSource) -> PathBuf {
    match set(env, "ProgramData").filter(|_| cfg!(windows)) {
        Some(data) => Path::new(&data).join("AzureConnectedMachineAgent").join("Tokens"),
        None => PathBuf::from("/var/opt/azcmagent/tokens"),
    }
}

fn arc_agent(env: &dyn SecretSource) -> PathBuf {
    match set(env, "ProgramFiles").filter(|_| cfg!(windows)) {
        Some(programs) => Path::new(&programs).join("AzureConnectedMachineAgent").join("himds.exe"),
        None => PathBuf::from("/opt/azcmagent/bin/himds"),
    }
}

/// Whatever else keeps a program from being read as text, it is there.
fn exists(env: &dyn SecretSource, path: &Path) -> bool {
    let absent = [ErrorKind::NotFound, ErrorKind::NotADirectory];
    env.file(path).map_or_else(|error| !absent.contains(&error.kind()), |_| true)
}

impl Host {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Vm(_) => "virtual machine",
            Self::AppService { .. } => "App Service",
            Self::Arc { .. } => "Arc",
        }
    }

    /// Where a token for that scope and identity is asked for.
    pub(super) fn url(&self, scope: &str, id: Option<&ManagedIdentityId>) -> Url {
        let (mut url, version) = match self {
            Self::Vm(endpoint) | Self::AppService { endpoint, .. } => (endpoint.clone(), "2019-08-01"),
            Self::Arc { endpoint, .. } => (endpoint.clone(), "2021-02-01"),
        };
        let resource = scope.strip_suffix("/.default").unwrap_or(scope);
        url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", resource);
        if let Some(id) = id {
            let (name, value) = match (self, id) {
                (_, ManagedIdentityId::ClientId(id)) => ("client_id", id),
                (Self::AppService { .. }, ManagedIdentityId::ObjectId(id)) => ("principal_id", id),
                (Self::AppService { .. }, ManagedIdentityId::ResourceId(id)) => ("mi_res_id", id),
                (_, ManagedIdentityId::ObjectId(id)) => ("object_id", id),
                (_, ManagedIdentityId::ResourceId(id)) => ("msi_res_id", id),
            };
            url.query_pairs_mut().append_pair(name, value);
        }
        url
    }
}
