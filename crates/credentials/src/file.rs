//! A token kept in a file that somebody else renews.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{
    Clock, Credential, CredentialError, CredentialSource, Issued, SecretError, SecretRef, SecretSource,
};

use crate::ProcessEnv;

/// For so long what was read from a file is taken as true.
const TRUSTED_FOR: Duration = Duration::from_secs(60);

/// A bearer token in a file, such as a mounted secret.
///
/// [`Cached`](crate::Cached) reads the file again after half a minute of use, and at once after the
/// upstream refused the token: a changed file is noticed without watching it, and a deleted one stops
/// being honoured within a minute. Not configured while the file does not exist.
#[derive(Clone, Debug)]
pub struct FileSource {
    path: PathBuf,
    clock: Arc<dyn Clock>,
}

impl FileSource {
    /// The file at that path. It is read when a token is first asked for.
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { path: path.into(), clock }
    }
}

#[async_trait]
impl CredentialSource for FileSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let expires_at = Some(self.clock.now() + TRUSTED_FOR);
        let token = read(self.path.clone(), ProcessEnv).await?.map_err(unreadable)?;
        Ok(Issued::new(Credential::BearerToken(token), expires_at))
    }
}

fn unreadable(error: SecretError) -> CredentialError {
    match error {
        SecretError::NoFile { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            CredentialError::NotConfigured
        }
        other => CredentialError::Invalid(other.into()),
    }
}

/// Reads a token's file on a thread of its own: a hanging network file system must not stop the runtime's.
#[cfg(any(feature = "azure-auth", feature = "bedrock-auth", feature = "vertex-auth"))]
pub(crate) async fn read_token(path: &std::path::Path) -> Result<SecretString, CredentialError> {
    read(path.to_owned(), ProcessEnv).await?.map_err(|error| CredentialError::Invalid(error.into()))
}

/// The same for a file of at most so many bytes.
#[cfg(feature = "azure-auth")]
pub(crate) async fn read_small(
    path: &std::path::Path,
    most: u64,
) -> Result<Result<SecretString, SecretError>, CredentialError> {
    read(path.to_owned(), crate::env::FilesUpTo(most)).await
}

async fn read(
    path: PathBuf,
    files: impl SecretSource + Send + 'static,
) -> Result<Result<SecretString, SecretError>, CredentialError> {
    let secret = SecretRef::File(path);
    tokio::task::spawn_blocking(move || secret.resolve(&files))
        .await
        .map_err(|crashed| CredentialError::Unavailable { retry_after: None, source: crashed.into() })
}
