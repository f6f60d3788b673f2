//! Microsoft Entra ID: client credentials, with a secret or with a federated token from a file.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{
    Clock, Credential, CredentialError, CredentialProvider, CredentialSource, Issued, SecretSource,
    SystemClock,
};
use url::Url;

use crate::env::set;
use crate::file::read_token;
use crate::http::{Form, Http, HttpError, allowed};
use crate::{Cached, IssuerError, ProcessEnv, StaticTokenProvider};

const AUTHORITY: &str = "https://login.microsoftonline.com";
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// RFC 7523 section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

const VARIABLES: [&str; 3] = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"];
const FEDERATED: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// The federated token has ended. Whoever put it into its file replaces it.
const ASSERTION_EXPIRED: u64 = 700_024;

/// Codes that stay until somebody renews the secret or mends the registration: a wrong secret, an
/// expired one, an unknown application, an unknown tenant.
const REJECTED: [u64; 5] = [7_000_215, 7_000_222, 700_016, 90_002, ASSERTION_EXPIRED];

/// Fetches a token from Microsoft Entra ID, with a client's secret or a federated token.
#[derive(Clone)]
pub struct AzureAdSource {
    pub(crate) authority: String,
    tenant: String,
    client_id: String,
    proof: Proof,
    pub(crate) scope: String,
    http: Http,
    clock: Arc<dyn Clock>,
}

/// How the client proves who it is.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    Secret(SecretString),
    /// A token of another issuer, such as a Kubernetes cluster; read at every exchange.
    TokenFile(PathBuf),
}

/// Why a token cannot be asked for. A person must act.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misconfigured {
    #[error("not set, or empty: `{0}`")]
    Missing(String),
    #[error("a tenant is a domain or an id: letters, digits, `.` and `-`, beginning with a letter or digit")]
    Tenant,
    #[error("the authority must be an https:// address without user name, query and fragment")]
    Authority(#[source] Option<HttpError>),
}

impl From<Misconfigured> for CredentialError {
    fn from(why: Misconfigured) -> Self {
        Self::Invalid(Box::new(why))
    }
}

impl fmt::Debug for AzureAdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureAdSource")
            .field("tenant", &self.tenant)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl AzureAdSource {
    /// Whatever is wrong with the tenant or the authority, [`fetch`](CredentialSource::fetch) reports.
    pub fn new(
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        secret: SecretString,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::proving(tenant.into(), client_id.into(), Proof::Secret(secret), clock)
    }

    /// Workload identity: proves who the client is with the token in that file, which is read at every
    /// exchange, because whoever put it there replaces it.
    pub fn with_token_file(
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        file: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::proving(tenant.into(), client_id.into(), Proof::TokenFile(file.into()), clock)
    }

    pub(crate) fn proving(tenant: String, client_id: String, proof: Proof, clock: Arc<dyn Clock>) -> Self {
        Self {
            authority: AUTHORITY.to_owned(),
            tenant,
            client_id,
            proof,
            scope: SCOPE.to_owned(),
            http: Http::default(),
            clock,
        }
    }

    pub(crate) fn token_url(&self) -> Result<Url, Misconfigured> {
        let begins_well = self.tenant.starts_with(|c: char| c.is_ascii_alphanumeric());
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        if !begins_well || !self.tenant.bytes().all(good) {
            return Err(Misconfigured::Tenant);
        }
        let mut url = Url::parse(&self.authority).map_err(|_| Misconfigured::Authority(None))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Misconfigured::Authority(None));
        }
        url.path_segments_mut().map_err(|()| Misconfigured::Authority(None))?.pop_if_empty().extend([
            &self.tenant,
            "oauth2",
            "v2.0",
            "token",
        ]);
        allowed(&url).map_err(|why| Misconfigured::Authority(Some(why)))?;
        Ok(url)
    }
}

fn classify(error: IssuerError, retry_after: Option<Duration>) -> CredentialError {
    match error.clone().classify(retry_after) {
        CredentialError::Invalid(_) if error.codes.iter().any(|code| REJECTED.contains(code)) => {
            CredentialError::Rejected(error.into())
        }
        general => general,
    }
}

impl AzureAdSource {
    async fn exchange(&self, url: &Url, expired: &mut bool) -> Result<Issued, CredentialError> {
        let form = Form::default().field("client_id", &self.client_id);
        let form = match &self.proof {
            Proof::Secret(secret) => form.secret("client_secret", secret),
            Proof::TokenFile(file) => form
                .field("client_assertion_type", JWT_BEARER)
                .secret("client_assertion", &read_token(file).await?),
        };
        let form = form.field("grant_type", "client_credentials").field("scope", &self.scope);
        let asked = self.clock.now();
        let token = self.http.post(url).form(form).idempotent().send(asked).await?.token_or(
            |error, retry_after| {
                *expired = error.codes.contains(&ASSERTION_EXPIRED);
                classify(error, retry_after)
            },
        )?;
        Ok(Issued::new(Credential::BearerToken(token.access_token), asked + token.expires_in))
    }
}

