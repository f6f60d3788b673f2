//! An identity token of the machine or workload, for a federation with others
//! (<https://cloud.google.com/compute/docs/instances/verifying-instance-identity>).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Clock, Credential, CredentialError, CredentialSource, Issued, SecretSource};
use serde::Deserialize;

use super::metadata::{Metadata, RENEWED_BEFORE_END};
use crate::IssuerError;
use crate::http::Http;

/// Fetches an OpenID Connect token of the attached service account's from Google's metadata server, for one
/// audience: what a federation takes in place of a secret. Not configured where there is no such server.
#[derive(Clone, Debug)]
pub struct GoogleIdentityTokenSource {
    metadata: Metadata,
    audience: String,
    http: Http,
    clock: Arc<dyn Clock>,
}

/// What is read of the token. Whoever gets it verifies it.
#[derive(Deserialize)]
struct Claims {
    exp: u64,
    email: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("the metadata server's answer is not an identity token")]
struct NotAToken;

impl GoogleIdentityTokenSource {
    /// For that audience, from the server at `GCE_METADATA_HOST` or else `metadata.google.internal`.
    ///
    /// # Errors
    /// `Invalid` if that host is not one of this machine's own network.
    pub fn new(
        audience: impl Into<String>,
        env: &dyn SecretSource,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialError> {
        let metadata = Metadata::from_secrets(env)?;
        Ok(Self { metadata, audience: audience.into(), http: Http::for_metadata(), clock })
    }

    /// Sets other time limits; begin with [`Http::for_metadata`].
    #[must_use]
    pub fn with_http(self, http: Http) -> Self {
        Self { http, ..self }
    }
}

#[async_trait]
impl CredentialSource for GoogleIdentityTokenSource {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let query = [("audience", self.audience.as_str()), ("format", "full")];
        let answer = self.metadata.get(&self.http, "identity", &query, self.clock.now()).await?;
        if !answer.status().is_success() {
            let refusal = IssuerError { status: answer.status(), error: None, codes: Vec::new() };
            return Err(refusal.classify(answer.retry_after()));
        }
        let (token, ends, email) = read(answer.body())
            .ok_or_else(|| CredentialError::Unavailable { retry_after: None, source: NotAToken.into() })?;
        let issued = Issued::new(Credential::BearerToken(token), ends);
        let issued = issued.with_refresh_margin(RENEWED_BEFORE_END).from_source("Google metadata server");
        Ok(match email {
            Some(email) => issued.for_subject(email),
            None => issued,
        })
    }
}

/// A JWT, when it ends and for whom it is.
fn read(body: &[u8]) -> Option<(SecretString, SystemTime, Option<String>)> {
    let token = std::str::from_utf8(body).ok()?.trim();
    let mut parts = token.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let claims: Claims = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let ends = UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp))?;
    Some((token.into(), ends, claims.email))
}
