//! A GitHub Actions job's identity.
//! <https://docs.github.com/en/actions/reference/security/oidc>

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{
    Clock, Credential, CredentialError, CredentialSource, Issued, SecretSource, SystemClock,
};
use serde::Deserialize;
use url::Url;

use super::claims::Claims;
use crate::env::set;
use crate::http::Http;
use crate::{IssuerError, ProcessEnv};

const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// Assumed where a token does not say when it ends.
const UNSTATED_LIFE: Duration = Duration::from_secs(60);

/// A new identity token of this job at every fetch, for one audience.
#[derive(Clone)]
pub struct GitHubActionsSource {
    url: Url,
    token: SecretString,
    http: Http,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, thiserror::Error)]
enum Misconfigured {
    #[error(
        "the job may not ask for identity tokens (`{URL}` and `{TOKEN}` are not both set): give it `permissions: id-token: write`"
    )]
    Permission,
    #[error("`{URL}` is not a URL")]
    Address,
}

#[derive(Debug, thiserror::Error)]
#[error("the runner's answer holds no identity token")]
struct NotAToken;

#[derive(Deserialize)]
struct Reply {
    value: SecretString,
}

impl fmt::Debug for GitHubActionsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHubActionsSource").finish_non_exhaustive()
    }
}

impl GitHubActionsSource {
    /// As the process's environment says; see [`from_secrets`](Self::from_secrets).
    ///
    /// # Errors
    /// `NotConfigured` outside of GitHub Actions, `Invalid` in a job that may not ask.
    pub fn from_env(audience: &str) -> Result<Self, CredentialError> {
        Self::from_secrets(&ProcessEnv, audience, Arc::new(SystemClock))
    }

    /// The job that `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN` belong to. The
    /// audience is whom the token is for, such as `https://api.anthropic.com`.
    ///
    /// # Errors
    /// `NotConfigured` outside of GitHub Actions; `Invalid` if the job (`GITHUB_ACTIONS` is `true`, or one
    /// of the variables is set) lacks `permissions: id-token: write`.
    pub fn from_secrets(
        env: &dyn SecretSource,
        audience: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialError> {
        let invalid = |why: Misconfigured| CredentialError::Invalid(why.into());
        let (url, token) = match (set(env, URL), set(env, TOKEN)) {
            (Some(url), Some(token)) => (url, token),
            (None, None) if set(env, "GITHUB_ACTIONS").is_none_or(|value| value != "true") => {
                return Err(CredentialError::NotConfigured);
            }
            _ => return Err(invalid(Misconfigured::Permission)),
        };
        let mut url = Url::parse(&url).map_err(|_| invalid(Misconfigured::Address))?;
        url.query_pairs_mut().append_pair("audience", audience);
        Ok(Self { url, token: token.into(), http: Http::default(), clock })
    }

    /// Shares an HTTP client, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }
}

#[async_trait]
impl CredentialSource for GitHubActionsSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let now = self.clock.now();
        let answer = self.http.get(&self.url).bearer(&self.token).idempotent().send(now).await?;
        if !answer.status().is_success() {
            let refused = IssuerError { status: answer.status(), error: None, codes: Vec::new() };
            return Err(refused.classify(answer.retry_after()));
        }
        let reply: Reply = answer
            .json()
            .ok_or_else(|| CredentialError::Unavailable { retry_after: None, source: NotAToken.into() })?;
        let claims = Claims::of(&reply.value);
        let expires_at = claims.as_ref().and_then(Claims::expires_at).unwrap_or(now + UNSTATED_LIFE);
        let subject = claims.as_ref().and_then(Claims::subject).map(str::to_owned);
        let mut issued = Issued::new(Credential::BearerToken(reply.value), expires_at);
        issued.subject = subject;
        Ok(issued.from_source("GitHub Actions"))
    }
}
