//! OpenAI: an API key, or workload identity federation.
//! <https://developers.openai.com/api/reference/workload-identity-federation>

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portunus_auth_core::{
    Clock, Credential, CredentialError, CredentialSource, Issued, SecretSource, SystemClock,
};
use url::Url;

use crate::env::set;
use crate::http::{Http, HttpError, Json, allowed};
use crate::identity::{Assertion, Exchange, exchanged, living};
use crate::kept::Kept;
use crate::{Cached, IssuerError, ProcessEnv, RefreshPolicy, StaticTokenProvider, SubjectTokenType};

const TOKEN_URL: &str = "https://auth.openai.com/oauth/token";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// OpenAI's own clients renew a token 20 minutes before it ends, or after half its life.
const MARGIN: Duration = Duration::from_secs(1_200);
/// And wait so long for it.
const PATIENCE: Duration = Duration::from_secs(10);

fn urn(kind: SubjectTokenType) -> &'static str {
    match kind {
        SubjectTokenType::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        SubjectTokenType::IdToken => "urn:ietf:params:oauth:token-type:id_token",
    }
}

/// Exchanges a workload's identity token for an access token of OpenAI, which lives at most as long as
/// the identity token and at most an hour. The identity is asked for a token at every exchange.
#[derive(Clone)]
pub struct OpenAiSource {
    token_url: String,
    identity_provider_id: String,
    service_account_id: String,
    identity: Arc<dyn CredentialSource>,
    subject_token_type: SubjectTokenType,
    http: Http,
    clock: Arc<dyn Clock>,
}

/// OpenAI refused an identity token.
#[derive(Debug, thiserror::Error)]
#[error(
    "OpenAI refused the identity token: its issuer, audience and claims have to fit the workload identity provider and a mapping to the service account"
)]
pub struct OpenAiRefusal(#[source] IssuerError);

#[derive(Debug, thiserror::Error)]
#[error("OpenAI's token endpoint must be an https:// address without user name")]
struct TokenUrl(#[source] Option<HttpError>);

impl fmt::Debug for OpenAiSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiSource")
            .field("identity_provider_id", &self.identity_provider_id)
            .field("service_account_id", &self.service_account_id)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl OpenAiSource {
    /// By that workload identity provider, for that service account, with that identity: any source of
    /// bearer tokens that are JWTs for the provider's audience.
    pub fn new(
        identity_provider_id: impl Into<String>,
        service_account_id: impl Into<String>,
        identity: impl CredentialSource,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            token_url: TOKEN_URL.to_owned(),
            identity_provider_id: identity_provider_id.into(),
            service_account_id: service_account_id.into(),
            identity: Arc::new(identity),
            subject_token_type: SubjectTokenType::default(),
            http: Http::with_timeouts(Duration::from_secs(5), PATIENCE),
            clock,
        }
    }

    /// Says what kind of token the identity yields.
    #[must_use]
    pub fn with_subject_token_type(self, kind: SubjectTokenType) -> Self {
        Self { subject_token_type: kind, ..self }
    }

    /// Another token endpoint, such as a test's.
    #[must_use]
    pub fn with_token_url(self, url: Url) -> Self {
        Self { token_url: url.into(), ..self }
    }

    /// Shares an HTTP client, or sets other time limits than 5 seconds to connect and 10 in all.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }

    /// The same, if the address may be asked.
    pub(crate) fn at(self, token_url: String) -> Result<Self, CredentialError> {
        let source = Self { token_url, ..self };
        source.token_url().map(|_| source)
    }

    fn token_url(&self) -> Result<Url, CredentialError> {
        let wrong = |why| CredentialError::Invalid(TokenUrl(why).into());
        let url = Url::parse(&self.token_url).map_err(|_| wrong(None))?;
        allowed(&url).map_err(|why| wrong(Some(why)))?;
        Ok(url)
    }

    /// When the cache renews what this source issues.
    pub(crate) fn policy() -> RefreshPolicy {
        RefreshPolicy { margin: MARGIN, ..RefreshPolicy::default() }
    }
}

fn classify(error: IssuerError, retry_after: Option<Duration>) -> CredentialError {
    let refused = error.error.as_deref() == Some("invalid_subject_token");
    match error.clone().classify(retry_after) {
        CredentialError::Rejected(_) => CredentialError::Rejected(OpenAiRefusal(error).into()),
        CredentialError::Invalid(_) if refused => CredentialError::Rejected(OpenAiRefusal(error).into()),
        general => general,
    }
}

#[async_trait]
impl Exchange for OpenAiSource {
    async fn exchange(&self, assertion: &Assertion, asked: SystemTime) -> Result<Issued, CredentialError> {
        let body = Json::default()
            .field("grant_type", TOKEN_EXCHANGE)
            .secret("subject_token", assertion.token())
            .field("subject_token_type", urn(self.subject_token_type))
            .field("identity_provider_id", &*self.identity_provider_id)
            .field("service_account_id", &*self.service_account_id);
        let answer = self.http.post(&self.token_url()?).json(body).idempotent().send(asked).await?;
        let token = living(answer.token_or(classify)?)?;
        Ok(Issued::new(Credential::BearerToken(token.access_token), asked + token.expires_in)
            .from_source("OpenAI workload identity federation")
            .for_subject(&self.service_account_id))
    }
}

#[async_trait]
impl CredentialSource for OpenAiSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        exchanged(self, &*self.identity, self.clock.now()).await
    }
}

/// A credential for OpenAI's API: an API key, or an access token by workload identity federation, kept
/// and renewed 20 minutes before it ends, or after half its life.
///
/// Clones share what is held. `with_http` begins anew: use it before the first call.
#[derive(Clone, Debug)]
pub struct OpenAiCredentialProvider(Kept<OpenAiSource>);

impl OpenAiCredentialProvider {
    /// By workload identity federation.
    pub fn new(source: OpenAiSource) -> Self {
        let clock = source.clock.clone();
        Self(Kept::Issued(Cached::with_policy(source, clock, OpenAiSource::policy())))
    }

    /// The process's `OPENAI_API_KEY`.
    ///
    /// # Errors
    /// `NotConfigured` if it is unset or blank.
    pub fn from_env() -> Result<Self, CredentialError> {
        Self::from_secrets(&ProcessEnv, Arc::new(SystemClock))
    }

    /// `OPENAI_API_KEY`, sent as a bearer token. OpenAI's own clients read no other credential from the
    /// environment: a federation is set up in code or by configuration.
    ///
    /// # Errors
    /// `NotConfigured` if it is unset or blank.
    pub fn from_secrets(env: &dyn SecretSource, _clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        let key = set(env, "OPENAI_API_KEY").ok_or(CredentialError::NotConfigured)?;
        Ok(Self(Kept::Given(StaticTokenProvider::new(key.into()))))
    }

    /// Shares an HTTP client, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self(self.0.changed(|source| source.http = http))
    }
}

answers_from_its_cache!(OpenAiCredentialProvider);
