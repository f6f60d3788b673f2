//! The process's environment and files, and a token kept in a variable.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, CredentialSource, Issued, SecretSource};

/// No secret file is larger; a path to something endless must not fill the memory.
const LARGEST_FILE: u64 = 64 * 1024;

/// The environment and the files of this process: the only place in this crate that reads them.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnv;

impl SecretSource for ProcessEnv {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    /// The text of a file of at most 64 KiB.
    fn file(&self, path: &Path) -> io::Result<String> {
        text(path, LARGEST_FILE)
    }
}

fn text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if read as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} bytes")));
    }
    Ok(text)
}

/// Files of at most so many bytes, and no variables.
#[cfg(feature = "azure-auth")]
pub(crate) struct FilesUpTo(pub(crate) u64);

#[cfg(feature = "azure-auth")]
impl SecretSource for FilesUpTo {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        text(path, self.0)
    }
}

/// A bearer token in an environment variable. Not configured while the variable is unset or blank.
pub struct EnvSource {
    variable: String,
    environment: Arc<dyn SecretSource + Send + Sync>,
}

impl EnvSource {
    /// The variable of that name in `environment`, which outside of tests is [`ProcessEnv`].
    pub fn new(variable: impl Into<String>, environment: Arc<dyn SecretSource + Send + Sync>) -> Self {
        Self { variable: variable.into(), environment }
    }
}

impl fmt::Debug for EnvSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvSource").field("variable", &self.variable).finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialSource for EnvSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let token = set(&*self.environment, &self.variable).ok_or(CredentialError::NotConfigured)?;
        Ok(Issued::new(Credential::BearerToken(SecretString::from(token)), None))
    }
}

/// The variable's trimmed text; a blank one counts as unset.
pub(crate) fn set(environment: &dyn SecretSource, variable: &str) -> Option<String> {
    let text = environment.env(variable)?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The path in a variable. A secret that somebody put there instead of its file's path is not taken along: errors
/// name the files that cannot be read.
#[cfg(any(
    feature = "anthropic-auth",
    feature = "azure-auth",
    feature = "bedrock-auth",
    feature = "vertex-auth"
))]
pub(crate) fn path(environment: &dyn SecretSource, variable: &str) -> Option<std::path::PathBuf> {
    let text = set(environment, variable)?;
    let is_no_path = text.len() > 1_024 || text.starts_with("eyJ") || text.contains(['{', '\n', '\r']);
    Some(if is_no_path { format!("<{variable} holds no path>").into() } else { text.into() })
}

/// What was not set when the configuration was read.
#[derive(Debug)]
pub(crate) struct NotSet;

#[async_trait]
impl CredentialSource for NotSet {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        Err(CredentialError::NotConfigured)
    }
}
