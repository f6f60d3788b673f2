//! Managed identity: the token of the Azure machine on which this runs, without any secret.
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::http::HeaderName;
use ::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use async_trait::async_trait;
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use portunus_auth_core::{
    BoxError, Clock, Credential, CredentialError, CredentialSource, Issued, SecretSource, SystemClock,
};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::env::set;
use crate::file::read_token;
use crate::http::{Answer, Http, Request, allowed_metadata, nobody_there};
use crate::{Cached, IssuerError, ProcessEnv};

const VM: &str = "http://169.254.169.254/";
const ARC: &str = "http://localhost:40342/metadata/identity/oauth2/token";
/// Its agent is there: the machine is managed by Azure Arc.
const ARC_AGENT: &str = "/opt/azcmagent/bin/himds";
const ARC_KEYS: &str = "/var/opt/azcmagent/tokens";
/// A key of Arc's agent is not larger.
const LARGEST_ARC_KEY: usize = 4096;

const METADATA: HeaderName = HeaderName::from_static("metadata");
const IDENTITY: HeaderName = HeaderName::from_static("x-identity-header");

/// Beside what passes anyway: the service is being set up, or updated.
const PASSING: &[u16] = &[404, 410];

/// Which of a machine's identities is meant, where it has several.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManagedIdentityId {
    /// By its application's id.
    ClientId(String),
    /// By its service principal's object id.
    ObjectId(String),
    /// By its resource id, `/subscriptions/…`.
    ResourceId(String),
}

/// Asks the machine for a token: a virtual machine or a Kubernetes node, App Service, Functions, Container
/// Apps, or a server managed by Azure Arc.
#[derive(Clone, Debug)]
pub struct AzureManagedIdentitySource {
    host: Host,
    scope: String,
    id: Option<ManagedIdentityId>,
    may_be_absent: bool,
    http: Http,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Debug)]
enum Host {
    Vm(Url),
    AppService { endpoint: Url, header: SecretString },
    Arc { endpoint: Url, keys: PathBuf },
}

