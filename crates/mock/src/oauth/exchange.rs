//! Token exchange (RFC 8693): a token of a user becomes one for a service, with an actor if one is named.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::assertion;
use super::client::split;
use super::consent::audiences;
use super::error::OAuthError;
use super::token::{Asked, Granted, access_token};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Whom a presented token is about, and what it still allows.
struct About {
    subject: String,
    /// `None`: the token says nothing about scopes.
    scopes: Option<Vec<String>>,
    userinfo: Map<String, Value>,
    act: Option<Value>,
    family: Option<u64>,
    expires_at: SystemTime,
}

/// An access token for the subject, at most as long and at most as wide as the token presented.
pub(super) fn exchange(asked: &Asked<'_>) -> Result<Value, OAuthError> {
    let form = asked.form;
    let invalid = |says| OAuthError::new("invalid_request", says);
    let wanted = form.get("requested_token_type").unwrap_or(ACCESS_TOKEN);
    if ![ACCESS_TOKEN, JWT].contains(&wanted) {
        return Err(invalid("only access tokens and JWTs are issued"));
    }
    let subject = about(asked, "subject_token", "subject_token_type")?;
    let subject = subject.ok_or(invalid("`subject_token` is missing"))?;
    let actor = about(asked, "actor_token", "actor_token_type")?;
    let scopes = match (form.get("scope"), subject.scopes) {
        (None, Some(all)) => all,
        (asked_for, None) => asked.client.scopes_for(asked_for)?,
        (Some(asked_for), Some(all)) => {
            let scopes = split(asked_for);
            if scopes.is_empty() || scopes.iter().any(|scope| !all.contains(scope)) {
                return Err(OAuthError::new("invalid_scope", "the subject's token does not have that scope"));
            }
            scopes
        }
    };
    let mut audiences = audiences(asked.idp, form)?;
    audiences.extend(form.all("audience").map(str::to_owned));
    // The newest actor is outermost (RFC 8693 §4.1).
    let act = match (&actor, subject.act) {
        (Some(actor), Some(before)) => Some(json!({"sub": actor.subject, "act": before})),
        (Some(actor), None) => Some(json!({"sub": actor.subject})),
        (None, before) => before,
    };
    let mut tokens = access_token(
        asked,
        Granted {
            subject: &subject.subject,
            user: None,
            scope: scopes.join(" "),
            audiences,
            family: subject.family,
            userinfo: subject.userinfo,
            act,
            not_after: Some(subject.expires_at),
        },
    );
    tokens["issued_token_type"] = wanted.into();
    Ok(tokens)
}

/// What the token in that parameter is about, if there is one. Token and type come together.
fn about(asked: &Asked<'_>, token: &str, kind: &str) -> Result<Option<About>, OAuthError> {
    let invalid = |says| OAuthError::new("invalid_request", says);
    let (text, kind) = match (asked.form.get(token), asked.form.get(kind)) {
        (None, None) => return Ok(None),
        (Some(text), Some(kind)) => (text, kind),
        _ => return Err(invalid("a token and its type have to come together")),
    };
    let found = match kind {
        ACCESS_TOKEN => own_access_token(asked, text),
        ID_TOKEN => own_id_token(asked, text).or_else(|| of_a_trusted_issuer(asked, text)),
        JWT => own_access_token(asked, text).or_else(|| of_a_trusted_issuer(asked, text)),
        _ => return Err(invalid("the type of a token is not supported")),
    };
    // RFC 8693 §2.2.2: a token that is invalid for any reason is `invalid_request`.
    found.map(Some).ok_or(invalid("a token is invalid, expired, or of another type"))
}

/// A token that is bound to a key is exchanged only by who has the key.
fn own_access_token(asked: &Asked<'_>, text: &str) -> Option<About> {
    let access = asked.idp.issued.find(text, asked.idp.now())?;
    if access.key().is_some() && access.key() != asked.key.as_deref() {
        return None;
    }
    Some(About {
        scopes: Some(split(access.scope())),
        act: access.claims.get("act").cloned(),
        subject: access.subject,
        userinfo: access.userinfo,
        family: access.family,
        expires_at: access.expires_at,
    })
}

fn own_id_token(asked: &Asked<'_>, text: &str) -> Option<About> {
    let claims = asked.idp.own_claims(text)?;
    // An access token is signed with the same keys.
    let typ = jsonwebtoken::decode_header(text).ok()?.typ?;
    let for_client = claims.get("aud").is_some_and(|aud| *aud == asked.client.id.as_str());
    let issued_here = claims.get("iss").is_some_and(|iss| *iss == asked.idp.issuer());
    if !for_client || !issued_here || typ != "JWT" {
        return None;
    }
    from_claims(asked, &claims)
}

fn of_a_trusted_issuer(asked: &Asked<'_>, text: &str) -> Option<About> {
    let claims = asked.idp.trusted_claims(text)?;
    assertion::is_for(asked.idp, &claims).ok()?;
    from_claims(asked, &claims)
}

fn from_claims(asked: &Asked<'_>, claims: &Map<String, Value>) -> Option<About> {
    let until = assertion::is_live(asked.idp, claims).ok()?;
    Some(About {
        subject: claims.get("sub")?.as_str()?.to_owned(),
        scopes: None,
        userinfo: Map::new(),
        act: claims.get("act").cloned(),
        family: None,
        expires_at: UNIX_EPOCH.checked_add(Duration::from_secs(until))?,
    })
}
