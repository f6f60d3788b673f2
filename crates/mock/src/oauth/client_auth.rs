//! How a client proves who it is: by exactly one method (RFC 6749 §2.3).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use portunus_auth_core::BearerToken;

use super::Idp;
use super::client::OAuthClient;
use super::error::OAuthError;
use super::mint::seconds;
use crate::capture::Recorded;
use crate::form::Form;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The client that makes a request, if it has proven itself the way it should.
pub(super) fn authenticate(
    idp: &Idp,
    request: &Recorded,
    form: &Form,
) -> Result<Arc<OAuthClient>, OAuthError> {
    let basic = request.headers_with_secrets().get(AUTHORIZATION);
    let (posted, assertion) = (form.get("client_secret"), form.get("client_assertion"));
    if [basic.is_some(), posted.is_some(), assertion.is_some()].into_iter().filter(|way| *way).count() > 1 {
        return Err(OAuthError::new("invalid_request", "two ways of client authentication"));
    }
    if let Some(assertion) = assertion {
        return by_assertion(idp, form, assertion);
    }
    let (id, secret) = match basic {
        Some(value) => {
            let pair = value.to_str().ok().and_then(basic_pair);
            let (id, secret) = pair.ok_or_else(|| OAuthError::client(true))?;
            if form.get("client_id").is_some_and(|posted| posted != id) {
                return Err(OAuthError::new("invalid_request", "two different client ids"));
            }
            (id, Some(secret))
        }
        None => {
            let id = form.get("client_id").ok_or_else(|| OAuthError::client(false))?;
            (id.to_owned(), posted.map(BearerToken::new))
        }
    };
    let proven = idp.clients.find(&id).filter(|client| match (&client.secret, &secret) {
        (Some(wanted), Some(given)) => wanted.expose() == given.expose(),
        (None, None) => client.is_public(),
        _ => false,
    });
    proven.ok_or_else(|| OAuthError::client(basic.is_some()))
}

/// By a JWT that the client signed (RFC 7523 §3): `iss` and `sub` are its id, and each `jti` works once.
fn by_assertion(idp: &Idp, form: &Form, assertion: &str) -> Result<Arc<OAuthClient>, OAuthError> {
    let failed = || OAuthError::client(false);
    if form.get("client_assertion_type") != Some(ASSERTION_TYPE) {
        return Err(OAuthError::new("invalid_request", "`client_assertion_type` is missing or unknown"));
    }
    let claims = super::assertion::unverified(assertion).ok_or_else(failed)?;
    let id = claims.get("sub").and_then(|sub| sub.as_str()).ok_or_else(failed)?;
    if claims.get("iss") != claims.get("sub") || form.get("client_id").is_some_and(|posted| posted != id) {
        return Err(failed());
    }
    let client = idp.clients.find(id).ok_or_else(failed)?;
    let claims = client.jwks.as_ref().and_then(|keys| super::assertion::verified(assertion, keys));
    let claims = claims.ok_or_else(failed)?;
    let until = super::assertion::is_for(idp, &claims).map_err(|_| failed())?;
    let jti = claims.get("jti").and_then(|jti| jti.as_str()).ok_or_else(failed)?;
    if !idp.seen.first_time(&format!("{id} {jti}"), until, seconds(idp.now())) {
        return Err(failed());
    }
    Ok(client)
}

/// Id and secret, each of them form-encoded within (RFC 6749 §2.3.1).
fn basic_pair(authorization: &str) -> Option<(String, BearerToken)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decode(id)?, BearerToken::new(form_decode(secret)?)))
}

fn form_decode(text: &str) -> Option<String> {
    // As the key of a pair, so that a `=` or `&` in it is no separator.
    let escaped = text.replace('=', "%3D").replace('&', "%26");
    form_urlencoded::parse(escaped.as_bytes()).next().map(|(key, _)| key.into_owned())
}
