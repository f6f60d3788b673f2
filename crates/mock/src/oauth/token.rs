//! The token endpoint.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Idp;
use super::client::{Client, authenticate};
use super::error::{OAuthError, no_store};
use super::grant::resource;
use super::mint::{Mint, seconds};
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;

/// `POST /token`.
pub(super) fn token(idp: &Arc<Idp>, request: &Recorded) -> Answer {
    match issue(idp, request) {
        Ok(tokens) => no_store(answer::json(StatusCode::OK, answer::write(&tokens))),
        Err(error) => error.answer(),
    }
}

fn issue(idp: &Arc<Idp>, request: &Recorded) -> Result<Value, OAuthError> {
    let invalid = |says| OAuthError::new("invalid_request", says);
    if request.method() != Method::POST {
        return Err(invalid("the token endpoint takes POST"));
    }
    let form = Form::of_body(request).ok_or_else(|| invalid("the body must be a form"))?;
    if form.repeated().is_some() {
        return Err(invalid("a parameter is there twice"));
    }
    let grant_type = form.get("grant_type").ok_or_else(|| invalid("`grant_type` is missing"))?;
    let client = authenticate(&idp.clients, request, &form)?;
    match grant_type {
        "authorization_code" => authorization_code(idp, client, &form),
        "client_credentials" => client_credentials(idp, client, &form),
        _ => Err(OAuthError::new("unsupported_grant_type", "the grant type is not supported")),
    }
}

fn authorization_code(idp: &Arc<Idp>, client: &Client, form: &Form) -> Result<Value, OAuthError> {
    let (code, grant) = idp.grants.redeem(&client.id, form, &idp.issued, idp.now())?;
    let scope = code.scopes.join(" ");
    let claims = code.user.claims(&code.scopes);
    let audience = code.resource.unwrap_or_else(|| idp.audience.clone());
    let mut access = Mint::new(Arc::clone(idp), code.user.subject.clone())
        .audience(audience)
        .claim("client_id", client.id.clone())
        .claim("scope", scope.clone());
    access.userinfo = claims.clone();
    access.grant = Some(grant);
    let access_token = access.access_token();
    let mut tokens = bearer(idp, &access_token, &scope);
    if code.scopes.iter().any(|scope| scope == "openid") {
        let mut mint = Mint::new(Arc::clone(idp), code.user.subject)
            .claims(claims)
            .audience(client.id.clone())
            .claim("auth_time", seconds(code.authenticated_at))
            .claim("at_hash", idp.algorithm.half_hash(&access_token));
        if let Some(nonce) = code.nonce {
            mint = mint.nonce(nonce);
        }
        tokens["id_token"] = mint.id_token().into();
    }
    Ok(tokens)
}

/// The client acts for itself: its id is the subject, and there is no user to tell of.
fn client_credentials(idp: &Arc<Idp>, client: &Client, form: &Form) -> Result<Value, OAuthError> {
    if client.is_public() {
        return Err(OAuthError::new("unauthorized_client", "a public client cannot act for itself"));
    }
    let scope = client.scopes(form.get("scope"))?.join(" ");
    let audience = match form.get("resource") {
        Some(text) => resource(text)?,
        None => idp.audience.clone(),
    };
    let access_token = Mint::new(Arc::clone(idp), client.id.clone())
        .audience(audience)
        .claim("client_id", client.id.clone())
        .claim("scope", scope.clone())
        .access_token();
    Ok(bearer(idp, &access_token, &scope))
}

fn bearer(idp: &Idp, access_token: &str, scope: &str) -> Value {
    let expires_in = idp.token_ttl.as_secs();
    json!({"access_token": access_token, "token_type": "Bearer", "expires_in": expires_in, "scope": scope})
}
