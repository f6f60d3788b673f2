//! Profiles of AWS's configuration files: keys, assumed roles, single sign-on, processes. Read and resolved by
//! AWS's own crate. <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, CredentialSource, Issued, SecretSource};
use tokio::sync::OnceCell;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use crate::ProcessEnv;
use crate::env::set;

/// A chain of roles and a slow process may take as long.
const LONGEST: Duration = Duration::from_secs(60);

/// The credentials of a profile. The files are read at every fetch.
///
/// AWS's crate reads the process's environment and files itself; what it logs is discarded, because it is not ours
/// to say that it holds no secret.
#[derive(Clone)]
pub struct AwsProfileSource {
    profile: Option<String>,
    files: Option<[PathBuf; 2]>,
    /// Its HTTP client is kept.
    shared: Arc<OnceCell<ProviderConfig>>,
}

/// Why a profile gave no credentials; AWS's own error can repeat what a process printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The files do not say how to get credentials, or say it wrongly.
    #[error("the profile does not say how to get credentials; `aws configure list` shows it")]
    Invalid,
    /// A role, a sign-on or a process refused, or did not answer.
    #[error("the profile's credentials could not be had; `aws sts get-caller-identity` says why")]
    Failed,
    /// They did not come within a minute.
    #[error("the profile's credentials did not come within {LONGEST:?}")]
    TooLate,
}

impl AwsProfileSource {
    /// The profile of that name; without one, of `AWS_PROFILE`, or `default`.
    pub fn new(profile: Option<String>) -> Self {
        Self { profile, files: None, shared: Arc::default() }
    }

    /// The profile of `AWS_PROFILE`, or `default`, in the files `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE`,
    /// or else in the folder `.aws` below `HOME` (`USERPROFILE` on Windows).
    ///
    /// # Errors
    /// `NotConfigured` if the environment names neither files nor a home.
    pub fn from_secrets(env: &dyn SecretSource) -> Result<Self, CredentialError> {
        let home = set(env, if cfg!(windows) { "USERPROFILE" } else { "HOME" });
        let file = |variable, name: &str| {
            let below_home = || Some(Path::new(home.as_ref()?).join(".aws").join(name));
            set(env, variable).map(PathBuf::from).or_else(below_home).ok_or(CredentialError::NotConfigured)
        };
        let config = file("AWS_CONFIG_FILE", "config")?;
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
        let profile = set(env, "AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
        Ok(Self::new(Some(profile)).with_files(config, credentials))
    }

    /// Reads these files instead of those that the environment names.
    #[must_use]
    pub fn with_files(self, config: impl Into<PathBuf>, credentials: impl Into<PathBuf>) -> Self {
        Self { files: Some([config.into(), credentials.into()]), ..self }
    }

    async fn provider(&self) -> Result<ProfileFileCredentialsProvider, CredentialError> {
        let shared = self.shared.get_or_init(ProviderConfig::with_default_region).await;
        let mut builder = ProfileFileCredentialsProvider::builder().configure(shared);
        if let Some(name) = &self.profile {
            builder = builder.profile_name(name);
        }
        if let Some([config, credentials]) = &self.files {
            let files = EnvConfigFiles::builder()
                .with_contents(EnvConfigFileKind::Config, read_or_empty(config).await?)
                .with_contents(EnvConfigFileKind::Credentials, read_or_empty(credentials).await?);
            builder = builder.profile_files(files.build());
        }
        Ok(builder.build())
    }
}

/// Either file may be missing.
async fn read_or_empty(path: &Path) -> Result<String, CredentialError> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || ProcessEnv.file(&path)).await;
    match read
        .map_err(|crashed| CredentialError::Unavailable { retry_after: None, source: crashed.into() })?
    {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|error| CredentialError::Invalid(error.into())),
    }
}

impl fmt::Debug for AwsProfileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsProfileSource").field("profile", &self.profile).finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialSource for AwsProfileSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let asked = async {
            let provider = self.provider().await?;
            Ok::<_, CredentialError>(provider.provide_credentials().await)
        };
        let found = tokio::time::timeout(LONGEST, asked).with_subscriber(Dispatch::none()).await;
        let unavailable =
            |why: ProfileError| CredentialError::Unavailable { retry_after: None, source: why.into() };
        let keys = found.map_err(|_| unavailable(ProfileError::TooLate))??.map_err(|error| match error {
            CredentialsError::CredentialsNotLoaded(_) => CredentialError::NotConfigured,
            CredentialsError::InvalidConfiguration(_) => {
                CredentialError::Invalid(ProfileError::Invalid.into())
            }
            _ => unavailable(ProfileError::Failed),
        })?;
        let credential = Credential::AwsCredentials {
            access_key_id: SecretString::from(keys.access_key_id()),
            secret_access_key: SecretString::from(keys.secret_access_key()),
            session_token: keys.session_token().map(SecretString::from),
        };
        let name =
            self.profile.as_deref().map_or("AWS profile".to_owned(), |name| format!("AWS profile {name}"));
        let mut issued = Issued::new(credential, keys.expiry()).from_source(name);
        issued.subject = keys.account_id().map(|account| format!("account {}", account.as_str()));
        Ok(issued)
    }
}
