//! JWTs that others signed: of clients about themselves, and of issuers that are trusted (RFC 7523).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Map, Value};

use super::Idp;
use super::mint::seconds;
use super::routes::Endpoint;

/// After so many new names the old ones are forgotten.
const SWEEP_EVERY: usize = 1_024;

/// Names that may be used once, each for as long as it could be used at all.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<String, u64>>);

impl Seen {
    /// Whether that name comes for the first time; asking and noting are one step. It may be forgotten
    /// after `until`.
    pub(super) fn first_time(&self, name: &str, until: u64, now: u64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() % SWEEP_EVERY == SWEEP_EVERY - 1 {
            seen.retain(|_, until| now <= *until);
        }
        seen.insert(name.to_owned(), until).is_none()
    }
}

/// An issuer whose tokens are taken as assertions.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) issuer: String,
    pub(super) keys: JwkSet,
}

/// The claims, whoever signed them.
pub(super) fn unverified(token: &str) -> Option<Map<String, Value>> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// The claims, if one of the keys signed them. Nothing else is checked.
pub(super) fn verified(token: &str, keys: &JwkSet) -> Option<Map<String, Value>> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let named = |kid: &Option<String>| header.kid.is_none() || *kid == header.kid;
    keys.keys.iter().filter(|key| named(&key.common.key_id)).find_map(|key| {
        let key = DecodingKey::from_jwk(key).ok()?;
        jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation).ok().map(|data| data.claims)
    })
}

/// Whether the token is meant for this server and valid now (RFC 7523 §3), and until when it is.
pub(super) fn is_for(idp: &Idp, claims: &Map<String, Value>) -> Result<u64, &'static str> {
    let own = [Some(idp.issuer().to_owned()), idp.routes.url(Endpoint::Token)];
    let is_own = |audience: &Value| own.iter().flatten().any(|own| audience == own.as_str());
    let for_us = match claims.get("aud") {
        Some(Value::Array(several)) => several.iter().any(is_own),
        Some(one) => is_own(one),
        None => false,
    };
    if !for_us {
        return Err("the assertion is for somebody else");
    }
    is_live(idp, claims)
}

/// Whether the token is valid now, and until when it is; it has to say so itself.
pub(super) fn is_live(idp: &Idp, claims: &Map<String, Value>) -> Result<u64, &'static str> {
    let now = seconds(idp.now());
    let at = |name: &str| claims.get(name).and_then(Value::as_u64);
    let until = at("exp").filter(|exp| now < *exp);
    let until = until.ok_or("the assertion has expired, or does not say when it does")?;
    if claims.contains_key("nbf") && at("nbf").is_none_or(|nbf| now < nbf) {
        return Err("the assertion is not valid yet");
    }
    Ok(until)
}
