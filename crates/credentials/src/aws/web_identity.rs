//! AWS STS: temporary keys for a role, against an identity token in a file
//! (`AssumeRoleWithWebIdentity`, <https://docs.aws.amazon.com/STS/latest/APIReference/>).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use ::http::StatusCode;
use ::http::header::ACCEPT;
use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{
    Clock, Credential, CredentialError, CredentialSource, Issued, SecretSource, SystemClock,
};
use roxmltree::{Document, Node};
use url::Url;

use crate::env::{path, set};
use crate::file::read_token;
use crate::http::{Answer, Form, Http, allowed};
use crate::{Cached, ProcessEnv};

pub(crate) const SESSION_NAME: &str = "portunus-session";

/// Codes after which only a person can help: the role does not trust this identity, or the region is off.
const REJECTED: [&str; 3] = ["AccessDenied", "MalformedPolicyDocument", "RegionDisabledException"];

/// Codes that pass: STS could not reach the issuer of the token, or is busy.
const PASSING: [&str; 3] = ["IDPCommunicationError", "Throttling", "ThrottlingException"];

/// The token in the file has been replaced meanwhile, or will be.
const EXPIRED: &str = "ExpiredTokenException";

/// Mostly a wrong audience or an unknown issuer; but STS says so as well while it cannot fetch the issuer's keys, so
/// the exchange is tried once more.
const INVALID_TOKEN: &str = "InvalidIdentityToken";

/// Asks STS for a role's temporary keys. Reads the token's file at every exchange, because whoever put
/// it there replaces it.
#[derive(Clone, Debug)]
pub struct WebIdentitySource {
    role_arn: String,
    token_file: PathBuf,
    session_name: String,
    region: String,
    fips: bool,
    endpoint: Option<Url>,
    http: Http,
    clock: Arc<dyn Clock>,
}

/// What STS answered instead of keys: the status and its code, never its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("STS answered {}{}", status.as_u16(), code.as_ref().map(|code| format!(" {code}")).unwrap_or_default())]
#[non_exhaustive]
pub struct StsError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The error's code, such as `AccessDenied`, if it looks like one.
    pub code: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum Misconfigured {
    #[error("not set, or empty: `{0}`")]
    Missing(&'static str),
    #[error("a region is made of lower-case letters, digits and `-`, such as eu-central-1")]
    Region,
    #[error("STS's address is not a URL")]
    Endpoint,
}

#[derive(Debug, thiserror::Error)]
#[error("STS's answer does not hold temporary keys")]
struct NotKeys;

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
            endpoint: None,
            http: Http::default(),
            clock,
        }
    }

    /// As these variables say: `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`; `AWS_ROLE_SESSION_NAME`
    /// if it is not to be `portunus-session`; the region in `AWS_REGION`, then `AWS_DEFAULT_REGION`, then
    /// `us-east-1`; STS's address in `AWS_ENDPOINT_URL_STS`, then `AWS_ENDPOINT_URL`, if it is not the
    /// region's own, and that with `AWS_USE_FIPS_ENDPOINT=true`. A blank variable counts as unset.
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
        source.fips = set(env, "AWS_USE_FIPS_ENDPOINT").is_some_and(|fips| fips.eq_ignore_ascii_case("true"));
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

    /// Shares an HTTP client, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }

    /// Where STS is asked.
    ///
    /// # Errors
    /// `Invalid` for a region that is none, or an address that may not be asked.
    pub fn url(&self) -> Result<Url, CredentialError> {
        let url = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => {
                let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                if self.region.is_empty() || !self.region.chars().all(good) {
                    return Err(invalid(Misconfigured::Region));
                }
                let (domain, apart) = partition(&self.region);
                let service = if self.fips && apart { "sts-fips" } else { "sts" };
                let url = format!("https://{service}.{}.{domain}/", self.region);
                Url::parse(&url).map_err(|_| invalid(Misconfigured::Endpoint))?
            }
        };
        allowed(&url)?;
        Ok(url)
    }

    async fn exchange(&self, url: &Url) -> Result<Issued, Refused> {
        let form = Form::default()
            .field("Action", "AssumeRoleWithWebIdentity")
            .field("Version", "2011-06-15")
            .field("RoleArn", &self.role_arn)
            .field("RoleSessionName", &self.session_name)
            .secret("WebIdentityToken", &read_token(&self.token_file).await?);
        let request = self.http.post(url).header(ACCEPT, "text/xml").form(form).idempotent();
        let answer = request.send(self.clock.now()).await?;
        if answer.status.is_success() {
            let unavailable = |source: NotKeys| CredentialError::Unavailable {
                retry_after: answer.retry_after,
                source: source.into(),
            };
            return keys(&answer.body).ok_or(NotKeys).map_err(unavailable).map_err(Refused::from);
        }
        Err(refusal(&answer))
    }
}