#[async_trait]
impl CredentialSource for AzureAdSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let url = self.token_url()?;
        let mut expired = false;
        match self.exchange(&url, &mut expired).await {
            // The file may have been replaced since it was read.
            Err(_) if expired => self.exchange(&url, &mut expired).await,
            result => result,
        }
    }
}

/// A token for Azure OpenAI: fetched from Microsoft Entra ID, kept, and renewed five minutes before it
/// ends; or the static token of `AZURE_AD_TOKEN`.
///
/// Clones share what is held. The `with_…` methods begin anew: use them before the first call.
#[derive(Clone)]
pub struct AzureAdCredentialProvider(Token);

#[derive(Clone)]
enum Token {
    Given(StaticTokenProvider),
    Issued(Cached<AzureAdSource>),
}

impl fmt::Debug for AzureAdCredentialProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AzureAdCredentialProvider").field(&self.provider()).finish()
    }
}

impl AzureAdCredentialProvider {
    /// For a tenant, by domain or id, and a registered application with its secret.
    pub fn new(tenant: impl Into<String>, client_id: impl Into<String>, secret: SecretString) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self(Token::Issued(Cached::new(AzureAdSource::new(tenant, client_id, secret, clock.clone()), clock)))
    }

    /// As the process's environment says; see [`from_secrets`](Self::from_secrets).
    ///
    /// # Errors
    /// `NotConfigured` if none of the variables is set, `Invalid` if only some are.
    pub fn from_env() -> Result<Self, CredentialError> {
        Self::from_secrets(&ProcessEnv, Arc::new(SystemClock))
    }

    /// As these variables say: `AZURE_AD_TOKEN`, a static token, before which nothing else is read; or
    /// `AZURE_TENANT_ID` and `AZURE_CLIENT_ID` with `AZURE_CLIENT_SECRET` or, for a workload identity,
    /// `AZURE_FEDERATED_TOKEN_FILE`; and `AZURE_AD_SCOPE` and `AZURE_AUTHORITY_HOST` if they differ from the
    /// usual ones. A blank variable counts as unset.
    ///
    /// # Errors
    /// `NotConfigured` if none of the variables is set, `Invalid` if only some are.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        if let Some(token) = set(env, "AZURE_AD_TOKEN") {
            return Ok(Self(Token::Given(StaticTokenProvider::new(token.into()))));
        }
        let found = VARIABLES.map(|name| set(env, name));
        let mut source = match (found, set(env, FEDERATED)) {
            ([Some(tenant), Some(client_id), Some(secret)], _) => {
                AzureAdSource::new(tenant, client_id, secret.into(), clock.clone())
            }
            ([Some(tenant), Some(client_id), None], Some(file)) => {
                AzureAdSource::with_token_file(tenant, client_id, file, clock.clone())
            }
            ([None, None, None], None) => return Err(CredentialError::NotConfigured),
            (found, _) => {
                let missing = VARIABLES.into_iter().zip(&found).filter(|(_, value)| value.is_none());
                let missing: Vec<_> = missing.map(|(name, _)| name).collect();
                return Err(Misconfigured::Missing(missing.join("`, `")).into());
            }
        };
        source.scope = set(env, "AZURE_AD_SCOPE").unwrap_or(source.scope);
        source.authority = set(env, "AZURE_AUTHORITY_HOST").unwrap_or(source.authority);
        source.token_url()?;
        Ok(Self(Token::Issued(Cached::new(source, clock))))
    }

    /// For another resource. Without it, `https://cognitiveservices.azure.com/.default`.
    #[must_use]
    pub fn with_scope(self, scope: impl Into<String>) -> Self {
        self.changed(|source| source.scope = scope.into())
    }

    /// Another authority, such as `https://login.microsoftonline.us`; https, except on a loopback host.
    #[must_use]
    pub fn with_authority(self, authority: Url) -> Self {
        self.changed(|source| source.authority = authority.into())
    }

    /// Shares an HTTP client, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        self.changed(|source| source.http = http)
    }

    fn changed(self, change: impl FnOnce(&mut AzureAdSource)) -> Self {
        Self(match self.0 {
            Token::Given(token) => Token::Given(token),
            Token::Issued(cached) => Token::Issued(cached.changed(change)),
        })
    }

    fn provider(&self) -> &dyn CredentialProvider {
        match &self.0 {
            Token::Given(token) => token,
            Token::Issued(cached) => cached,
        }
    }
}

#[async_trait]
impl CredentialProvider for AzureAdCredentialProvider {
    async fn resolve(&self) -> Result<Credential, CredentialError> {
        self.provider().resolve().await
    }

    fn held(&self) -> Option<Arc<Credential>> {
        self.provider().held()
    }

    fn renews(&self) -> bool {
        self.provider().renews()
    }

    fn invalidate(&self, refused: &Credential) {
        self.provider().invalidate(refused);
    }
}
