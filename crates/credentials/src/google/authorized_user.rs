//! A person's login, as `gcloud auth application-default login` keeps it: a refresh token
//! (RFC 6749 section 6).

use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, Issued};
use url::Url;

use super::fields::Fields;
use super::hosts::{Service, UNIVERSE};
use super::misconfigured::Misconfigured;
use super::{Call, TOKEN_URI, classify};
use crate::http::Form;

#[derive(Clone, Debug)]
pub(crate) struct AuthorizedUser {
    client_id: String,
    client_secret: SecretString,
    refresh_token: SecretString,
    account: Option<String>,
    token_uri: Url,
}

impl AuthorizedUser {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self, Misconfigured> {
        let token_uri = fields.text("token_uri")?.unwrap_or(TOKEN_URI);
        Ok(Self {
            client_id: fields.required("client_id")?.to_owned(),
            client_secret: fields.secret("client_secret")?,
            refresh_token: fields.secret("refresh_token")?,
            account: fields.text("account")?.map(str::to_owned),
            token_uri: Service::OAuth.url("token_uri", token_uri, UNIVERSE)?,
        })
    }

    /// Google's refresh tokens do not rotate, so the request may be repeated.
    pub(super) async fn token(&self, call: &Call<'_>) -> Result<Issued, CredentialError> {
        let mut form = Form::default()
            .field("grant_type", "refresh_token")
            .field("client_id", &self.client_id)
            .secret("client_secret", &self.client_secret)
            .secret("refresh_token", &self.refresh_token);
        // The login was granted its scopes. Asking for one that is not among them is an error, so only
        // what somebody configured is asked for.
        if call.scope_is_chosen {
            form = form.field("scope", call.scope);
        }
        let answer = call.http.post(&self.token_uri).form(form).idempotent().send(call.now).await?;
        let token = answer.token_or(classify)?;
        let issued = Issued::new(Credential::BearerToken(token.access_token), call.now + token.expires_in);
        let issued = issued.from_source("Google user login");
        Ok(match &self.account {
            Some(account) => issued.for_subject(account),
            None => issued,
        })
    }
}
