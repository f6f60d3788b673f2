//! AWS STS: temporary keys for a role, against an identity token in a file
//! (`AssumeRoleWithWebIdentity`, <https://docs.aws.amazon.com/STS/latest/APIReference/>).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::ACCEPT;
use async_trait::async_trait;
use portunus_auth_core::{Clock, CredentialError, CredentialSource, Issued, SecretSource, SystemClock};
use url::Url;

use super::sts::{Refused, host, issued};
use crate::env::{path, set};
use crate::file::read_token;
use crate::http::{Form, Http, allowed};
use crate::{Cached, ProcessEnv};

pub(crate) const SESSION_NAME: &str = "portunus-session";

/// A session lasts an hour unless more is asked for, and the role allows it.
const SHORTEST: Duration = Duration::from_secs(900);
const LONGEST: Duration = Duration::from_secs(43_200);

/// Asks STS for a role's temporary keys. Reads the token's file at every exchange, because whoever put
/// it there replaces it.
#[derive(Clone, Debug)]
pub struct WebIdentitySource {
    role_arn: String,
    token_file: PathBuf,
    session_name: String,
    region: String,
    fips: bool,
    dual_stack: bool,
    duration: Option<Duration>,
    endpoint: Option<Url>,
    http: Http,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, thiserror::Error)]
enum Misconfigured {
    #[error("not set, or empty: `{0}`")]
    Missing(&'static str),
    #[error("a region is made of lower-case letters, digits and `-`, such as eu-central-1")]
    Region,
    #[error("STS's address is not a URL")]
    Endpoint,
    #[error(
        "an address of STS of one's own is not known to be a FIPS or dual-stack one; set one or the other"
    )]
    Elsewhere,
    #[error("a session lasts between {SHORTEST:?} and {LONGEST:?}")]
    Duration,
}

impl WebIdentitySource {
    /// For a role, with the token in that file. Whatever is wrong with the region,
    /// [`fetch`](CredentialSource::fetch) reports.
    pub fn new(
        role_arn: impl Into<String>,
        token_file: impl Into<PathBuf>,
        session_name: impl Into<String>,
        region: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            role_arn: role_arn.into(),
            token_file: token_file.into(),
            session_name: session_name.into(),
            region: region.into(),
            fips: false,
            dual_stack: false,
            duration: None,
            endpoint: None,
            http: Http::default(),
            clock,
        }
    }

    /// As these variables say: `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`; `AWS_ROLE_SESSION_NAME`
    /// if it is not to be `portunus-session`; the region in `AWS_REGION`, then `AWS_DEFAULT_REGION`, then
    /// `us-east-1`; STS's address in `AWS_ENDPOINT_URL_STS`, then `AWS_ENDPOINT_URL`, if it is not the
    /// region's own, and of those `AWS_USE_FIPS_ENDPOINT=true` and `AWS_USE_DUALSTACK_ENDPOINT=true` choose
    /// another one. A blank variable counts as unset.
    ///
    /// # Errors
    /// `NotConfigured` if neither of the first two is set, `Invalid` if only one is, or an address is wrong.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        let (role, file) = match (set(env, "AWS_ROLE_ARN"), path(env, "AWS_WEB_IDENTITY_TOKEN_FILE")) {
            (Some(role), Some(file)) => (role, file),
            (None, None) => return Err(CredentialError::NotConfigured),
            (None, _) => return Err(invalid(Misconfigured::Missing("AWS_ROLE_ARN"))),
            (_, None) => return Err(invalid(Misconfigured::Missing("AWS_WEB_IDENTITY_TOKEN_FILE"))),
        };
        let session = set(env, "AWS_ROLE_SESSION_NAME").unwrap_or_else(|| SESSION_NAME.to_owned());
        let region = set(env, "AWS_REGION").or_else(|| set(env, "AWS_DEFAULT_REGION"));
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let mut source = WebIdentitySource::new(role, file, session, region, clock);
        let is_true = |name| set(env, name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        source.fips = is_true("AWS_USE_FIPS_ENDPOINT");
        source.dual_stack = is_true("AWS_USE_DUALSTACK_ENDPOINT");
        if let Some(endpoint) = set(env, "AWS_ENDPOINT_URL_STS").or_else(|| set(env, "AWS_ENDPOINT_URL")) {
            source.endpoint = Some(Url::parse(&endpoint).map_err(|_| invalid(Misconfigured::Endpoint))?);
        }
        source.url()?;
        Ok(source)
    }

    /// Another STS than the region's own; https, except on a loopback host.
    #[must_use]
    pub fn with_endpoint(self, endpoint: Url) -> Self {
        Self { endpoint: Some(endpoint), ..self }
    }

    /// The region's FIPS endpoint.
    #[must_use]
    pub fn with_fips(self) -> Self {
        Self { fips: true, ..self }
    }

    /// The region's endpoint that IPv6 reaches as well.
    #[must_use]
    pub fn with_dual_stack(self) -> Self {
        Self { dual_stack: true, ..self }
    }

    /// How long the keys are to live: between 15 minutes and 12 hours, and no longer than the role allows. Without
    /// it, an hour. Whatever is wrong with it, [`fetch`](CredentialSource::fetch) reports.
    #[must_use]
    pub fn with_session_duration(self, duration: Duration) -> Self {
        Self { duration: Some(duration), ..self }
    }

    /// Shares an HTTP client, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }

    /// Where STS is asked.
    ///
    /// # Errors
    /// `Invalid` for a region that is none, an address that may not be asked, or one of one's own where the
    /// region's FIPS or dual-stack endpoint is wanted.
    pub fn url(&self) -> Result<Url, CredentialError> {
        let url = match &self.endpoint {
            Some(_) if self.fips || self.dual_stack => return Err(invalid(Misconfigured::Elsewhere)),
            Some(endpoint) => endpoint.clone(),
            None => {
                let host = host(&self.region, self.fips, self.dual_stack);
                let host = host.ok_or_else(|| invalid(Misconfigured::Region))?;
                Url::parse(&format!("https://{host}/")).map_err(|_| invalid(Misconfigured::Endpoint))?
            }
        };
        allowed(&url)?;
        Ok(url)
    }

    pub(crate) fn check_duration(&self) -> Result<(), CredentialError> {
        match self.duration {
            Some(duration) if !(SHORTEST..=LONGEST).contains(&duration) => {
                Err(invalid(Misconfigured::Duration))
            }
            _ => Ok(()),
        }
    }

    async fn exchange(&self, url: &Url) -> Result<Issued, Refused> {
        let form = Form::default()
            .field("Action", "AssumeRoleWithWebIdentity")
            .field("Version", "2011-06-15")
            .field("RoleArn", &self.role_arn)
            .field("RoleSessionName", &self.session_name)
            .secret("WebIdentityToken", &read_token(&self.token_file).await?);
        let form = match self.duration {
            Some(duration) => form.field("DurationSeconds", &duration.as_secs().to_string()),
            None => form,
        };
        let request = self.http.post(url).header(ACCEPT, "text/xml").form(form).idempotent();
        issued(&request.send(self.clock.now()).await?)
    }
}

