//! Anthropic's credential as the environment says.

use std::sync::Arc;

use ::http::HeaderName;
use async_trait::async_trait;
use portunus_auth_core::{Clock, CredentialError, CredentialSource, SecretSource, SystemClock};

use super::{AnthropicSource, profile};
use crate::env::{path, set};
use crate::http::Http;
use crate::kept::Kept;
use crate::{Cached, IdentityTokenFile, ProcessEnv, StaticTokenProvider};

const RULE: &str = "ANTHROPIC_FEDERATION_RULE_ID";
const ORGANIZATION: &str = "ANTHROPIC_ORGANIZATION_ID";
const TOKEN_FILE: &str = "ANTHROPIC_IDENTITY_TOKEN_FILE";
const TOKEN: &str = "ANTHROPIC_IDENTITY_TOKEN";

/// A credential for Anthropic's API: an API key, a token, or an access token by workload identity
/// federation, kept and renewed before it ends.
///
/// Clones share what is held. `with_http` begins anew: use it before the first call.
#[derive(Clone, Debug)]
pub struct AnthropicCredentialProvider(Kept<AnthropicSource>);

#[derive(Debug, thiserror::Error)]
#[error("`{RULE}` is set, but these are not: `{}`", .0.join("`, `"))]
struct Missing(Vec<&'static str>);

impl AnthropicCredentialProvider {
    /// By workload identity federation.
    pub fn new(source: AnthropicSource) -> Self {
        let clock = source.clock();
        Self(Kept::Issued(Cached::new(source, clock)))
    }

    /// As the process's environment says; see [`from_secrets`](Self::from_secrets).
    ///
    /// # Errors
    /// As [`from_secrets`](Self::from_secrets).
    pub fn from_env() -> Result<Self, CredentialError> {
        Self::from_secrets(&ProcessEnv, Arc::new(SystemClock))
    }

    /// In this order, which is that of Anthropic's own clients:
    ///
    /// 1. `ANTHROPIC_API_KEY`, sent as `x-api-key`;
    /// 2. `ANTHROPIC_AUTH_TOKEN`, a static bearer token;
    /// 3. the profile that `ANTHROPIC_PROFILE` names;
    /// 4. workload identity federation by `ANTHROPIC_FEDERATION_RULE_ID`, `ANTHROPIC_ORGANIZATION_ID`, and
    ///    `ANTHROPIC_IDENTITY_TOKEN_FILE` (read at every exchange) or else `ANTHROPIC_IDENTITY_TOKEN`, with
    ///    `ANTHROPIC_SERVICE_ACCOUNT_ID`, `ANTHROPIC_WORKSPACE_ID` and `ANTHROPIC_BASE_URL` if they are set;
    /// 5. the active profile.
    ///
    /// A profile is `configs/NAME.json` in `ANTHROPIC_CONFIG_DIR` or in `~/.config/anthropic`; the active
    /// one is named in `active_config` there, or is `default`. A blank variable counts as unset.
    ///
    /// # Errors
    /// `NotConfigured` if there is none of these; `Invalid` if the first that there is cannot be used, as
    /// with a profile of an interactive login (`user_oauth`).
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        Ok(match find(env, &clock)? {
            Found::Given(given) => Self(Kept::Given(given)),
            Found::Federation(source) => Self::new(source),
        })
    }

    /// Shares an HTTP client, or sets other time limits.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self(self.0.changed(|source| source.http = http))
    }
}

enum Found {
    Given(StaticTokenProvider),
    Federation(AnthropicSource),
}

fn find(env: &dyn SecretSource, clock: &Arc<dyn Clock>) -> Result<Found, CredentialError> {
    if let Some(key) = set(env, "ANTHROPIC_API_KEY") {
        let header = HeaderName::from_static("x-api-key");
        return Ok(Found::Given(StaticTokenProvider::api_key(header, key.into())));
    }
    if let Some(token) = set(env, "ANTHROPIC_AUTH_TOKEN") {
        return Ok(Found::Given(StaticTokenProvider::new(token.into())));
    }
    if let Some(name) = set(env, profile::NAME) {
        return profile::load(&name, env, clock).map(Found::Federation);
    }
    let source = match federation(env, clock) {
        Ok((rule, organization, identity)) => {
            AnthropicSource::new(rule, organization, identity, clock.clone()).completed(
                set(env, "ANTHROPIC_SERVICE_ACCOUNT_ID"),
                set(env, "ANTHROPIC_WORKSPACE_ID"),
                set(env, "ANTHROPIC_BASE_URL"),
            )?
        }
        // What is only half said may fill what a profile leaves open.
        Err(incomplete) => profile::active(env, clock)?.ok_or(incomplete)?,
    };
    Ok(Found::Federation(source))
}

/// What the environment says, as a source.
pub(crate) fn found(
    env: &dyn SecretSource,
    clock: &Arc<dyn Clock>,
) -> Result<Box<dyn CredentialSource>, CredentialError> {
    Ok(match find(env, clock)? {
        Found::Given(given) => Box::new(given),
        Found::Federation(source) => Box::new(source),
    })
}

type Federation = (String, String, Box<dyn CredentialSource>);

/// The rule, the organisation and the identity.
fn federation(env: &dyn SecretSource, clock: &Arc<dyn Clock>) -> Result<Federation, CredentialError> {
    let rule = set(env, RULE).ok_or(CredentialError::NotConfigured)?;
    match (set(env, ORGANIZATION), identity(env, clock)) {
        (Some(organization), Some(identity)) => Ok((rule, organization, identity)),
        (organization, identity) => {
            let names = [(ORGANIZATION, organization.is_none()), (TOKEN_FILE, identity.is_none())];
            let missing = names.iter().filter(|(_, is_missing)| *is_missing).map(|(name, _)| *name).collect();
            Err(CredentialError::Invalid(Missing(missing).into()))
        }
    }
}

/// The identity token's file, or else the identity token.
pub(super) fn identity(env: &dyn SecretSource, clock: &Arc<dyn Clock>) -> Option<Box<dyn CredentialSource>> {
    match (path(env, TOKEN_FILE), set(env, TOKEN)) {
        (Some(path), _) => Some(Box::new(IdentityTokenFile::new(path, clock.clone()))),
        (None, Some(token)) => Some(Box::new(StaticTokenProvider::new(token.into()))),
        (None, None) => None,
    }
}

answers_from_its_cache!(AnthropicCredentialProvider);
