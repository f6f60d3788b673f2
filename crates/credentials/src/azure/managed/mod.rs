//! Managed identity: the token of the Azure machine on which this runs, without any secret.
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

mod arc;
mod host;
mod provider;
mod reply;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use ::http::HeaderName;
use async_trait::async_trait;
use portunus_auth_core::{Clock, CredentialError, CredentialSource, Issued, SecretSource};
use url::Url;

use self::host::Host;
pub use self::provider::AzureManagedIdentityProvider;
use super::SCOPE;
use crate::env::set;
use crate::http::{Answer, Http, Request, nobody_there};

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
/// Apps, or a server managed by Azure Arc. The token may be for any resource, so it can also be what proves a
/// client elsewhere.
///
/// The machine hands out the same token again for the first half of its life of up to a day: a renewal five
/// minutes before the end, as [`Cached`](crate::Cached) does it, gets another one, but one that the upstream
/// refused may come again.
#[derive(Clone, Debug)]
pub struct AzureManagedIdentitySource {
    host: Host,
    scope: String,
    id: Option<ManagedIdentityId>,
    may_be_absent: bool,
    /// Whether the machine ever answered. What was there is not taken for absent later, or a chain would go on
    /// under another identity.
    answered: Arc<AtomicBool>,
    http: Http,
    clock: Arc<dyn Clock>,
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
        Ok(Self {
            host: host::detect(env)?,
            scope: scope.into(),
            id: None,
            may_be_absent: false,
            answered: Arc::default(),
            http: Http::for_metadata(),
            clock,
        })
    }

    /// The same for the scope in `AZURE_AD_SCOPE`, or Azure's cognitive services, and the identity in
    /// `AZURE_CLIENT_ID`.
    pub(crate) fn from_variables(
        env: &dyn SecretSource,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialError> {
        let scope = set(env, "AZURE_AD_SCOPE").unwrap_or_else(|| SCOPE.to_owned());
        let source = Self::from_secrets(scope, env, clock)?;
        let id = set(env, "AZURE_CLIENT_ID").map(ManagedIdentityId::ClientId);
        Ok(Self { id, ..source })
    }

    /// Asks for that identity. Without it, for the machine's own, or its only one.
    #[must_use]
    pub fn with_identity(self, id: ManagedIdentityId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Says that this may run elsewhere than on Azure: as long as nobody has answered at the address, or if the
    /// machine has no identity of its own, that is `NotConfigured` and not an error, and it is known after a
    /// single attempt. That an identity which was asked for is not there remains an error.
    #[must_use]
    pub fn may_be_absent(self) -> Self {
        Self { may_be_absent: true, ..self }
    }

    /// Shares an HTTP client, or sets other time limits. Only [`Http::for_metadata`] may ask in plain text.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }

    /// The folder in which the agent of Azure Arc puts its keys, if it is not the documented one,
    /// `/var/opt/azcmagent/tokens`. No other file is read, whatever the agent's endpoint names.
    #[must_use]
    pub fn with_arc_keys(mut self, folder: impl Into<PathBuf>) -> Self {
        if let Host::Arc { keys, .. } = &mut self.host {
            *keys = folder.into();
        }
        self
    }

    fn request(&self, url: &Url) -> Request {
        let request = self.http.get(url);
        match &self.host {
            Host::AppService { header, .. } => request.secret_header(IDENTITY, header),
            Host::Vm(_) | Host::Arc { .. } => request.header(METADATA, "true"),
        }
    }

    async fn ask(&self, url: &Url, now: SystemTime) -> Result<Answer, CredentialError> {
        let request = || self.request(url);
        if self.may_be_absent && !self.answered.load(Ordering::Relaxed) {
            match request().send(now).await {
                Err(error) if nobody_there(&error) => return Err(CredentialError::NotConfigured),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        match &self.host {
            Host::Vm(_) => request().idempotent_after(PASSING).send(now).await,
            Host::AppService { .. } => request().idempotent().send(now).await,
            Host::Arc { keys, .. } => arc::ask(request, keys, now).await,
        }
    }
}

#[async_trait]
impl CredentialSource for AzureManagedIdentitySource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let (url, now) = (self.host.url(&self.scope, self.id.as_ref()), self.clock.now());
        let answer = self.ask(&url, now).await?;
        let was_there = self.answered.load(Ordering::Relaxed);
        let may_be_absent = self.may_be_absent && self.id.is_none() && !was_there;
        if may_be_absent && reply::says_that_there_is_none(&answer) {
            return Err(CredentialError::NotConfigured);
        }
        let issued = reply::issued(&answer, &self.host, self.id.as_ref(), now)?;
        self.answered.store(true, Ordering::Relaxed);
        Ok(issued)
    }
}
