//! DPoP proofs: that the sender of this very request holds a private key, now (RFC 9449 section 4).

mod seen;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use portunus_auth_core::{BearerToken, Reason};
use serde_json::{Map, Value};
use url::Url;

use crate::jose::{Algorithm, UnverifiedJwt, sha256, token_digest};
use crate::json;
use crate::jwk::Key;
use crate::possession::Shown;
use crate::thumbprint::thumbprint;

pub(crate) use seen::{Seen, SeenProofs};

/// What proofs may be signed with, as the metadata says.
pub(crate) const ALGORITHMS: [Algorithm; 5] = Algorithm::DEFAULT;

/// What proofs may be signed with, as a challenge says it (`algs`, RFC 9449 section 7.1).
pub const DPOP_ALGORITHMS: &str = "RS256 PS256 ES256 ES384 EdDSA";

/// How long a proof is good for.
pub(crate) const LIFETIME: Duration = Duration::from_secs(60);

/// How far a sender's clock may be ahead of ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// The longest `jti`, in bytes.
const MAX_ID: usize = 256;

/// A verified proof.
#[derive(Debug)]
pub(crate) struct Proof {
    /// The thumbprint of the key that signed it.
    pub(crate) key: Arc<str>,
    /// A name for it, by which a second use is recognised.
    pub(crate) id: [u8; 32],
    /// The first instant at which it is refused for its age. Whoever remembers it must not forget it earlier,
    /// or it can be used twice.
    pub(crate) until: SystemTime,
}

/// What a proof must be for.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    /// The address of the request, by our own configuration.
    pub(crate) url: &'a Url,
    /// The token that comes with the request.
    pub(crate) token: &'a BearerToken,
    /// The thumbprint of the key that the proof must be by, if it must be by one. With another one nothing is
    /// computed.
    pub(crate) key: Option<&'a str>,
    /// Whether the proof must name the token (`ath`), as at a resource (RFC 9449 section 7). A proof that does
    /// so elsewhere must name the right one.
    pub(crate) names_token: bool,
}

/// Verifies the proof that a request shows, but for whether it was used before.
///
/// # Errors
/// Why it proves nothing, for the audit.
pub(crate) fn verify(shown: &Shown, asked: &Asked<'_>, now: SystemTime) -> Result<Proof, Reason> {
    let text = match shown {
        Shown::Nothing => return Err(Reason::MissingProof),
        Shown::Unreadable => return Err(Reason::BadProof),
        Shown::One(text) => text,
    };
    let jwt = UnverifiedJwt::read(text).map_err(|_| Reason::BadProof)?;
    if jwt.kind().as_deref() != Some("dpop+jwt") || !ALGORITHMS.contains(&jwt.algorithm()) {
        return Err(Reason::BadProof);
    }
    let jwk = jwt.embedded_key().ok_or(Reason::BadProof)?;
    let key: Arc<str> = thumbprint(jwk).ok_or(Reason::BadProof)?.into();
    if asked.key.is_some_and(|expected| *key != *expected) {
        return Err(Reason::ProofOfOtherKey);
    }
    let verifier = Key::brought_along(jwk, jwt.algorithm()).ok_or(Reason::BadProof)?;
    let claims = verifier.open(&jwt).ok().and_then(json::object).ok_or(Reason::BadProof)?;
    check_request(&claims, asked)?;
    let until = check_age(&claims, now)?;
    let jti = text_of(&claims, "jti").filter(|jti| jti.len() <= MAX_ID).ok_or(Reason::BadProof)?;
    // The thumbprint has a fixed length, so no two pairs are spelled alike.
    let id = sha256([key.as_bytes(), jti.as_bytes()].concat().as_slice());
    Ok(Proof { key, id, until })
}

/// RFC 9449 section 4.3, numbers 8, 9 and 11.
fn check_request(claims: &Map<String, Value>, asked: &Asked<'_>) -> Result<(), Reason> {
    let method = text_of(claims, "htm").ok_or(Reason::BadProof)?;
    let url = text_of(claims, "htu").ok_or(Reason::BadProof)?;
    let names_the_token = match claims.get("ath") {
        None => !asked.names_token,
        Some(digest) => *digest == URL_SAFE_NO_PAD.encode(token_digest(asked.token)),
    };
    if method == asked.method.as_str() && is_same(url, asked.url) && names_the_token {
        Ok(())
    } else {
        Err(Reason::ProofOfOtherRequest)
    }
}

/// Compares addresses in their normal form (RFC 3986 sections 6.2.2 and 6.2.3), without query and fragment.
fn is_same(stated: &str, ours: &Url) -> bool {
    let Ok(mut stated) = Url::parse(stated) else { return false };
    stated.set_query(None);
    stated.set_fragment(None);
    stated == *ours
}

fn check_age(claims: &Map<String, Value>, now: SystemTime) -> Result<SystemTime, Reason> {
    let issued = claims.get("iat").and_then(Value::as_u64).ok_or(Reason::BadProof)?;
    let issued = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(issued));
    let until = issued.and_then(|issued| issued.checked_add(LIFETIME)).ok_or(Reason::BadProof)?;
    let is_ahead = issued.is_none_or(|issued| issued > now + LEEWAY);
    if until <= now || is_ahead { Err(Reason::StaleProof) } else { Ok(until) }
}

fn text_of<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_names_the_algorithms() {
        let name =
            |algorithm: &Algorithm| serde_json::to_value(algorithm).unwrap().as_str().unwrap().to_owned();
        let names: Vec<String> = ALGORITHMS.iter().map(name).collect();
        assert_eq!(DPOP_ALGORITHMS, names.join(" "));
    }

    #[test]
    fn addresses_are_compared_in_their_normal_form() {
        let ours = Url::parse("https://llm.example.com/v1/messages").unwrap();
        for same in [
            "https://llm.example.com/v1/messages",
            "HTTPS://LLM.EXAMPLE.COM:443/v1/messages",
            "https://llm.example.com/v1/messages?beta=true#x",
            "https://llm.example.com/v1/../v1/messages",
        ] {
            assert!(is_same(same, &ours), "{same}");
        }
        for other in [
            "http://llm.example.com/v1/messages",
            "https://llm.example.com:8443/v1/messages",
            "https://llm.example.com/v1/messages/",
            "https://llm.example.com/v1/Messages",
            "https://llm.example.com.evil.example/v1/messages",
            "https://llm.example.com@evil.example/v1/messages",
            "https://user@llm.example.com/v1/messages",
            "//llm.example.com/v1/messages",
            "/v1/messages",
            "",
        ] {
            assert!(!is_same(other, &ours), "{other}");
        }
    }
}
