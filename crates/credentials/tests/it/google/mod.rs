//! Google's credentials against the mock's services, which refuse whatever is not exactly as documented.

mod adc;
#[cfg(feature = "bedrock-auth")]
mod aws;
#[cfg(feature = "azure-auth")]
pub(crate) mod canary;
mod federation;
mod identity;
mod impersonation;
mod metadata;
mod service_account;
mod user;
mod vectors;

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use portunus_auth_core::clock::ManualClock;
use portunus_auth_core::secret::ExposeSecret;
use portunus_credentials::{Credential, CredentialError, VertexOAuthCredentialProvider};
use portunus_mock::{GoogleAccount, GoogleCloud, MockCloud};
use serde_json::{Value, json};

use crate::support::{Env, everything};

pub(crate) const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
const EMAIL: &str = "svc@p-1.iam.gserviceaccount.com";

/// Our own vectors, which hold a throw-away key.
fn cases() -> Value {
    serde_json::from_str(include_str!("../../data/gcp-credentials.json")).unwrap()
}

/// The account that the key file below belongs to.
fn account() -> GoogleAccount {
    GoogleAccount::new(EMAIL, "kid-0123456789abcdef", cases()["public_key_pem"].as_str().unwrap())
}

/// A key file for that token address.
pub(crate) fn key_file(token_uri: &str) -> Value {
    let mut file = cases()["service_account"].clone();
    file["token_uri"] = token_uri.into();
    file
}

fn serve(clock: &Arc<ManualClock>, google: GoogleCloud) -> MockCloud {
    MockCloud::builder().clock(clock.clone()).google(google).build().unwrap()
}

/// With a credentials file, and perhaps some variables.
fn provider_with(
    file: &Value,
    more: &[(&str, &str)],
    clock: &Arc<ManualClock>,
) -> Result<VertexOAuthCredentialProvider, CredentialError> {
    let text = file.to_string();
    let mut values = vec![("GOOGLE_APPLICATION_CREDENTIALS", "/adc.json"), ("/adc.json", text.as_str())];
    values.extend(more);
    VertexOAuthCredentialProvider::from_secrets(&Env::of(&values), clock.clone())
}

fn provider(file: &Value, clock: &Arc<ManualClock>) -> VertexOAuthCredentialProvider {
    provider_with(file, &[], clock).unwrap()
}

/// The message of the error that a file leads to, which holds nothing of the file.
fn refusal(file: &Value, more: &[(&str, &str)], clock: &Arc<ManualClock>) -> String {
    let error = provider_with(file, more, clock).unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    let all = everything(&error);
    assert!(!all.contains("canary") && !all.contains("MIIE"), "{all}");
    all
}

/// The header and the claims of a JWT.
fn opened(jwt: &str) -> (Value, Value) {
    let mut parts = jwt.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (json(), json())
}

/// The token and the project that pays.
fn with_project(credential: &Credential) -> (&str, Vec<(&str, &str)>) {
    match credential {
        Credential::BearerToken(token) => (token.expose_secret(), vec![]),
        Credential::BearerTokenWith { token, headers } => {
            let headers = headers.iter().map(|h| (h.name.as_str(), h.value.to_str().unwrap()));
            (token.expose_secret(), headers.collect())
        }
        other => panic!("{other:?}"),
    }
}

/// The fields of a form, in order.
fn form(body: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

fn unsigned(email: &str) -> Value {
    json!({ "type": "service_account", "client_email": email })
}
