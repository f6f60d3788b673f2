//! An identity token in a file that its platform replaces, such as a Kubernetes projected token.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use portunus_auth_core::{Clock, Credential, CredentialError, CredentialSource, Issued, SecretSource};

use super::claims::Claims;
use crate::FileSource;
use crate::env::set;

/// Where Kubernetes mounts a pod's service account token.
const KUBERNETES: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// An identity token in a file, read at every fetch, because its platform replaces it before it ends.
/// Unlike a [`FileSource`], it is set up wrongly while the file does not exist.
#[derive(Clone, Debug)]
pub struct IdentityTokenFile {
    path: PathBuf,
    is_kubernetes: bool,
    file: FileSource,
}

#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("there is no identity token file `{}`", .0.display())]
    File(PathBuf),
    #[error(
        "there is no service account token in `{}`: mount it with a projected volume whose source is `serviceAccountToken`",
        .0.display()
    )]
    Projection(PathBuf),
}

impl IdentityTokenFile {
    /// The file at that path.
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        let path = path.into();
        Self { file: FileSource::new(&path, clock), path, is_kubernetes: false }
    }

    /// A token that Kubernetes projects to that path. Its audience has to be the one that the issuer
    /// expects, so it is rarely the default one.
    /// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#serviceaccount-token-volume-projection>
    pub fn projected(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { is_kubernetes: true, ..Self::new(path, clock) }
    }

    /// The pod's own service account token, `/var/run/secrets/kubernetes.io/serviceaccount/token`.
    ///
    /// # Errors
    /// `NotConfigured` if `KUBERNETES_SERVICE_HOST`, which every container in Kubernetes has, is not set.
    pub fn in_kubernetes(env: &dyn SecretSource, clock: Arc<dyn Clock>) -> Result<Self, CredentialError> {
        set(env, "KUBERNETES_SERVICE_HOST").ok_or(CredentialError::NotConfigured)?;
        Ok(Self::projected(KUBERNETES, clock))
    }

    fn missing(&self) -> CredentialError {
        let path = self.path.clone();
        let why = if self.is_kubernetes { Missing::Projection(path) } else { Missing::File(path) };
        CredentialError::Invalid(why.into())
    }
}

#[async_trait]
impl CredentialSource for IdentityTokenFile {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let mut issued = match self.file.fetch().await {
            Err(CredentialError::NotConfigured) => return Err(self.missing()),
            answer => answer?,
        };
        let name =
            if self.is_kubernetes { "Kubernetes service account token" } else { "identity token file" };
        if let Credential::BearerToken(token) = &issued.credential {
            issued.subject = Claims::of(token).and_then(|claims| claims.subject().map(str::to_owned));
        }
        Ok(issued.from_source(name))
    }
}
