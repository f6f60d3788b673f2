//! Profiles: files in which Anthropic's own clients keep how to sign in.
//! <https://platform.claude.com/docs/en/manage-claude/wif-reference#profile-configuration-file>

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portunus_auth_core::{Clock, CredentialError, CredentialSource, SecretSource};
use serde::Deserialize;

use super::{AnthropicSource, provider};
use crate::IdentityTokenFile;
use crate::env::set;

pub(super) const NAME: &str = "ANTHROPIC_PROFILE";
const FOLDER: &str = "ANTHROPIC_CONFIG_DIR";

#[derive(Deserialize)]
struct Profile {
    authentication: Authentication,
    organization_id: Option<String>,
    workspace_id: Option<String>,
    base_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Authentication {
    OidcFederation {
        federation_rule_id: Option<String>,
        service_account_id: Option<String>,
        identity_token: Option<IdentityToken>,
    },
    UserOauth {},
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
enum IdentityToken {
    File {
        path: PathBuf,
    },
    #[serde(other)]
    Unknown,
}

/// Why a profile cannot be used. A person must act.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("a profile's name is a file's name, without `/`, `\\` and a dot at its beginning")]
    Name,
    #[error("there is no folder of profiles: set `{FOLDER}`, or `HOME`")]
    NoFolder,
    #[error("the profile `{}` cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    #[error("the profile `{}` is not the JSON object that a profile is", .0.display())]
    NotAProfile(PathBuf),
    #[error(
        "the profile `{}` is an interactive login, which only Anthropic's own clients use: choose a federation profile, or set `ANTHROPIC_API_KEY`",
        .0.display()
    )]
    Login(PathBuf),
    #[error("the profile `{}` asks for a kind of `{}` that is not known here", .0.display(), .1)]
    Unknown(PathBuf, &'static str),
    #[error("the profile `{}` lacks `{}`", .0.display(), .1)]
    Lacks(PathBuf, &'static str),
}

impl From<Unusable> for CredentialError {
    fn from(why: Unusable) -> Self {
        Self::Invalid(why.into())
    }
}

/// The profile of that name.
pub(super) fn load(
    name: &str,
    env: &dyn SecretSource,
    clock: &Arc<dyn Clock>,
) -> Result<AnthropicSource, CredentialError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        return Err(Unusable::Name.into());
    }
    let path = folder(env).ok_or(Unusable::NoFolder)?.join("configs").join(format!("{name}.json"));
    let text = env.file(&path).map_err(|why| Unusable::Unreadable(path.clone(), why))?;
    // The parser's error would quote the file.
    let profile = serde_json::from_str(&text).map_err(|_| Unusable::NotAProfile(path.clone()))?;
    source(profile, &path, env, clock)
}

/// The active profile, if there is one. Whoever chose it, or the folder, learns what is wrong with it; one
/// that merely lies there does not disturb.
pub(super) fn active(
    env: &dyn SecretSource,
    clock: &Arc<dyn Clock>,
) -> Result<Option<AnthropicSource>, CredentialError> {
    let Some(folder) = folder(env) else { return Ok(None) };
    let pointer = env.file(&folder.join("active_config")).unwrap_or_default();
    let chosen = Some(pointer.trim()).filter(|name| !name.is_empty());
    match load(chosen.unwrap_or("default"), env, clock) {
        Ok(source) => Ok(Some(source)),
        Err(error) if chosen.is_some() || set(env, FOLDER).is_some() => Err(error),
        Err(_) => Ok(None),
    }
}

fn folder(env: &dyn SecretSource) -> Option<PathBuf> {
    if let Some(folder) = set(env, FOLDER) {
        return Some(folder.into());
    }
    if cfg!(windows) {
        return set(env, "APPDATA").map(|folder| Path::new(&folder).join("Anthropic"));
    }
    set(env, "HOME").map(|home| Path::new(&home).join(".config/anthropic"))
}

fn source(
    profile: Profile,
    path: &Path,
    env: &dyn SecretSource,
    clock: &Arc<dyn Clock>,
) -> Result<AnthropicSource, CredentialError> {
    let here = || path.to_owned();
    // The environment fills what the profile leaves open.
    let or =
        |stated: Option<String>, variable| stated.filter(|s| !s.is_empty()).or_else(|| set(env, variable));
    let Authentication::OidcFederation { federation_rule_id, service_account_id, identity_token } =
        profile.authentication
    else {
        let is_login = matches!(profile.authentication, Authentication::UserOauth {});
        let why =
            if is_login { Unusable::Login(here()) } else { Unusable::Unknown(here(), "authentication") };
        return Err(why.into());
    };
    let identity: Box<dyn CredentialSource> = match identity_token {
        Some(IdentityToken::File { path }) => Box::new(IdentityTokenFile::new(path, clock.clone())),
        Some(IdentityToken::Unknown) => return Err(Unusable::Unknown(here(), "identity_token").into()),
        None => provider::identity(env, clock).ok_or_else(|| Unusable::Lacks(here(), "identity_token"))?,
    };
    let rule = or(federation_rule_id, "ANTHROPIC_FEDERATION_RULE_ID");
    let rule = rule.ok_or_else(|| Unusable::Lacks(here(), "federation_rule_id"))?;
    let organization = or(profile.organization_id, "ANTHROPIC_ORGANIZATION_ID");
    let organization = organization.ok_or_else(|| Unusable::Lacks(here(), "organization_id"))?;
    AnthropicSource::new(rule, organization, identity, clock.clone()).completed(
        or(service_account_id, "ANTHROPIC_SERVICE_ACCOUNT_ID"),
        or(profile.workspace_id, "ANTHROPIC_WORKSPACE_ID"),
        or(profile.base_url, "ANTHROPIC_BASE_URL"),
    )
}