#[derive(Debug, thiserror::Error)]
enum Misconfigured {
    #[error("`{0}` is not the address of a service on this machine or its host")]
    Address(&'static str),
    #[error("managed identity on {0} is not supported; use a workload identity or a client secret")]
    NotSupported(&'static str),
    #[error("on Azure Arc a machine has one identity; it cannot be chosen")]
    ArcIdentity,
    #[error("the agent of Azure Arc named no key file, or one that is not its own")]
    ArcKey,
    #[error("the machine's answer is not a token and the second at which it ends")]
    NotAToken,
}

#[derive(Deserialize)]
struct Reply {
    access_token: SecretString,
    expires_on: Value,
    client_id: Option<String>,
}

impl AzureManagedIdentitySource {
    /// For that scope, such as `https://cognitiveservices.azure.com/.default`, on the kind of machine that the
    /// environment tells: `IDENTITY_ENDPOINT` with `IDENTITY_HEADER` is App Service, with `IMDS_ENDPOINT` Azure
    /// Arc, which is also told by its agent; everything else a virtual machine, whose metadata service is at
    /// 169.254.169.254 or at `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    ///
    /// # Errors
    /// `Invalid` on Service Fabric, Azure Machine Learning and Cloud Shell, and for an address that may not be
    /// asked.
    pub fn from_secrets(
        scope: impl Into<String>,
        env: &dyn SecretSource,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialError> {
        let host = host(env).map_err(|why| CredentialError::Invalid(why.into()))?;
        let http = Http::for_metadata();
        Ok(Self { host, scope: scope.into(), id: None, may_be_absent: false, http, clock })
    }

    /// Asks for that identity. Without it, for the machine's own, or its only one.
    #[must_use]
    pub fn with_identity(self, id: ManagedIdentityId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Says that this may run elsewhere than on Azure: nobody at the address, or a machine without an identity,
    /// is then `NotConfigured` and not an error.
    #[must_use]
    pub fn may_be_absent(self) -> Self {
        Self { may_be_absent: true, ..self }
    }

    /// Shares an HTTP client, or sets other time limits. Only [`Http::for_metadata`] may ask in plain text.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }

    /// The folder in which the agent of Azure Arc puts its keys, if it is not `/var/opt/azcmagent/tokens`.
    #[must_use]
    pub fn with_arc_keys(mut self, folder: impl Into<PathBuf>) -> Self {
        if let Host::Arc { keys, .. } = &mut self.host {
            *keys = folder.into();
        }
        self
    }

    fn request(&self) -> Result<Request, Misconfigured> {
        let (mut url, version) = match &self.host {
            Host::Vm(endpoint) => (endpoint.clone(), "2019-08-01"),
            Host::AppService { endpoint, .. } => (endpoint.clone(), "2019-08-01"),
            Host::Arc { endpoint, .. } => (endpoint.clone(), "2021-02-01"),
        };
        let resource = self.scope.strip_suffix("/.default").unwrap_or(&self.scope);
        url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", resource);
        if let Some(id) = &self.id {
            let (name, value) = match (&self.host, id) {
                (Host::Arc { .. }, _) => return Err(Misconfigured::ArcIdentity),
                (_, ManagedIdentityId::ClientId(id)) => ("client_id", id),
                (Host::Vm(_), ManagedIdentityId::ObjectId(id)) => ("object_id", id),
                (Host::Vm(_), ManagedIdentityId::ResourceId(id)) => ("msi_res_id", id),
                (Host::AppService { .. }, ManagedIdentityId::ObjectId(id)) => ("principal_id", id),
                (Host::AppService { .. }, ManagedIdentityId::ResourceId(id)) => ("mi_res_id", id),
            };
            url.query_pairs_mut().append_pair(name, value);
        }
        let request = self.http.get(&url);
        Ok(match &self.host {
            Host::AppService { header, .. } => request.secret_header(IDENTITY, header).idempotent(),
            Host::Vm(_) => request.header(METADATA, "true").idempotent_after(PASSING),
            Host::Arc { .. } => request.header(METADATA, "true").idempotent(),
        })
    }

    async fn ask(&self) -> Result<Answer, CredentialError> {
        let request = || self.request().map_err(|why| CredentialError::Invalid(why.into()));
        let answer = request()?.send(self.clock.now()).await?;
        match &self.host {
            Host::Arc { keys, .. } if answer.status().as_u16() == 401 => {
                let key = arc_key(&answer, keys).await?;
                request()?.secret_header(AUTHORIZATION, &key).send(self.clock.now()).await
            }
            _ => Ok(answer),
        }
    }
}

fn host(env: &dyn SecretSource) -> Result<Host, Misconfigured> {
    let (endpoint, header) = (set(env, "IDENTITY_ENDPOINT"), set(env, "IDENTITY_HEADER"));
    match (endpoint, header) {
        (Some(_), Some(_)) if set(env, "IDENTITY_SERVER_THUMBPRINT").is_some() => {
            return Err(Misconfigured::NotSupported("Service Fabric"));
        }
        (Some(endpoint), Some(header)) => {
            let endpoint = near("IDENTITY_ENDPOINT", &endpoint)?;
            return Ok(Host::AppService { endpoint, header: header.into() });
        }
        (Some(endpoint), None) if set(env, "IMDS_ENDPOINT").is_some() => {
            return Ok(Host::Arc { endpoint: near("IDENTITY_ENDPOINT", &endpoint)?, keys: ARC_KEYS.into() });
        }
        _ => {}
    }
    if set(env, "MSI_ENDPOINT").is_some() {
        let is_ml = set(env, "MSI_SECRET").is_some();
        return Err(Misconfigured::NotSupported(if is_ml {
            "Azure Machine Learning"
        } else {
            "Cloud Shell"
        }));
    }
    let is_there = |error: std::io::Error| error.kind() != std::io::ErrorKind::NotFound;
    if env.file(Path::new(ARC_AGENT)).map_or_else(is_there, |_| true) {
        return Ok(Host::Arc { endpoint: near("", ARC)?, keys: ARC_KEYS.into() });
    }
    let name = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
    let base = near(name, &set(env, name).unwrap_or_else(|| VM.to_owned()))?;
    let url = base.join("/metadata/identity/oauth2/token");
    Ok(Host::Vm(url.map_err(|_| Misconfigured::Address(name))?))
}

fn near(variable: &'static str, url: &str) -> Result<Url, Misconfigured> {
    let url = Url::parse(url).map_err(|_| Misconfigured::Address(variable))?;
    allowed_metadata(&url).map_err(|_| Misconfigured::Address(variable))?;
    Ok(url)
}

/// The key that proves to Arc's agent that the caller may read its files. Only a file of the agent's own is
/// read: whoever answers in its place must not be able to have another one sent to it.
async fn arc_key(answer: &Answer, folder: &Path) -> Result<SecretString, CredentialError> {
    let invalid = || CredentialError::Invalid(Misconfigured::ArcKey.into());
    let path = answer.header(WWW_AUTHENTICATE).and_then(|challenge| challenge.strip_prefix("Basic realm="));
    let path = Path::new(path.ok_or_else(invalid)?.trim_matches('"'));
    let is_own = path.parent() == Some(folder) && path.extension().is_some_and(|end| end == "key");
    if !is_own {
        return Err(invalid());
    }
    let key = read_token(path).await?;
    if key.expose_secret().len() > LARGEST_ARC_KEY {
        return Err(invalid());
    }
    Ok(format!("Basic {}", key.expose_secret()).into())
}

fn end(stated: &Value) -> Option<SystemTime> {
    let seconds = match stated {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn classify(error: IssuerError, retry_after: Option<Duration>) -> CredentialError {
    if matches!(error.status.as_u16(), 404 | 410) {
        return CredentialError::Unavailable { retry_after, source: error.into() };
    }
    error.classify(retry_after)
}

#[async_trait]
impl CredentialSource for AzureManagedIdentitySource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let answer = match self.ask().await {
            Err(error) if self.may_be_absent && nobody_there(&error) => {
                return Err(CredentialError::NotConfigured);
            }
            answer => answer?,
        };
        if let Some(refusal) = answer.refused() {
            let has_none = refusal.status.as_u16() == 400;
            return Err(if self.may_be_absent && has_none {
                CredentialError::NotConfigured
            } else {
                classify(refusal, answer.retry_after())
            });
        }
        let unusable = |why: Misconfigured| CredentialError::Unavailable {
            retry_after: answer.retry_after(),
            source: BoxError::from(why),
        };
        let reply: Reply = answer.json().ok_or_else(|| unusable(Misconfigured::NotAToken))?;
        let end = end(&reply.expires_on).ok_or_else(|| unusable(Misconfigured::NotAToken))?;
        let source = match &self.host {
            Host::Vm(_) => "Azure managed identity (virtual machine)",
            Host::AppService { .. } => "Azure managed identity (App Service)",
            Host::Arc { .. } => "Azure managed identity (Arc)",
        };
        let mut issued = Issued::new(Credential::BearerToken(reply.access_token), end).from_source(source);
        issued.subject = reply.client_id.map(|id| format!("application {id}"));
        Ok(issued)
    }
}

/// The token of the Azure machine on which this runs, kept, and renewed before it ends.
///
/// Clones share what is held.
#[derive(Clone, Debug)]
pub struct AzureManagedIdentityProvider(Cached<AzureManagedIdentitySource>);

impl AzureManagedIdentityProvider {
    /// As the process's environment says, for Azure's cognitive services or `AZURE_AD_SCOPE`; the identity whose
    /// application is `AZURE_CLIENT_ID`, if that is set.
    ///
    /// # Errors
    /// `Invalid` on a kind of machine that is not supported.
    pub fn from_env() -> Result<Self, CredentialError> {
        Self::from_secrets(&ProcessEnv, Arc::new(SystemClock))
    }

    /// The same for another environment.
    ///
    /// # Errors
    /// `Invalid` on a kind of machine that is not supported.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        let scope = set(env, "AZURE_AD_SCOPE").unwrap_or_else(|| super::source::SCOPE.to_owned());
        let source = AzureManagedIdentitySource::from_secrets(scope, env, clock.clone())?;
        let id = set(env, "AZURE_CLIENT_ID").map(ManagedIdentityId::ClientId);
        Ok(Self::of(AzureManagedIdentitySource { id, ..source }, clock))
    }

    /// Keeps what that source gets.
    pub fn of(source: AzureManagedIdentitySource, clock: Arc<dyn Clock>) -> Self {
        Self(Cached::new(source, clock))
    }
}

answers_from_its_cache!(AzureManagedIdentityProvider);
