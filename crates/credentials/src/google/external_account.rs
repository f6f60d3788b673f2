//! An identity of another issuer, exchanged at Google's Security Token Service
//! (<https://google.aip.dev/auth/4117>, RFC 8693).

use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, Issued, SecretSource};
use serde_json::json;
use url::Url;

use super::fields::Fields;
use super::hosts::{Service, universe};
use super::misconfigured::Misconfigured;
use super::subject::Subject;
use super::{Call, classify};
use crate::http::Form;

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

#[derive(Clone, Debug)]
pub(crate) struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    subject: Subject,
    token_url: Url,
    client: Option<(String, SecretString)>,
    /// JSON, for a workforce pool.
    options: Option<String>,
}

impl ExternalAccount {
    /// `acts_as` is the service account that the token will be used to impersonate.
    pub(super) fn parse(
        fields: &Fields<'_>,
        acts_as: Option<&str>,
        env: &dyn SecretSource,
    ) -> Result<Self, Misconfigured> {
        let universe = universe(fields, env)?;
        let audience = fields.required("audience")?;
        let subject_token_type = fields.required("subject_token_type")?;
        let token_url = match fields.text("token_url")? {
            Some(url) => url.to_owned(),
            None => format!("https://sts.{universe}/v1/token"),
        };
        // Never asked here; a file that leads anywhere else is not Google's.
        if let Some(url) = fields.text("token_info_url")? {
            Service::Sts.url("token_info_url", url, universe)?;
        }
        let client = match fields.text("client_id")? {
            Some(id) => Some((id.to_owned(), fields.text("client_secret")?.unwrap_or_default().into())),
            None => None,
        };
        let project = fields.text("workforce_pool_user_project")?;
        if project.is_some() && !is_workforce(audience) {
            return Err(Misconfigured::Wrong("workforce_pool_user_project"));
        }
        // A client that says who it is has a project of its own.
        let project = project.filter(|_| client.is_none());
        Ok(Self {
            subject: Subject::parse(fields, audience, subject_token_type, acts_as, env)?,
            audience: audience.to_owned(),
            subject_token_type: subject_token_type.to_owned(),
            token_url: Service::Sts.url("token_url", &token_url, universe)?,
            client,
            options: project.map(|project| json!({ "userProject": project }).to_string()),
        })
    }

    /// The subject's token is read at every exchange, because whoever hands it out replaces it.
    pub(super) async fn token(&self, call: &Call<'_>) -> Result<Issued, CredentialError> {
        let subject = self.subject.token(call).await?;
        let mut form = Form::default()
            .field("grant_type", TOKEN_EXCHANGE)
            .field("audience", &self.audience)
            .field("scope", call.scope)
            .field("requested_token_type", ACCESS_TOKEN)
            .field("subject_token_type", &self.subject_token_type)
            .secret("subject_token", &subject);
        if let Some(options) = &self.options {
            form = form.field("options", options);
        }
        let mut request = call.http.post(&self.token_url).form(form).idempotent();
        if let Some((id, secret)) = &self.client {
            request = request.basic(id, secret);
        }
        let token = request.send(call.now).await?.token_or(classify)?;
        let issued = Issued::new(Credential::BearerToken(token.access_token), call.now + token.expires_in);
        Ok(issued.from_source("Google workload identity federation"))
    }
}

/// `//iam.googleapis.com/locations/LOCATION/workforcePools/…`
fn is_workforce(audience: &str) -> bool {
    let mut parts = audience.trim_start_matches("//").split('/').skip(1);
    parts.next() == Some("locations") && parts.nth(1) == Some("workforcePools")
}
