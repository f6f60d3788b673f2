//! Several sources, in order.

use async_trait::async_trait;
use portunus_auth_core::{CredentialError, CredentialSource, Issued};

/// Asks its sources in order and answers with the first that is configured.
///
/// Only `NotConfigured` leads to the next one: a source that is set up wrongly, is refused or cannot
/// reach its issuer ends the search, because a request must not silently go out under another identity.
#[derive(Debug)]
pub struct Chain {
    links: Vec<(String, Box<dyn CredentialSource>)>,
}

/// None of a chain's sources is configured.
#[derive(Debug, thiserror::Error)]
#[error("no source is configured; tried: {}", .tried.join(", "))]
pub struct NoneConfigured {
    /// The names of the sources, in order.
    pub tried: Vec<String>,
}

impl Chain {
    /// A chain that begins with this source. Errors and logs call it by the given name.
    pub fn first(name: impl Into<String>, source: impl CredentialSource) -> Self {
        Self { links: Vec::new() }.then(name, source)
    }

    /// Then this source.
    #[must_use]
    pub fn then(mut self, name: impl Into<String>, source: impl CredentialSource) -> Self {
        self.links.push((name.into(), Box::new(source)));
        self
    }
}

#[async_trait]
impl CredentialSource for Chain {
    /// # Errors
    /// That of the first configured source, or `Invalid` around [`NoneConfigured`].
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let mut tried = Vec::new();
        for (name, source) in &self.links {
            match source.fetch().await {
                Err(CredentialError::NotConfigured) => tried.push(name.clone()),
                // A chain within this one, none of whose sources is configured.
                Err(CredentialError::Invalid(why)) if why.is::<NoneConfigured>() => {
                    let inner = why.downcast::<NoneConfigured>().map(|inner| inner.tried).unwrap_or_default();
                    tried.extend(inner.into_iter().map(|link| format!("{name}/{link}")));
                }
                Ok(issued) if issued.source.is_none() => return Ok(issued.from_source(name)),
                answer => return answer,
            }
        }
        Err(CredentialError::Invalid(Box::new(NoneConfigured { tried })))
    }
}
