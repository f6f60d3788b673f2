//! Microsoft Entra ID: client credentials with a secret.

use std::fmt;
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
use crate::http::{Form, Http, HttpError, allowed};
use crate::{Cached, IssuerError, ProcessEnv, StaticTokenProvider};

const AUTHORITY: &str = "https://login.microsoftonline.com";
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";

const VARIABLES: [&str; 3] = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"];

/// Codes that stay until somebody renews the secret or mends the registration: a wrong secret, an
/// expired one, an unknown application, an unknown tenant.
const REJECTED: [u64; 4] = [7_000_215, 7_000_222, 700_016, 90_002];

/// Fetches a token from Microsoft Entra ID with a client's secret.
#[derive(Clone)]
pub struct AzureAdSource {
    pub(crate) authority: String,
    tenant: String,
    client_id: String,
    secret: SecretString,
    pub(crate) scope: String,
    http: Http,
    clock: Arc<dyn Clock>,
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
        Self {
            authority: AUTHORITY.to_owned(),
            tenant: tenant.into(),
            client_id: client_id.into(),
            secret,
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

#[async_trait]
impl CredentialSource for AzureAdSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let url = self.token_url()?;
        let form = Form::default()
            .field("client_id", &self.client_id)
            .secret("client_secret", &self.secret)
            .field("grant_type", "client_credentials")
            .field("scope", &self.scope);
        let asked = self.clock.now();
        let token = self.http.post_form(&url, form, asked).await?.token_or(classify)?;
        Ok(Issued {
            credential: Credential::BearerToken(token.access_token),
            expires_at: Some(asked + token.expires_in),
        })
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
    /// `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`, with `AZURE_AD_SCOPE` and
    /// `AZURE_AUTHORITY_HOST` if they differ from the usual ones. A blank variable counts as unset.
    ///
    /// # Errors
    /// `NotConfigured` if none of the variables is set, `Invalid` if only some are.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        if let Some(token) = set(env, "AZURE_AD_TOKEN") {
            return Ok(Self(Token::Given(StaticTokenProvider::new(token.into()))));
        }
        let found = VARIABLES.map(|name| set(env, name));
        let missing: Vec<_> = VARIABLES
            .into_iter()
            .zip(&found)
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name)
            .collect();
        let [Some(tenant), Some(client_id), Some(secret)] = found else {
            return Err(match missing.len() {
                3 => CredentialError::NotConfigured,
                _ => Misconfigured::Missing(missing.join("`, `")).into(),
            });
        };
        let mut source = AzureAdSource::new(tenant, client_id, secret.into(), clock.clone());
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
