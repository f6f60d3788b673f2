//! Microsoft Entra ID: client credentials, proved by a secret, a certificate or another issuer's token.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Clock, Credential, CredentialError, CredentialSource, Issued, SecretSource};
use url::Url;

use super::ClientCertificate;
use crate::IssuerError;
use crate::env::{path, set};
use crate::file::read_token;
use crate::http::{Form, Http, HttpError, allowed};

const AUTHORITY: &str = "https://login.microsoftonline.com";
pub(crate) const SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// RFC 7523 section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What an application needs.
const PARTS: [&str; 3] = [
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET` or `AZURE_CLIENT_CERTIFICATE_PATH` or `AZURE_FEDERATED_TOKEN_FILE",
];

/// The federated token has ended. Whoever put it into its file replaces it.
const ASSERTION_EXPIRED: u64 = 700_024;

/// Codes that stay until somebody renews the secret or mends the registration: a wrong secret, an
/// expired one, an unknown application, an unknown tenant, a certificate that is not registered, a federated
/// identity that is not.
const REJECTED: [u64; 8] =
    [7_000_215, 7_000_222, 700_016, 90_002, ASSERTION_EXPIRED, 700_027, 700_211, 700_213];

/// Fetches a token from Microsoft Entra ID, with a client's secret or a federated token.
#[derive(Clone)]
pub struct AzureAdSource {
    pub(crate) authority: String,
    tenant: String,
    client_id: String,
    proof: Proof,
    pub(crate) scope: String,
    pub(super) http: Http,
    clock: Arc<dyn Clock>,
}

/// How the client proves who it is.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    Secret(SecretString),
    /// A token of another issuer, such as a Kubernetes cluster; read at every exchange.
    TokenFile(PathBuf),
    /// The same, from wherever a workload gets such a token.
    Assertion(Arc<dyn CredentialSource>),
    Certificate(Arc<ClientCertificate>),
    /// Read at every exchange, because certificates are renewed.
    CertificateFile {
        path: PathBuf,
        /// Where the key is, if not in the same file.
        key: Option<PathBuf>,
        sends_chain: bool,
    },
}

impl Proof {
    /// Whether another issuer replaces it.
    fn is_issued(&self) -> bool {
        matches!(self, Self::TokenFile(_) | Self::Assertion(_))
    }
}

/// Why a token cannot be asked for. A person must act.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misconfigured {
    #[error("not set, or empty: `{0}`")]
    Missing(String),
    #[error("a tenant is a domain or an id: letters, digits, `.` and `-`, beginning with a letter or digit")]
    Tenant,
    #[error("a client can only be proved by a bearer token of another issuer")]
    Assertion,
    #[error(
        "`AZURE_CLIENT_CERTIFICATE_PASSWORD` is set, but only PEM files that are not encrypted can be read; convert the file and unset the variable"
    )]
    Password,
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

    /// As the variables say that [`AzureAdCredentialProvider::from_secrets`] names, but for `AZURE_AD_TOKEN`.
    ///
    /// [`AzureAdCredentialProvider::from_secrets`]: crate::AzureAdCredentialProvider::from_secrets
    ///
    /// # Errors
    /// `NotConfigured` if none of the variables is set, or only `AZURE_CLIENT_ID`; `Invalid` if only some are.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        let [tenant, client_id] = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID"].map(|name| set(env, name));
        let secret = set(env, "AZURE_CLIENT_SECRET").map(|secret| Proof::Secret(secret.into()));
        let proof = match secret {
            Some(secret) => Some(secret),
            None => certificate_file(env)?,
        };
        let proof = proof.or_else(|| Some(Proof::TokenFile(path(env, "AZURE_FEDERATED_TOKEN_FILE")?)));
        let (tenant, client_id, proof) = match (tenant, client_id, proof) {
            (Some(tenant), Some(client_id), Some(proof)) => (tenant, client_id, proof),
            // A client id alone may be that of the machine's identity.
            (None, _, None) => return Err(CredentialError::NotConfigured),
            (tenant, client_id, proof) => {
                let is_set = [tenant.is_some(), client_id.is_some(), proof.is_some()];
                let missing = PARTS.iter().zip(is_set).filter(|(_, is_set)| !is_set);
                let missing: Vec<_> = missing.map(|(name, _)| *name).collect();
                return Err(Misconfigured::Missing(missing.join("`, `")).into());
            }
        };
        let mut source = Self::proving(tenant, client_id, proof, clock);
        source.scope = set(env, "AZURE_AD_SCOPE").unwrap_or(source.scope);
        source.authority = set(env, "AZURE_AUTHORITY_HOST").unwrap_or(source.authority);
        source.token_url()?;
        Ok(source)
    }

    /// Workload identity with a token from elsewhere, such as GitHub Actions: any source of a bearer token, asked
    /// at every exchange. Not configured where that source is not.
    pub fn with_assertion(
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        assertion: impl CredentialSource,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::proving(tenant.into(), client_id.into(), Proof::Assertion(Arc::new(assertion)), clock)
    }

    /// Proves who the client is with a certificate.
    pub fn with_certificate(
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        certificate: ClientCertificate,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::proving(tenant.into(), client_id.into(), Proof::Certificate(Arc::new(certificate)), clock)
    }

    /// Proves who the client is with a certificate and its key in a PEM file, which is read at every exchange,
    /// because certificates are renewed.
    pub fn with_certificate_file(
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        file: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let proof = Proof::CertificateFile { path: file.into(), key: None, sends_chain: false };
        Self::proving(tenant.into(), client_id.into(), proof, clock)
    }

    /// For another resource. Without it, `https://cognitiveservices.azure.com/.default`.
    #[must_use]
    pub fn with_scope(self, scope: impl Into<String>) -> Self {
        Self { scope: scope.into(), ..self }
    }

    /// Another authority, such as `https://login.microsoftonline.us`; https, except on a loopback host.
    #[must_use]
    pub fn with_authority(self, authority: &Url) -> Self {
        Self { authority: authority.as_str().to_owned(), ..self }
    }

    /// Shares an HTTP client, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
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

