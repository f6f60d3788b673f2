//! Keys for a container: ECS, and EKS Pod Identity.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ::http::header::AUTHORIZATION;
use async_trait::async_trait;
use portunus_auth_core::endpoint::is_loopback;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Clock, CredentialError, CredentialSource, Issued, SecretSource};
use url::{Host, Url};

use super::document::{keys, refusal};
use crate::env::{path, set};
use crate::file::read_token;
use crate::http::Http;

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// Where ECS answers.
const ECS: &str = "http://169.254.170.2";
/// Besides this machine, plain text goes only to ECS and to the agent of EKS.
const PLAIN: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// Asks the container's credential service. A token file is read at every fetch.
///
/// `Debug` shows the host only: on ECS, whoever knows the path gets the keys.
#[derive(Clone)]
pub struct ContainerSource {
    url: Url,
    authorization: Option<Authorization>,
    pub(super) http: Http,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
enum Authorization {
    Token(SecretString),
    File(PathBuf),
}

#[derive(Debug, thiserror::Error)]
enum Misconfigured {
    #[error("`{RELATIVE}` must begin with a `/`")]
    Path,
    #[error("`{FULL}` is not the URL of a host")]
    Address,
    #[error(
        "`{FULL}` must be https without a user name, or lead to this machine, 169.254.170.2, 169.254.170.23 or [fd00:ec2::23]"
    )]
    InPlainText,
}

impl fmt::Debug for ContainerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerSource").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl From<Misconfigured> for CredentialError {
    fn from(why: Misconfigured) -> Self {
        Self::Invalid(why.into())
    }
}

impl ContainerSource {
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`, a path at ECS's address, or
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`; authorised by `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, or else
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    ///
    /// # Errors
    /// `NotConfigured` if neither address is set, `Invalid` if it may not be asked.
    pub fn from_secrets(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        let url = match (set(env, RELATIVE), set(env, FULL)) {
            (Some(path), _) if path.starts_with('/') => {
                Url::parse(&format!("{ECS}{path}")).map_err(|_| Misconfigured::Path)?
            }
            (Some(_), _) => return Err(Misconfigured::Path.into()),
            (None, Some(url)) => allowed(&url)?,
            (None, None) => return Err(CredentialError::NotConfigured),
        };
        let file = path(env, TOKEN_FILE).map(Authorization::File);
        let authorization = file.or_else(|| set(env, TOKEN).map(|token| Authorization::Token(token.into())));
        Ok(Self { url, authorization, http: Http::for_metadata(), clock })
    }

    /// The address that is asked.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Shares an HTTP client, or sets other time limits. Only [`Http::for_metadata`] may ask in plain text.
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }
}

fn allowed(url: &str) -> Result<Url, Misconfigured> {
    let url = Url::parse(url).map_err(|_| Misconfigured::Address)?;
    let host = url.host().map(|host: Host<&str>| host.to_string()).ok_or(Misconfigured::Address)?;
    let plain = url.scheme() == "http" && (is_loopback(&url) || PLAIN.contains(&host.as_str()));
    let bare = url.username().is_empty() && url.password().is_none();
    if bare && (plain || url.scheme() == "https") { Ok(url) } else { Err(Misconfigured::InPlainText) }
}

#[async_trait]
impl CredentialSource for ContainerSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let request = self.http.get(&self.url).idempotent();
        let request = match &self.authorization {
            None => request,
            Some(Authorization::Token(token)) => request.secret_header(AUTHORIZATION, token),
            Some(Authorization::File(file)) => request.secret_header(AUTHORIZATION, &read_token(file).await?),
        };
        let answer = request.send(self.clock.now()).await?;
        if !answer.status().is_success() {
            return Err(refusal(&answer));
        }
        Ok(keys(&answer)?.from_source("container credentials"))
    }
}