fn invalid(why: Misconfigured) -> CredentialError {
    CredentialError::Invalid(why.into())
}

#[async_trait]
impl CredentialSource for WebIdentitySource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        self.check_duration()?;
        let url = self.url()?;
        match self.exchange(&url).await {
            Ok(issued) => Ok(issued),
            Err(refused) if refused.expired => self.exchange(&url).await.map_err(|again| again.error),
            Err(refused) => Err(refused.error),
        }
    }
}

/// Temporary AWS keys for a role, kept, and renewed five minutes before they end. Signing is a step of
/// its own: see [`Signer`](crate::Signer).
///
/// Clones share what is held. The `with_…` methods begin anew: use them before the first call.
#[derive(Clone, Debug)]
pub struct WebIdentityCredentialProvider(Cached<WebIdentitySource>);

impl WebIdentityCredentialProvider {
    /// For a role, with the token in that file, a name for the session and a region.
    pub fn new(
        role_arn: impl Into<String>,
        token_file: impl Into<PathBuf>,
        session_name: impl Into<String>,
        region: impl Into<String>,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let source = WebIdentitySource::new(role_arn, token_file, session_name, region, clock.clone());
        Self(Cached::new(source, clock))
    }

    /// As the process's environment says; see [`from_secrets`](Self::from_secrets).
    ///
    /// # Errors
    /// `NotConfigured` if neither of the required variables is set, `Invalid` if only one is.
    pub fn from_env() -> Result<Self, CredentialError> {
        Self::from_secrets(&ProcessEnv, Arc::new(SystemClock))
    }

    /// As [`WebIdentitySource::from_secrets`] says.
    ///
    /// # Errors
    /// `NotConfigured` if neither of the required variables is set, `Invalid` if only one is, or an address
    /// is wrong.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        Ok(Self(Cached::new(WebIdentitySource::from_secrets(env, clock.clone())?, clock)))
    }

    /// Another STS than the region's own; https, except on a loopback host.
    #[must_use]
    pub fn with_endpoint(self, endpoint: Url) -> Self {
        Self(self.0.changed(|source| source.endpoint = Some(endpoint)))
    }

    /// How long the keys are to live; see [`WebIdentitySource::with_session_duration`].
    #[must_use]
    pub fn with_session_duration(self, duration: Duration) -> Self {
        Self(self.0.changed(|source| source.duration = Some(duration)))
    }

    /// Shares an HTTP client, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self(self.0.changed(|source| source.http = http))
    }
}

answers_from_its_cache!(WebIdentityCredentialProvider);
