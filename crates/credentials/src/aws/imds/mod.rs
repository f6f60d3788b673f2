//! Keys for an EC2 instance, from its metadata service, version 2 only.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>

mod session;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ::http::StatusCode;
use ::http::header::ACCEPT;
use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Clock, CredentialError, CredentialSource, Issued, SecretSource};
use url::Url;

use self::session::{LONGEST, Session, TOKEN, TTL};
use super::document::{keys, refusal};
use crate::env::set;
use crate::http::{Answer, Http, allowed_metadata, nobody_there};

const V4: &str = "http://169.254.169.254/";
const V6: &str = "http://[fd00:ec2::254]/";
/// Below it the roles, and below each of them its keys.
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// New keys are there at least five minutes before the old ones end; who asks sooner gets the old ones again.
const RENEWED_BEFORE_END: Duration = Duration::from_secs(240);

/// While the service is away, or hands out keys that have ended because its own source is, the last keys still
/// work; they are used so much longer, and up to half as long again, so that instances do not ask in step.
const EXTENSION: Duration = Duration::from_secs(600);

/// Asks the metadata service of an EC2 instance. There is no fall-back to version 1, which anybody who can
/// make the instance send a request could ask.
#[derive(Clone, Debug)]
pub struct InstanceMetadataSource {
    endpoint: Url,
    may_be_absent: bool,
    http: Http,
    clock: Arc<dyn Clock>,
    known: Arc<Known>,
}

/// What is known from earlier answers. Where there are last keys, an outage is no absence, which would let a
/// chain go on to somebody else.
#[derive(Debug, Default)]
struct Known {
    session: Session,
    last: Mutex<Option<Issued>>,
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
        let (http, known) = (Http::for_metadata(), Arc::default());
        Ok(Self { endpoint, may_be_absent: false, http, clock, known })
    }

    /// Says that this may run elsewhere than on an instance: nobody at the address, a service of another kind
    /// there, or an instance without a role is then `NotConfigured` and not an error, and is asked only once.
    /// What gave keys before is not taken for absent.
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

    fn last(&self) -> MutexGuard<'_, Option<Issued>> {
        // Nothing that can panic runs under the lock.
        self.known.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn absence_is_possible(&self) -> bool {
        self.may_be_absent && self.last().is_none()
    }

    /// The session's token, or a new one.
    async fn token(&self) -> Result<Arc<SecretString>, CredentialError> {
        if let Some(token) = self.known.session.token(&*self.clock) {
            return Ok(token);
        }
        let (asked, absence_is_possible) = (self.clock.monotonic(), self.absence_is_possible());
        let request = self.http.put(&self.at("latest/api/token")?).header(ACCEPT, "*/*");
        let request = request.header(TTL, &LONGEST.to_string());
        let request = if absence_is_possible { request } else { request.idempotent() };
        let answer = match request.send(self.clock.now()).await {
            Err(error) if absence_is_possible && nobody_there(&error) => {
                return Err(CredentialError::NotConfigured);
            }
            answer => answer?,
        };
        // Other clouds have a service of their own at the same address.
        if absence_is_possible && matches!(answer.status().as_u16(), 400 | 404 | 405) {
            return Err(CredentialError::NotConfigured);
        }
        if !answer.status().is_success() {
            return Err(refusal(&answer));
        }
        let token = Arc::new(text(&answer)?.into());
        self.known.session.keep(&token, &answer, asked);
        Ok(token)
    }

    /// Asks once more in a new session where the service does not know this one any more.
    async fn get(&self, path: &str) -> Result<Answer, CredentialError> {
        let url = self.at(path)?;
        let token = self.token().await?;
        let answer = self.get_with(&url, &token).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.known.session.end(&token);
        let token = self.token().await?;
        self.get_with(&url, &token).await
    }

    async fn get_with(&self, url: &Url, token: &SecretString) -> Result<Answer, CredentialError> {
        let request = self.http.get(url).header(ACCEPT, "*/*").secret_header(TOKEN, token);
        request.idempotent().send(self.clock.now()).await
    }

    async fn ask(&self) -> Result<Issued, CredentialError> {
        let role = self.get(ROLES).await?;
        if role.status() == StatusCode::NOT_FOUND && self.absence_is_possible() {
            return Err(CredentialError::NotConfigured);
        }
        if !role.status().is_success() {
            return Err(refusal(&role));
        }
        let role = text(&role)?;
        if !is_name(&role) {
            return Err(garbled());
        }
        let answer = self.get(&format!("{ROLES}{role}")).await?;
        if !answer.status().is_success() {
            return Err(refusal(&answer));
        }
        let issued = keys(&answer)?.with_refresh_margin(RENEWED_BEFORE_END);
        Ok(issued.from_source("EC2 instance metadata").for_subject(role))
    }
}

/// Keys that have ended, for a while longer.
fn prolonged(mut issued: Issued, now: SystemTime) -> Issued {
    if issued.expires_at.is_some_and(|end| end <= now) {
        // Spreads instances, protects nothing: the standard library's hasher keys are random enough.
        let more = RandomState::new().hash_one(0) % (EXTENSION.as_secs() / 2);
        issued.expires_at = Some(now + EXTENSION + Duration::from_secs(more));
        tracing::warn!("the EC2 metadata service has no new keys; the last ones stay in use");
    }
    issued
}

fn invalid(why: Misconfigured) -> CredentialError {
    CredentialError::Invalid(why.into())
}

fn garbled() -> CredentialError {
    CredentialError::Unavailable { retry_after: None, source: Misconfigured::Garbled.into() }
}

/// The first line of a plain answer.
fn text(answer: &Answer) -> Result<String, CredentialError> {
    let text = std::str::from_utf8(answer.body()).ok().and_then(|text| text.lines().next()).map(str::trim);
    let text = text.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
    text.map(str::to_owned).ok_or_else(garbled)
}

/// Of a role, as IAM allows them.
fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    text.len() <= 128 && text.chars().all(good) && text.chars().any(|c| c != '.')
}

#[async_trait]
impl CredentialSource for InstanceMetadataSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let asked = self.ask().await;
        let now = self.clock.now();
        match asked {
            Ok(issued) => {
                *self.last() = Some(issued.clone());
                Ok(prolonged(issued, now))
            }
            Err(error @ CredentialError::Unavailable { .. }) => {
                let last = self.last().clone();
                let ended = last.filter(|last| last.expires_at.is_some_and(|end| end <= now));
                ended.map(|last| prolonged(last, now)).ok_or(error)
            }
            refused => refused,
        }
    }
}