/// The domain of a region's partition, and whether FIPS has an endpoint of its own there.
/// <https://docs.aws.amazon.com/general/latest/gr/sts.html>
fn partition(region: &str) -> (&'static str, bool) {
    const PARTITIONS: [(&str, &str, bool); 7] = [
        ("cn-", "amazonaws.com.cn", true),
        ("us-gov-", "amazonaws.com", false),
        ("eusc-", "amazonaws.eu", true),
        ("us-iso-", "c2s.ic.gov", true),
        ("us-isob-", "sc2s.sgov.gov", true),
        ("us-isof-", "csp.hci.ic.gov", true),
        ("eu-isoe-", "cloud.adc-e.uk", true),
    ];
    let found = PARTITIONS.iter().find(|(prefix, ..)| region.starts_with(prefix));
    found.map_or(("amazonaws.com", true), |(_, domain, apart)| (domain, *apart))
}

fn invalid(why: Misconfigured) -> CredentialError {
    CredentialError::Invalid(why.into())
}

/// Why an exchange failed, and whether reading the token anew may mend it.
struct Refused {
    error: CredentialError,
    expired: bool,
}

impl From<CredentialError> for Refused {
    fn from(error: CredentialError) -> Self {
        Self { error, expired: false }
    }
}

/// `ErrorResponse / Error / Code`.
fn refusal(answer: &Answer) -> Refused {
    let code = parsed(&answer.body, |root| child(child(root, "Error")?, "Code")?.text().map(str::to_owned));
    let looks_like_one =
        |code: &String| code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    let code = code.filter(looks_like_one);
    let is = |codes: &[&str]| code.as_deref().is_some_and(|code| codes.contains(&code));
    let (rejected, passing, expired) = (is(&REJECTED), is(&PASSING), is(&[EXPIRED, INVALID_TOKEN]));
    let status = answer.status;
    let source = StsError { status, code };
    let busy = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
    let error = if passing || busy {
        CredentialError::Unavailable { retry_after: answer.retry_after, source: source.into() }
    } else if rejected || expired {
        CredentialError::Rejected(source.into())
    } else {
        CredentialError::Invalid(source.into())
    };
    Refused { error, expired }
}

/// `AssumeRoleWithWebIdentityResponse / AssumeRoleWithWebIdentityResult / Credentials`.
fn keys(body: &[u8]) -> Option<Issued> {
    parsed(body, |root| {
        let keys = child(child(root, "AssumeRoleWithWebIdentityResult")?, "Credentials")?;
        let text = |name| child(keys, name)?.text().map(str::trim).filter(|text| !text.is_empty());
        let secret = |name| text(name).map(SecretString::from);
        let expires_at: SystemTime = humantime::parse_rfc3339(text("Expiration")?).ok()?;
        let credential = Credential::AwsCredentials {
            access_key_id: secret("AccessKeyId")?,
            secret_access_key: secret("SecretAccessKey")?,
            session_token: Some(secret("SessionToken")?),
        };
        let mut issued = Issued::new(credential, expires_at).from_source("AWS STS web identity");
        let arn = child(root, "AssumeRoleWithWebIdentityResult").and_then(|of| child(of, "AssumedRoleUser"));
        issued.subject = arn.and_then(|of| child(of, "Arn")?.text()).map(str::to_owned);
        Some(issued)
    })
}

/// Reads an XML answer. The parser refuses document type definitions, and so whatever they could expand to.
fn parsed<T>(body: &[u8], read: impl FnOnce(Node<'_, '_>) -> Option<T>) -> Option<T> {
    let text = std::str::from_utf8(body).ok()?;
    read(Document::parse(text).ok()?.root_element())
}

/// By its local name: STS's answers have a default namespace, its imitations often none.
fn child<'a, 'x>(of: Node<'a, 'x>, name: &str) -> Option<Node<'a, 'x>> {
    of.children().find(|node| node.is_element() && node.tag_name().name() == name)
}

#[async_trait]
impl CredentialSource for WebIdentitySource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
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

    /// Shares an HTTP client, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self(self.0.changed(|source| source.http = http))
    }
}

answers_from_its_cache!(WebIdentityCredentialProvider);
