//! Profiles of AWS's configuration files: keys, assumed roles, single sign-on, processes. Read and resolved by
//! AWS's own crate. <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use std::error::Error as _;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::Region;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, CredentialSource, Issued, SecretSource};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::connector::Connector;
use crate::ProcessEnv;
use crate::env::set;
use crate::http::Http;

/// A chain of roles and a slow process may take as long.
const LONGEST: Duration = Duration::from_secs(60);

/// The credentials of a profile. The files are read at every fetch.
///
/// AWS's crate reads the process's environment and files itself, and reaches its services through [`Http`]; what it
/// logs is discarded, because it is not ours to say that it holds no secret.
#[derive(Clone)]
pub struct AwsProfileSource {
    profile: Option<String>,
    /// Somebody chose it; it is not just the usual one.
    is_named: bool,
    files: Option<[PathBuf; 2]>,
    /// Of the environment; before the profile's.
    region: Option<String>,
    http: Http,
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
    /// The profile of that name; without one, of `AWS_PROFILE`, or `default`. One that is named has to be there.
    pub fn new(profile: Option<String>) -> Self {
        let is_named = profile.is_some();
        Self { profile, is_named, files: None, region: None, http: Http::default().reaching_metadata() }
    }

    /// The profile of `AWS_PROFILE`, or `default`, in the files `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE`,
    /// or else in the folder `.aws` below `HOME` (`USERPROFILE` on Windows). The region in `AWS_REGION`, then
    /// `AWS_DEFAULT_REGION`, goes before the profile's; without any it is `us-east-1`. Only the profile of
    /// `AWS_PROFILE` has to be there.
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
        let named = set(env, "AWS_PROFILE");
        let (is_named, profile) = (named.is_some(), named.unwrap_or_else(|| "default".to_owned()));
        let region = set(env, "AWS_REGION").or_else(|| set(env, "AWS_DEFAULT_REGION"));
        let source = Self::new(Some(profile)).with_files(config, credentials);
        Ok(Self { is_named, region, ..source })
    }

    /// Reads these files instead of those that the environment names.
    #[must_use]
    pub fn with_files(self, config: impl Into<PathBuf>, credentials: impl Into<PathBuf>) -> Self {
        Self { files: Some([config.into(), credentials.into()]), ..self }
    }

    /// Shares an HTTP client, or sets other time limits. Only [`Http::for_metadata`] may ask a metadata service in
    /// plain text.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }

    async fn provider(&self) -> Result<ProfileFileCredentialsProvider, CredentialError> {
        let mut config = ProviderConfig::without_region().with_http_client(Connector(self.http.clone()));
        let mut region = ProfileFileRegionProvider::builder().configure(&config);
        let mut keys = ProfileFileCredentialsProvider::builder();
        if let Some(name) = &self.profile {
            (region, keys) = (region.profile_name(name), keys.profile_name(name));
        }
        if let Some([config, credentials]) = &self.files {
            let files = EnvConfigFiles::builder()
                .with_contents(EnvConfigFileKind::Config, read_or_empty(config).await?)
                .with_contents(EnvConfigFileKind::Credentials, read_or_empty(credentials).await?)
                .build();
            (region, keys) = (region.profile_files(files.clone()), keys.profile_files(files));
        }
        let region = RegionProviderChain::first_try(self.region.clone().map(Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(region.build())
            .or_else("us-east-1");
        config = config.with_region(region.region().await);
        Ok(keys.configure(&config).build())
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
        let keys = found.map_err(|_| unavailable(ProfileError::TooLate))??.map_err(|error| match &error {
            // A profile that was asked for by its name, and is not there or gives something else: whoever comes next
            // in a chain is not meant.
            CredentialsError::CredentialsNotLoaded(_) if self.is_named && error.source().is_some() => {
                CredentialError::Invalid(ProfileError::Invalid.into())
            }
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
