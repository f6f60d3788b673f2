//! A workload's identity token, exchanged for an access token of Anthropic (RFC 7523 section 2.1).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::http::{HeaderName, HeaderValue};
use async_trait::async_trait;
use portunus_auth_core::{Clock, CompanionHeader, Credential, CredentialError, CredentialSource, Issued};
use url::Url;

use crate::IssuerError;
use crate::http::{Http, HttpError, Json, allowed};
use crate::identity::{Assertion, Exchange, exchanged, living};

const BASE_URL: &str = "https://api.anthropic.com";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Without it, the API takes no access token.
const OAUTH: &str = "oauth-2025-04-20";
/// With the federation's own flag, which belongs to this one exchange and to nothing else.
const EXCHANGE: &str = "oauth-2025-04-20,oidc-federation-2026-04-01";

const BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// Exchanges a workload's identity token for an access token of Anthropic.
///
/// The credential is a bearer token with `anthropic-beta: oauth-2025-04-20`; no API key goes beside it.
/// The identity is asked for a token at every exchange. One with a `jti` is good for one exchange: have
/// it issued anew each time, as [`GitHubActionsSource`](crate::GitHubActionsSource) does, or switch the
/// issuer's `check_jti` off.
#[derive(Clone)]
pub struct AnthropicSource {
    base_url: String,
    federation_rule_id: String,
    organization_id: String,
    service_account_id: Option<String>,
    workspace_id: Option<String>,
    identity: Arc<dyn CredentialSource>,
    pub(super) http: Http,
    clock: Arc<dyn Clock>,
}

/// Anthropic refused an identity token, and does not say why.
#[derive(Debug, thiserror::Error)]
#[error(
    "Anthropic refused the identity token: its issuer, audience and claims have to fit the federation rule, one with a `jti` is good for one exchange, and a rule for several workspaces needs a `workspace_id`; the Console's authentication history has the reason"
)]
pub struct AnthropicRefusal(#[source] IssuerError);

#[derive(Debug, thiserror::Error)]
#[error("Anthropic's base URL must be an https:// address without user name, query and fragment")]
struct BaseUrl(#[source] Option<HttpError>);

impl fmt::Debug for AnthropicSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnthropicSource")
            .field("federation_rule_id", &self.federation_rule_id)
            .field("organization_id", &self.organization_id)
            .field("service_account_id", &self.service_account_id)
            .field("workspace_id", &self.workspace_id)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl AnthropicSource {
    /// By that federation rule (`fdrl_…`) of that organisation (a UUID), with that identity: any source of
    /// bearer tokens that are JWTs for the rule's audience.
    pub fn new(
        federation_rule_id: impl Into<String>,
        organization_id: impl Into<String>,
        identity: impl CredentialSource,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            base_url: BASE_URL.to_owned(),
            federation_rule_id: federation_rule_id.into(),
            organization_id: organization_id.into(),
            service_account_id: None,
            workspace_id: None,
            identity: Arc::new(identity),
            http: Http::default(),
            clock,
        }
    }

    /// The service account that the token acts as (`svac_…`).
    #[must_use]
    pub fn with_service_account(self, id: impl Into<String>) -> Self {
        Self { service_account_id: Some(id.into()), ..self }
    }

    /// The workspace that the token is for (`wrkspc_…`, or `default`), where the rule has several.
    #[must_use]
    pub fn with_workspace(self, id: impl Into<String>) -> Self {
        Self { workspace_id: Some(id.into()), ..self }
    }

    /// Another deployment of the API; a token is good only at the one that issued it.
    #[must_use]
    pub fn with_base_url(self, base_url: Url) -> Self {
        Self { base_url: base_url.into(), ..self }
    }

    /// Shares an HTTP client, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }

    /// What a configuration says beside the necessary.
    pub(crate) fn completed(
        self,
        service_account_id: Option<String>,
        workspace_id: Option<String>,
        base_url: Option<String>,
    ) -> Result<Self, CredentialError> {
        let base_url = base_url.unwrap_or(self.base_url);
        let source = Self { base_url, service_account_id, workspace_id, ..self };
        source.token_url()?;
        Ok(source)
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn token_url(&self) -> Result<Url, CredentialError> {
        let wrong = |why| CredentialError::Invalid(BaseUrl(why).into());
        let mut url = Url::parse(&self.base_url).map_err(|_| wrong(None))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(None));
        }
        url.path_segments_mut().map_err(|()| wrong(None))?.pop_if_empty().extend(["v1", "oauth", "token"]);
        allowed(&url).map_err(|why| wrong(Some(why)))?;
        Ok(url)
    }
}

fn classify(error: IssuerError, retry_after: Option<Duration>) -> CredentialError {
    match error.clone().classify(retry_after) {
        CredentialError::Rejected(_) => CredentialError::Rejected(AnthropicRefusal(error).into()),
        general => general,
    }
}

#[async_trait]
impl Exchange for AnthropicSource {
    async fn exchange(&self, assertion: &Assertion, asked: SystemTime) -> Result<Issued, CredentialError> {
        let body = Json::default()
            .field("grant_type", JWT_BEARER)
            .secret("assertion", assertion.token())
            .field("federation_rule_id", &*self.federation_rule_id)
            .field("organization_id", &*self.organization_id);
        let body = match &self.service_account_id {
            Some(id) => body.field("service_account_id", &**id),
            None => body,
        };
        let body = match &self.workspace_id {
            Some(id) => body.field("workspace_id", &**id),
            None => body,
        };
        let request = self.http.post(&self.token_url()?).header(BETA, EXCHANGE).json(body);
        // A named token may be spent although the answer was lost.
        let request = if assertion.is_named { request } else { request.idempotent() };
        let token = living(request.send(asked).await?.token_or(classify)?)?;
        let credential = Credential::BearerTokenWith {
            token: token.access_token,
            headers: vec![CompanionHeader {
                name: BETA,
                value: HeaderValue::from_static(OAUTH),
                is_element: true,
            }],
        };
        Ok(Issued::new(credential, asked + token.expires_in)
            .from_source("Anthropic workload identity federation")
            .for_subject(self.service_account_id.as_ref().unwrap_or(&self.federation_rule_id)))
    }
}

#[async_trait]
impl CredentialSource for AnthropicSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        exchanged(self, &*self.identity, self.clock.now()).await
    }
}
