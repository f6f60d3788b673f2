//! Application Default Credentials: where to look (<https://google.aip.dev/auth/4110>).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use portunus_auth_core::SecretSource;
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use serde_json::Value;

use super::Way;
use super::metadata::Metadata;
use super::misconfigured::Misconfigured;
use crate::env::{path, set};

const EXPLICIT: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const WELL_KNOWN: &str = "application_default_credentials.json";

/// A credentials file, as far as it does not depend on how it is used.
pub(super) struct Found {
    pub(super) way: Way,
    pub(super) quota_project: Option<String>,
}

/// The file that a variable names; else the one that `gcloud` keeps; else the metadata server.
pub(super) fn find(env: &dyn SecretSource) -> Result<Found, Misconfigured> {
    if let Some(path) = path(env, EXPLICIT) {
        return read(&path, env);
    }
    if let Some(path) = well_known(env) {
        match read(&path, env) {
            Err(Misconfigured::Unreadable { source, .. })
                if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            found => return found,
        }
    }
    Ok(Found { way: Way::Metadata(Metadata::from_secrets(env)?), quota_project: None })
}

/// Any credentials file.
pub(super) fn read(path: &Path, env: &dyn SecretSource) -> Result<Found, Misconfigured> {
    let text = env.file(path).map_err(|source| Misconfigured::Unreadable { path: path.into(), source })?;
    parse_secret(&text.into(), env)
}

/// The text of any credentials file.
pub(super) fn parse_secret(json: &SecretString, env: &dyn SecretSource) -> Result<Found, Misconfigured> {
    // The parser's error would quote the file.
    let value: Value = serde_json::from_str(json.expose_secret()).map_err(|_| Misconfigured::NotJson)?;
    parse(&value, env)
}

/// The content of any credentials file.
pub(super) fn parse(value: &Value, env: &dyn SecretSource) -> Result<Found, Misconfigured> {
    let fields = super::fields::Fields::of(value)?;
    let quota_project = fields.text("quota_project_id")?.map(str::to_owned);
    Ok(Found { way: Way::parse(&fields, env)?, quota_project })
}

fn well_known(env: &dyn SecretSource) -> Option<PathBuf> {
    let folder = if let Some(folder) = set(env, "CLOUDSDK_CONFIG") {
        PathBuf::from(folder)
    } else if cfg!(windows) {
        PathBuf::from(set(env, "APPDATA")?).join("gcloud")
    } else {
        PathBuf::from(set(env, "HOME")?).join(".config/gcloud")
    };
    Some(folder.join(WELL_KNOWN))
}
