//! Token introspection (RFC 7662) and revocation (RFC 7009).

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Idp;
use super::client::OAuthClient;
use super::client_auth::authenticate;
use super::error::{OAuthError, no_store};
use super::ledger::Access;
use super::mint::seconds;
use super::token::posted_form;
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;

/// `POST /introspect`. What is not active, or another client's, is not told apart from what never was
/// (RFC 7662 §2.2).
pub(super) fn introspect(idp: &Idp, request: &Recorded) -> Answer {
    let told = || {
        let form = posted_form(request, &[])?;
        let client = authenticate(idp, request, &form)?;
        if client.is_public() {
            // Anybody could probe for tokens in its name (RFC 7662 §2.1).
            return Err(OAuthError::client(false));
        }
        let token = form.get("token").ok_or(OAuthError::new("invalid_request", "`token` is missing"))?;
        Ok(about(idp, &client, token).unwrap_or_else(|| json!({"active": false})))
    };
    match told() {
        Ok(told) => no_store(answer::json(StatusCode::OK, answer::write(&told))),
        Err(error) => error.answer(),
    }
}

fn about(idp: &Idp, client: &OAuthClient, token: &str) -> Option<Value> {
    let now = idp.now();
    if let Some(access) = idp.issued.find(token, now) {
        return (access.client_id() == client.id).then(|| of_access_token(&access));
    }
    let refresh = idp.issued.find_refresh(token, now)?;
    let consent = &refresh.consent;
    (consent.client_id == client.id).then(|| {
        json!({
            "active": true,
            "iss": idp.issuer(),
            "sub": super::claims::subject(idp, &client.id, &consent.user),
            "client_id": consent.client_id,
            "scope": consent.scopes.join(" "),
            "iat": seconds(refresh.issued_at),
            "exp": seconds(refresh.expires_at),
        })
    })
}

fn of_access_token(access: &Access) -> Value {
    const TOLD: [&str; 11] =
        ["scope", "client_id", "exp", "iat", "nbf", "sub", "aud", "iss", "jti", "cnf", "act"];
    let mut told = Map::from_iter([("active".to_owned(), true.into())]);
    let claims = TOLD.iter().filter_map(|name| Some(((*name).to_owned(), access.claims.get(*name)?.clone())));
    told.extend(claims);
    let kind = if access.key().is_some() { "DPoP" } else { "Bearer" };
    told.insert("token_type".to_owned(), kind.into());
    let username = access.userinfo.get("preferred_username").cloned();
    told.insert("username".to_owned(), username.unwrap_or_else(|| access.subject.clone().into()));
    told.into()
}

/// `POST /revoke`. A token that is unknown, or another client's, is as good as revoked (RFC 7009 §2.2);
/// what kind of token it is need not be said.
pub(super) fn revoke(idp: &Idp, request: &Recorded) -> Answer {
    if idp.settings.profile.anybody_revokes {
        return revoke_by_holder(idp, request);
    }
    let done = || {
        let form = posted_form(request, &[])?;
        let client = authenticate(idp, request, &form)?;
        let token = form.get("token").ok_or(OAuthError::new("invalid_request", "`token` is missing"))?;
        idp.issued.revoke(token, &client.id);
        Ok(())
    };
    match done() {
        Ok(()) => no_store(answer::text(StatusCode::OK, "text/plain", "")),
        Err(error) => OAuthError::answer(&error),
    }
}

/// Google's way: whoever has a token may revoke it, and an access token takes its refresh token with it.
/// <https://developers.google.com/identity/protocols/oauth2/web-server#tokenrevoke>
fn revoke_by_holder(idp: &Idp, request: &Recorded) -> Answer {
    let query = Form::parse(request.query().unwrap_or_default().as_bytes());
    let form = Form::of_body(request).unwrap_or_default();
    let token = query.get("token").or(form.get("token")).unwrap_or_default();
    let access = idp.issued.find(token, idp.now()).and_then(|access| access.family);
    let refresh = || idp.issued.find_refresh(token, idp.now()).map(|refresh| refresh.consent.family);
    match access.or_else(refresh).filter(|_| request.method() == Method::POST) {
        Some(family) => {
            idp.issued.end(family);
            answer::json(StatusCode::OK, "{}")
        }
        None => OAuthError::new("invalid_token", "the token is unknown, expired or revoked").answer(),
    }
}
