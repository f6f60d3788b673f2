//! Proofs that a client has a key (RFC 9449 §4.3).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{JwkSet, ThumbprintHash};
use serde_json::{Map, Value};
use url::Url;

use super::Idp;
use super::assertion;
use super::error::OAuthError;
use super::keys::Algorithm;
use super::mint::seconds;
use super::routes::Endpoint;
use crate::capture::Recorded;

/// How far the time of a proof may be off, in seconds.
const WINDOW: u64 = 60;

/// Why a proof is not taken.
pub(super) enum Unproven {
    /// It is wrong.
    Wrong(&'static str),
    /// It lacks the nonce, or has an old one.
    Nonce(String),
}

/// The thumbprint of the key that a token request proves; `None`: it has no proof.
pub(super) fn proven_at_token_endpoint(idp: &Idp, request: &Recorded) -> Result<Option<String>, OAuthError> {
    proven(idp, request, Endpoint::Token, None).map_err(|unproven| match unproven {
        Unproven::Wrong(says) => OAuthError::new("invalid_dpop_proof", says),
        Unproven::Nonce(nonce) => {
            OAuthError::new("use_dpop_nonce", "the proof has to contain the nonce").nonce(nonce)
        }
    })
}

/// The thumbprint of the key that a request to that endpoint proves, together with that token.
pub(super) fn proven(
    idp: &Idp,
    request: &Recorded,
    endpoint: Endpoint,
    token: Option<&str>,
) -> Result<Option<String>, Unproven> {
    let mut proofs = request.headers_with_secrets().get_all("dpop").iter();
    let Some(proof) = proofs.next() else { return Ok(None) };
    if proofs.next().is_some() {
        return Err(Unproven::Wrong("there are two proofs"));
    }
    let read = proof.to_str().ok().and_then(verified);
    let (claims, thumbprint) =
        read.ok_or(Unproven::Wrong("the proof is malformed, or its signature wrong"))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("htm") != Some(request.method().as_str()) || !is_at(text("htu"), idp.routes.url(endpoint)) {
        return Err(Unproven::Wrong("the proof is for another request"));
    }
    let (now, at) = (seconds(idp.now()), claims.get("iat").and_then(Value::as_u64));
    if at.is_none_or(|at| at.abs_diff(now) > WINDOW) {
        return Err(Unproven::Wrong("the proof is too old, or of the future"));
    }
    if let Some(token) = token {
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
        if text("ath") != Some(&*hash) {
            return Err(Unproven::Wrong("the proof is for another token"));
        }
    }
    if let Some(nonce) = idp.dpop_nonce().filter(|nonce| text("nonce") != Some(nonce)) {
        return Err(Unproven::Nonce(nonce));
    }
    let jti = text("jti").ok_or(Unproven::Wrong("the proof has no `jti`"))?;
    if !idp.seen.first_time(&format!("proof {thumbprint} {jti}"), now + 2 * WINDOW, now) {
        return Err(Unproven::Wrong("the proof was used before"));
    }
    Ok(Some(thumbprint))
}

/// The claims and the thumbprint of the key that signed them, which is a public one in the header.
fn verified(proof: &str) -> Option<(Map<String, Value>, String)> {
    let header = jsonwebtoken::decode_header(proof).ok()?;
    let raw = URL_SAFE_NO_PAD.decode(proof.split('.').next()?).ok()?;
    let raw: Value = serde_json::from_slice(&raw).ok()?;
    let private = ["d", "p", "q", "dp", "dq", "qi", "k"].iter().any(|name| raw["jwk"].get(name).is_some());
    let known = Algorithm::ALL.iter().any(|algorithm| algorithm.jwt() == header.alg);
    if header.typ.as_deref() != Some("dpop+jwt") || private || !known {
        return None;
    }
    let key = header.jwk?;
    let thumbprint = key.thumbprint(ThumbprintHash::SHA256).ok()?;
    Some((assertion::verified(proof, &JwkSet { keys: vec![key] })?, thumbprint))
}

/// Whether the two are the same but for query and fragment (RFC 9449 §4.3).
fn is_at(claimed: Option<&str>, wanted: Option<String>) -> bool {
    let bare = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        Some(url)
    };
    let claimed = claimed.and_then(bare);
    claimed.is_some() && claimed == wanted.as_deref().and_then(bare)
}
