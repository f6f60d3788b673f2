//! A service account's key: it signs a JWT that is exchanged for an access token
//! (<https://developers.google.com/identity/protocols/oauth2/service-account>), or that is the bearer
//! token itself (<https://google.aip.dev/auth/4111>).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, Issued};
use serde_json::{Value, json};
use url::Url;

use super::fields::Fields;
use super::hosts::{Service, UNIVERSE};
use super::misconfigured::Misconfigured;
use super::{Call, TOKEN_URI, classify};
use crate::http::Form;
use crate::jwt::{Algorithm, SigningKey};

/// RFC 7523 section 2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The longest that Google accepts.
const LIFE: Duration = Duration::from_secs(3_600);

/// So far may this machine's clock be ahead of Google's.
const SKEW: Duration = Duration::from_secs(10);

/// What a self-signed token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SelfSigned {
    Scope,
    /// One service, by its address, such as `https://aiplatform.googleapis.com/`.
    Audience(String),
}

#[derive(Clone, Debug)]
pub(crate) struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    key: SigningKey,
    token_uri: Url,
    pub(super) self_signed: Option<SelfSigned>,
}

impl ServiceAccount {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self, Misconfigured> {
        let email = fields.required("client_email")?;
        if !email.contains('@') || email.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Misconfigured::Wrong("client_email"));
        }
        let key = SigningKey::from_pem(&fields.secret("private_key")?)
            .map_err(|why| Misconfigured::Key { key: "private_key", why })?;
        // Other universes exchange no assertions: there, a service account signs its tokens itself.
        let elsewhere = fields.text("universe_domain")?.is_some_and(|universe| universe != UNIVERSE);
        let token_uri = fields.text("token_uri")?.filter(|_| !elsewhere).unwrap_or(TOKEN_URI);
        Ok(Self {
            email: email.to_owned(),
            key_id: fields.text("private_key_id")?.map(str::to_owned),
            key,
            token_uri: Service::OAuth.url("token_uri", token_uri, UNIVERSE)?,
            self_signed: elsewhere.then_some(SelfSigned::Scope),
        })
    }

    pub(super) async fn token(&self, call: &Call<'_>) -> Result<Issued, CredentialError> {
        let (credential, expires_at) = match &self.self_signed {
            Some(SelfSigned::Scope) => {
                self.sign(call.now, json!({ "sub": self.email, "scope": call.scope }))?
            }
            Some(SelfSigned::Audience(aud)) => {
                self.sign(call.now, json!({ "sub": self.email, "aud": aud }))?
            }
            None => self.exchange(call).await?,
        };
        let issued = Issued::new(Credential::BearerToken(credential), expires_at);
        Ok(issued.from_source("Google service account").for_subject(&self.email))
    }

    async fn exchange(&self, call: &Call<'_>) -> Result<(SecretString, SystemTime), CredentialError> {
        // The audience is the authorization server, by the one name that Google documents for it. The
        // address may be another: a private endpoint, or a former one.
        let (assertion, _) = self.sign(call.now, json!({ "aud": TOKEN_URI, "scope": call.scope }))?;
        let form = Form::default().field("grant_type", JWT_BEARER).secret("assertion", &assertion);
        let answer = call.http.post(&self.token_uri).form(form).idempotent().send(call.now).await?;
        let token = answer.token_or(classify)?;
        Ok((token.access_token, call.now + token.expires_in))
    }

    /// A JWT of this account's with these claims, and when it ends.
    fn sign(&self, now: SystemTime, mut claims: Value) -> Result<(SecretString, SystemTime), Misconfigured> {
        let issued_at = now.checked_sub(SKEW).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let issued_at = issued_at.unwrap_or_default().as_secs();
        let ends = issued_at + LIFE.as_secs();
        claims["iss"] = self.email.clone().into();
        claims["iat"] = issued_at.into();
        claims["exp"] = ends.into();
        let mut header = json!({ "alg": Algorithm::Rs256.name(), "typ": "JWT" });
        if let Some(id) = &self.key_id {
            header["kid"] = id.clone().into();
        }
        let token = self.key.sign(Algorithm::Rs256, &header, &claims);
        let token = token.map_err(|why| Misconfigured::Key { key: "private_key", why })?;
        Ok((token, UNIX_EPOCH + Duration::from_secs(ends)))
    }
}
