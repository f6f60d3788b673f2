//! Dynamic client registration (RFC 7591): open to everybody.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Idp;
use super::client::{GrantType, OAuthClient, split};
use super::error::{OAuthError, no_store};
use super::mint::seconds;
use crate::answer::{self, Answer};
use crate::capture::Recorded;

/// `POST /register`.
pub(super) fn register(idp: &Idp, request: &Recorded) -> Answer {
    match registered(idp, request) {
        Ok(client) => no_store(answer::json(StatusCode::CREATED, answer::write(&client))),
        Err(error) => error.answer(),
    }
}

fn registered(idp: &Idp, request: &Recorded) -> Result<Value, OAuthError> {
    let posted = Some(request).filter(|request| request.method() == Method::POST).and_then(Recorded::json);
    let Some(Value::Object(mut metadata)) = posted else { return Err(invalid("POST a JSON object")) };
    let grants = grants(idp, &metadata)?;
    let number = idp.issued.new_family();
    let id = format!("client-mock-{number}");
    let (client, method) = proving(client(&metadata, &id, &grants)?, &metadata, number)?;
    let client = client.checked().map_err(|_| {
        OAuthError::new("invalid_redirect_uri", "a redirect URI is not absolute, or the keys are no JWK set")
    })?;
    // What was defaulted is told, as is what was asked for (RFC 7591 §3.2.1).
    let mut tell = |name: &str, value: Value| drop(metadata.insert(name.to_owned(), value));
    tell("client_id", id.into());
    tell("client_id_issued_at", seconds(idp.now()).into());
    tell("grant_types", grants.iter().map(|grant| grant.name()).collect());
    tell("token_endpoint_auth_method", method.into());
    tell("redirect_uris", json!(client.redirect_uris));
    tell("response_types", json!(["code"]));
    tell("scope", client.scopes.join(" ").into());
    if let Some(secret) = &client.secret {
        tell("client_secret", secret.expose().into());
        tell("client_secret_expires_at", 0.into());
    }
    idp.clients.add(client);
    Ok(metadata.into())
}

fn invalid(says: &'static str) -> OAuthError {
    OAuthError::new("invalid_client_metadata", says)
}

fn grants(idp: &Idp, metadata: &Map<String, Value>) -> Result<Vec<GrantType>, OAuthError> {
    let Some(names) = list(metadata, "grant_types")? else { return Ok(vec![GrantType::AuthorizationCode]) };
    let known = |name: &String| GrantType::of(name).filter(|grant| idp.settings.grants.contains(grant));
    let all: Option<_> = names.iter().map(known).collect();
    all.ok_or(invalid("a grant type is not supported"))
}

/// The client as it is described, but for how it proves itself.
fn client(metadata: &Map<String, Value>, id: &str, grants: &[GrantType]) -> Result<OAuthClient, OAuthError> {
    let mut client = OAuthClient::new(id).grants(grants.iter().copied());
    client.redirect_uris = list(metadata, "redirect_uris")?.unwrap_or_default();
    if client.redirect_uris.is_empty() && grants.contains(&GrantType::AuthorizationCode) {
        return Err(OAuthError::new("invalid_redirect_uri", "codes need a redirect URI"));
    }
    if list(metadata, "response_types")?.iter().flatten().any(|one| one != "code") {
        return Err(invalid("the only response type is `code`"));
    }
    client.post_logout_redirect_uris = list(metadata, "post_logout_redirect_uris")?.unwrap_or_default();
    client.scopes = match metadata.get("scope") {
        None => ["openid", "profile", "email"].map(str::to_owned).to_vec(),
        Some(scope) => split(scope.as_str().ok_or(invalid("`scope` is text"))?),
    };
    client.dpop = metadata.get("dpop_bound_access_tokens") == Some(&true.into());
    Ok(client)
}

/// The client with a secret or keys, if it is to have any, and the name of the method.
fn proving(
    client: OAuthClient,
    metadata: &Map<String, Value>,
    number: u64,
) -> Result<(OAuthClient, &'static str), OAuthError> {
    let method = metadata.get("token_endpoint_auth_method");
    match method.map_or(Some("client_secret_basic"), Value::as_str) {
        Some("none") => Ok((client, "none")),
        Some("client_secret_basic") => Ok((client.secret(secret(number)), "client_secret_basic")),
        Some("client_secret_post") => Ok((client.secret(secret(number)), "client_secret_post")),
        Some("private_key_jwt") => {
            let jwks = metadata.get("jwks").cloned().ok_or(invalid("`private_key_jwt` needs `jwks`"))?;
            Ok((client.jwks(jwks), "private_key_jwt"))
        }
        _ => Err(invalid("the authentication method is not supported")),
    }
}

fn secret(number: u64) -> String {
    format!("secret-mock-{number}")
}

/// A list of texts, if it is there.
fn list(metadata: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, OAuthError> {
    let read = |value: &Value| serde_json::from_value(value.clone());
    let read = metadata.get(name).map(read).transpose();
    read.map_err(|_| invalid("a member is not a list of texts"))
}
