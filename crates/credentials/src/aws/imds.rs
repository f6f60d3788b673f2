//! Keys for an EC2 instance, from its metadata service, version 2 only.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::http::HeaderName;
use ::http::header::ACCEPT;
use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Clock, CredentialError, CredentialSource, Issued, SecretSource};
use url::Url;

use super::document::{keys, refusal};
use crate::env::set;
use crate::http::{Answer, Http, allowed_metadata, nobody_there};

const V4: &str = "http://169.254.169.254/";
const V6: &str = "http://[fd00:ec2::254]/";
const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
/// Six hours, the longest that the service grants.
const LONGEST: &str = "21600";

/// While the service cannot reach its own source it hands out keys that have ended, which still work;
/// they are used so much longer, and up to half as long again, so that instances do not ask in step.
const EXTENSION: Duration = Duration::from_secs(600);

/// Asks the metadata service of an EC2 instance. There is no fall-back to version 1, which anybody who can
/// make the instance send a request could ask.
#[derive(Clone, Debug)]
pub struct InstanceMetadataSource {
    endpoint: Url,
    may_be_absent: bool,
    /// It answered before: an outage is then no absence, which would let a chain go on to somebody else.
    was_there: Arc<AtomicBool>,
    http: Http,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, thiserror::Error)]
enum Misconfigured {
    #[error("`AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE` is IPv4 or IPv6")]
    Mode,
    #[error("`AWS_EC2_METADATA_SERVICE_ENDPOINT` must be https, or http on a link-local address")]
    Endpoint,
    #[error("the instance's metadata service gave a token or a role that cannot be sent back")]
    Garbled,
}

impl InstanceMetadataSource {
    /// As these variables say: nothing with `AWS_EC2_METADATA_DISABLED=true`; the service at
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT`, or at its address on IPv6 with
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6`, or else at 169.254.169.254.
    ///
    /// # Errors
    /// `NotConfigured` if it is disabled, `Invalid` for an address that may not be asked.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        if set(env, "AWS_EC2_METADATA_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Err(CredentialError::NotConfigured);
        }
        let mode = set(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").unwrap_or_default();
        let usual = match mode.to_ascii_lowercase().as_str() {
            "" | "ipv4" => V4,
            "ipv6" => V6,
            _ => return Err(invalid(Misconfigured::Mode)),
        };
        let endpoint = set(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| usual.to_owned());
        let mut endpoint = Url::parse(&endpoint).map_err(|_| invalid(Misconfigured::Endpoint))?;
        allowed_metadata(&endpoint).map_err(|_| invalid(Misconfigured::Endpoint))?;
        if !endpoint.path().ends_with('/') {
            endpoint.set_path(&format!("{}/", endpoint.path()));
        }
        let (may_be_absent, was_there) = (false, Arc::default());
        Ok(Self { endpoint, may_be_absent, was_there, http: Http::for_metadata(), clock })
    }

    /// Says that this may run elsewhere than on an instance: nobody at the address, or an instance without
    /// a role, is then `NotConfigured` and not an error.
    #[must_use]
    pub fn may_be_absent(self) -> Self {
        Self { may_be_absent: true, ..self }
    }

    /// Shares an HTTP client, or sets other time limits. Only [`Http::for_metadata`] may ask in plain text.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }

    /// The service's address.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    fn at(&self, path: &str) -> Result<Url, CredentialError> {
        self.endpoint.join(path).map_err(|_| invalid(Misconfigured::Garbled))
    }

    async fn token(&self) -> Result<SecretString, CredentialError> {
        let request = self.http.put(&self.at("latest/api/token")?).header(ACCEPT, "*/*");
        let answer = request.header(TTL, LONGEST).idempotent().send(self.clock.now()).await?;
        if answer.status().is_success() { Ok(text(&answer)?.into()) } else { Err(refusal(&answer)) }
    }

    async fn get(&self, path: &str, token: &SecretString) -> Result<Answer, CredentialError> {
        let request = self.http.get(&self.at(path)?).header(ACCEPT, "*/*").secret_header(TOKEN, token);
        request.idempotent().send(self.clock.now()).await
    }
}

fn invalid(why: Misconfigured) -> CredentialError {
    CredentialError::Invalid(why.into())
}

/// The first line of a plain answer.
fn text(answer: &Answer) -> Result<String, CredentialError> {
    let text = std::str::from_utf8(answer.body()).ok().and_then(|text| text.lines().next()).map(str::trim);
    let text = text.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
    text.map(str::to_owned).ok_or_else(|| CredentialError::Unavailable {
        retry_after: None,
        source: Misconfigured::Garbled.into(),
    })
}

#[async_trait]
impl CredentialSource for InstanceMetadataSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let may_be_absent = self.may_be_absent && !self.was_there.load(Ordering::Relaxed);
        let token = match self.token().await {
            Err(error) if may_be_absent && nobody_there(&error) => {
                return Err(CredentialError::NotConfigured);
            }
            token => token?,
        };
        let path = "latest/meta-data/iam/security-credentials/";
        let role = self.get(path, &token).await?;
        if role.status().as_u16() == 404 && may_be_absent {
            return Err(CredentialError::NotConfigured);
        }
        if !role.status().is_success() {
            return Err(refusal(&role));
        }
        let role = text(&role)?;
        self.was_there.store(true, Ordering::Relaxed);
        let answer = self.get(&format!("{path}{role}"), &token).await?;
        if !answer.status().is_success() {
            return Err(refusal(&answer));
        }
        let mut issued = keys(&answer)?.from_source("EC2 instance metadata").for_subject(role);
        let now = self.clock.now();
        if issued.expires_at.is_some_and(|end| end <= now) {
            // Spreads instances, protects nothing: the standard library's hasher keys are random enough.
            let more = RandomState::new().hash_one(0) % (EXTENSION.as_secs() / 2);
            issued.expires_at = Some(now + EXTENSION + Duration::from_secs(more));
        }
        Ok(issued)
    }
}