fn certificate_file(env: &dyn SecretSource) -> Result<Option<Proof>, Misconfigured> {
    let Some(file) = path(env, "AZURE_CLIENT_CERTIFICATE_PATH") else { return Ok(None) };
    if set(env, "AZURE_CLIENT_CERTIFICATE_PASSWORD").is_some() {
        return Err(Misconfigured::Password);
    }
    let sends_chain = set(env, "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN");
    let sends_chain = sends_chain.is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"));
    Ok(Some(Proof::CertificateFile { path: file, key: None, sends_chain }))
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
    async fn assertion(&self, proof: &Proof, url: &Url) -> Result<SecretString, CredentialError> {
        match proof {
            // A client that has a secret asserts nothing.
            Proof::Secret(secret) => Ok(secret.clone()),
            Proof::TokenFile(file) => read_token(file).await,
            Proof::Assertion(source) => match source.fetch().await?.credential {
                Credential::BearerToken(token) => Ok(token),
                _ => Err(Misconfigured::Assertion.into()),
            },
            Proof::Certificate(certificate) => certificate.assertion(url, &self.client_id, self.clock.now()),
            Proof::CertificateFile { path, key, sends_chain } => {
                let certificate = read_token(path).await?;
                let certificate = match key {
                    Some(key) => ClientCertificate::from_pems(&certificate, &read_token(key).await?)?,
                    None => ClientCertificate::from_pem(&certificate)?,
                };
                let certificate = if *sends_chain { certificate.sending_chain() } else { certificate };
                certificate.assertion(url, &self.client_id, self.clock.now())
            }
        }
    }

    async fn exchange(&self, url: &Url, expired: &mut bool) -> Result<Issued, CredentialError> {
        let form = Form::default().field("client_id", &self.client_id);
        let form = match &self.proof {
            Proof::Secret(secret) => form.secret("client_secret", secret),
            proof => {
                let assertion = self.assertion(proof, url).await?;
                form.field("client_assertion_type", JWT_BEARER).secret("client_assertion", &assertion)
            }
        };
        let form = form.field("grant_type", "client_credentials").field("scope", &self.scope);
        let asked = self.clock.now();
        let token = self.http.post(url).form(form).idempotent().send(asked).await?.token_or(
            |error, retry_after| {
                *expired = error.codes.contains(&ASSERTION_EXPIRED);
                classify(error, retry_after)
            },
        )?;
        let source = match &self.proof {
            Proof::Secret(_) => "Entra client secret",
            Proof::TokenFile(_) | Proof::Assertion(_) => "Entra workload identity",
            Proof::Certificate(_) | Proof::CertificateFile { .. } => "Entra client certificate",
        };
        let credential = Credential::BearerToken(token.access_token);
        let issued = Issued::new(credential, asked + token.expires_in).from_source(source);
        Ok(issued.for_subject(format!("application {} of {}", self.client_id, self.tenant)))
    }
}

#[async_trait]
impl CredentialSource for AzureAdSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let url = self.token_url()?;
        let mut expired = false;
        match self.exchange(&url, &mut expired).await {
            // It may have been replaced since it was read.
            Err(_) if expired && self.proof.is_issued() => self.exchange(&url, &mut expired).await,
            result => result,
        }
    }
}
