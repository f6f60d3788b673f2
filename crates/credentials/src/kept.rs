//! A credential that is given, or one that a source issues: what a provider answers with whose
//! environment decides between them.

use std::sync::Arc;

use async_trait::async_trait;
use portunus_auth_core::{Credential, CredentialError, CredentialProvider, CredentialSource};

use crate::{Cached, StaticTokenProvider};

#[derive(Debug)]
pub(crate) enum Kept<S> {
    Given(StaticTokenProvider),
    Issued(Cached<S>),
}

impl<S> Clone for Kept<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Given(given) => Self::Given(given.clone()),
            Self::Issued(cached) => Self::Issued(cached.clone()),
        }
    }
}

#[cfg(any(feature = "anthropic-auth", feature = "azure-auth", feature = "openai-auth"))]
impl<S: CredentialSource + Clone> Kept<S> {
    /// Changes the source, if there is one; nothing that was held is taken over.
    pub(crate) fn changed(self, change: impl FnOnce(&mut S)) -> Self {
        match self {
            Self::Given(given) => {
                tracing::warn!("the credential is given and used as it is; how to obtain one has no effect");
                Self::Given(given)
            }
            Self::Issued(cached) => Self::Issued(cached.changed(change)),
        }
    }
}

impl<S: CredentialSource> Kept<S> {
    fn provider(&self) -> &dyn CredentialProvider {
        match self {
            Self::Given(given) => given,
            Self::Issued(cached) => cached,
        }
    }
}

#[async_trait]
impl<S: CredentialSource> CredentialProvider for Kept<S> {
    async fn resolve(&self) -> Result<Credential, CredentialError> {
        self.provider().resolve().await
    }

    fn held(&self) -> Option<Arc<Credential>> {
        self.provider().held()
    }

    fn renews(&self) -> bool {
        self.provider().renews()
    }

    fn invalidate(&self, refused: &Credential) {
        self.provider().invalidate(refused);
    }
}
