//! A token of a service account's, for whoever may act as it
//! (<https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>).

use std::time::SystemTime;

use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, Issued, SecretSource};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::fields::Fields;
use super::hosts::{Service, universe};
use super::misconfigured::Misconfigured;
use super::{Call, Way};
use crate::IssuerError;
use crate::http::{Answer, Json};

const URL: &str = "service_account_impersonation_url";

/// All that the first token is used for.
const SCOPE: &str = "https://www.googleapis.com/auth/iam";

/// In seconds. More than an hour needs an organization's policy to allow it.
const LIFE: u64 = 3_600;
const LIVES: std::ops::RangeInclusive<u64> = 1..=43_200;

#[derive(Clone, Debug)]
pub(crate) struct Impersonation {
    target: Target,
    delegates: Vec<String>,
    seconds: u64,
    /// Who acts.
    actor: Box<Way>,
}

/// The service account to act as.
#[derive(Clone, Debug)]
pub(super) struct Target {
    url: Url,
    pub(super) email: String,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "accessToken")]
    access_token: SecretString,
    #[serde(rename = "expireTime")]
    expire_time: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the issuer's answer does not hold a service account's token")]
struct NotAToken;

impl Target {
    pub(super) fn parse(fields: &Fields<'_>, env: &dyn SecretSource) -> Result<Option<Self>, Misconfigured> {
        let Some(text) = fields.text(URL)? else { return Ok(None) };
        let url = Service::IamCredentials.url(URL, text, universe(fields, env)?)?;
        let last = url.path().rsplit('/').next().and_then(|last| last.strip_suffix(":generateAccessToken"));
        let email = last.filter(|email| !email.is_empty()).ok_or(Misconfigured::Wrong(URL))?.to_owned();
        Ok(Some(Self { url, email }))
    }
}

impl Impersonation {
    /// A file of the type `impersonated_service_account`.
    pub(super) fn parse(fields: &Fields<'_>, env: &dyn SecretSource) -> Result<Self, Misconfigured> {
        let target = Target::parse(fields, env)?.ok_or(Misconfigured::Missing(URL))?;
        let actor =
            fields.object("source_credentials")?.ok_or(Misconfigured::Missing("source_credentials"))?;
        if actor.text("type")? == Some("impersonated_service_account") {
            // It is `delegates` that make a chain.
            return Err(Misconfigured::Wrong("source_credentials"));
        }
        Self::new(target, Way::parse(&actor, env)?, fields.list("delegates")?, fields.number("lifetime")?)
    }

    pub(super) fn new(
        target: Target,
        actor: Way,
        delegates: Vec<String>,
        seconds: Option<u64>,
    ) -> Result<Self, Misconfigured> {
        let seconds = seconds.unwrap_or(LIFE);
        if !LIVES.contains(&seconds) {
            return Err(Misconfigured::Wrong("token_lifetime_seconds"));
        }
        let full = |name: String| {
            if name.contains('/') { name } else { format!("projects/-/serviceAccounts/{name}") }
        };
        let delegates = delegates.into_iter().map(full).collect();
        Ok(Self { target, delegates, seconds, actor: Box::new(actor) })
    }

    pub(super) async fn token(&self, call: &Call<'_>) -> Result<Issued, CredentialError> {
        let first = Call { scope: SCOPE, scope_is_chosen: false, ..*call };
        let Credential::BearerToken(actor) = Box::pin(self.actor.token(&first)).await?.credential else {
            return Err(CredentialError::Invalid(NotAToken.into()));
        };
        let scopes: Vec<Value> = call.scope.split_whitespace().map(Value::from).collect();
        let mut body = Json::default().field("scope", scopes).field("lifetime", format!("{}s", self.seconds));
        if !self.delegates.is_empty() {
            body = body.field("delegates", self.delegates.clone());
        }
        let request = call.http.post(&self.target.url).bearer(&actor).json(body).idempotent();
        let (token, ends) = granted(&request.send(call.now).await?)?;
        let issued = Issued::new(Credential::BearerToken(token), ends);
        Ok(issued.from_source("Google service account impersonation").for_subject(&self.target.email))
    }
}

fn granted(answer: &Answer) -> Result<(SecretString, SystemTime), CredentialError> {
    if !answer.status().is_success() {
        return Err(refusal(answer).classify(answer.retry_after()));
    }
    let reply: Option<Reply> = answer.json();
    let read = |reply: Reply| Some((reply.access_token, humantime::parse_rfc3339(&reply.expire_time).ok()?));
    reply.and_then(read).ok_or_else(|| CredentialError::Unavailable {
        retry_after: answer.retry_after(),
        source: NotAToken.into(),
    })
}

/// `{"error": {"status": "PERMISSION_DENIED", …}}` (<https://google.aip.dev/193>).
fn refusal(answer: &Answer) -> IssuerError {
    let body: Value = answer.json().unwrap_or_default();
    let is_code = |code: &&str| {
        (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let code = body.pointer("/error/status").and_then(Value::as_str).filter(is_code);
    IssuerError { status: answer.status(), error: code.map(str::to_owned), codes: Vec::new() }
}
