//! Short-term API keys of Bedrock, made from keys to sign with: a presigned request in disguise, as AWS's own
//! `aws-bedrock-token-generator` for Java, JavaScript and Python makes them. Nobody is asked.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-generate.html>

use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, Request};
use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portunus_auth_core::{BoxError, Clock, Credential, CredentialError, CredentialSource, Issued};

use super::{PayloadHash, SignError, Signer};

/// The longest that Bedrock accepts; keys to sign with that end sooner end it sooner.
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);

/// Makes API keys of Bedrock for one region from whatever keys another source obtains, for clients that can send a
/// bearer token and cannot sign. Each of them may do what the keys may.
#[derive(Clone, Debug)]
pub struct BedrockMintedKeySource<S> {
    keys: S,
    region: String,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, thiserror::Error)]
#[error("an API key of Bedrock lasts between a second and {LONGEST:?}")]
struct Lifetime;

impl<S: CredentialSource> BedrockMintedKeySource<S> {
    /// API keys for that region, made from these keys, each good for 12 hours if the keys live so long.
    pub fn new(keys: S, region: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { keys, region: region.into(), lifetime: LONGEST, clock }
    }

    /// For a time between a second and 12 hours, in whole seconds; [`fetch`](CredentialSource::fetch) refuses others.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    fn mint(&self, keys: &Credential, now: std::time::SystemTime) -> Result<String, SignError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("https://bedrock.amazonaws.com/?Action=CallWithBearerToken")
            .body(())
            .map_err(|error| SignError::Request(BoxError::from(error)))?;
        let signer = Signer::new(&self.region, "bedrock");
        let (parts, ()) = request.into_parts();
        let url = signer.presigned(keys, &parts, &PayloadHash::of(b""), self.lifetime, now)?;
        // The version is not signed.
        let text = format!("{}&Version=1", url.as_str().trim_start_matches("https://"));
        Ok(format!("bedrock-api-key-{}", BASE64_STANDARD.encode(text)))
    }
}

#[async_trait]
impl<S: CredentialSource> CredentialSource for BedrockMintedKeySource<S> {
    /// # Errors
    /// Those of the source of the keys; `Invalid` if it obtains something else, or for the lifetime.
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        if self.lifetime.as_secs() == 0 || self.lifetime > LONGEST {
            return Err(CredentialError::Invalid(Lifetime.into()));
        }
        let mut issued = self.keys.fetch().await?;
        let now = self.clock.now();
        let key = self.mint(&issued.credential, now).map_err(|why| CredentialError::Invalid(why.into()))?;
        let end = now + Duration::from_secs(self.lifetime.as_secs());
        issued.expires_at = Some(issued.expires_at.map_or(end, |keys_end| keys_end.min(end)));
        issued.credential = Credential::BearerToken(key.into());
        let made_from = issued.source.as_deref().unwrap_or("AWS keys").to_owned();
        Ok(issued.from_source(format!("Bedrock API key made from: {made_from}")))
    }
}
