//! The agent of Azure Arc has a program prove that it may read a file that only some users can.
//! <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>

use std::path::Path;
use std::time::SystemTime;

use ::http::StatusCode;
use ::http::header::WWW_AUTHENTICATE;
use portunus_auth_core::{CredentialError, SecretError};

use crate::file::read_small;
use crate::http::{Answer, Request};

/// A key of the agent is not larger.
const LARGEST_KEY: u64 = 4096;

#[derive(Debug, thiserror::Error)]
enum ArcError {
    #[error("the agent of Azure Arc named no key file: something else answers in its place")]
    NoChallenge,
    #[error("the agent of Azure Arc named a key file that is not its own, a `.key` file in its folder")]
    NotItsOwn,
    #[error("the key of Azure Arc's agent cannot be read; the program's user has to be in the group `himds`")]
    Unreadable(#[source] SecretError),
}

impl From<ArcError> for CredentialError {
    fn from(why: ArcError) -> Self {
        Self::Invalid(why.into())
    }
}

/// Asks, is told which file to read, and asks again with what is in it.
pub(super) async fn ask(
    request: impl Fn() -> Request,
    keys: &Path,
    now: SystemTime,
) -> Result<Answer, CredentialError> {
    let challenge = request().idempotent().send(now).await?;
    match challenge.status() {
        StatusCode::UNAUTHORIZED => {}
        status if status.is_success() => return Err(ArcError::NoChallenge.into()),
        _ => return Ok(challenge),
    }
    let path = realm(challenge.header(WWW_AUTHENTICATE)).ok_or(ArcError::NoChallenge)?;
    // Whoever answers in the agent's place must not be able to have another file sent to it.
    if path.parent() != Some(keys) || path.extension().is_none_or(|end| end != "key") {
        return Err(ArcError::NotItsOwn.into());
    }
    let key = read_small(path, LARGEST_KEY).await?.map_err(ArcError::Unreadable)?;
    // A key is good for one answer.
    request().authorization("Basic", &key).send(now).await
}

/// `Basic realm=PATH`; other servers quote the path.
fn realm(challenge: Option<&str>) -> Option<&Path> {
    let (scheme, realm) = challenge?.split_once('=')?;
    let realm = realm.trim().trim_matches('"');
    (scheme.eq_ignore_ascii_case("basic realm") && !realm.is_empty()).then(|| Path::new(realm))
}
