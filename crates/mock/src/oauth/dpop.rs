//! A client's key that proves possession (RFC 9449), for tests of those who ask for the proof.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::ThumbprintHash;
use serde_json::{Map, Value, json};

use super::keys::{Algorithm, Key};

/// A key that signs DPoP proofs: bundled, public, and therefore for tests only.
pub struct DpopKey(Key);

impl DpopKey {
    /// One of two keys of that algorithm, by an even or an odd number.
    pub fn bundled(algorithm: Algorithm, number: usize) -> Self {
        let mut key = Key::bundled(algorithm, number);
        key.public.common.key_id = None;
        key.public.common.public_key_use = None;
        Self(key)
    }

    /// Its thumbprint (RFC 7638), as in `cnf.jkt`.
    ///
    /// # Panics
    /// Never: a bundled key has one.
    pub fn thumbprint(&self) -> String {
        self.0.public.thumbprint(ThumbprintHash::SHA256).expect("a bundled key has a thumbprint")
    }

    /// A proof for a request with that method to that address, made at that time. Each has another `jti`.
    pub fn proof(&self, method: &str, url: &str, at: SystemTime) -> DpopProof<'_> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let jti = format!("proof-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let iat = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let header = json!({"typ": "dpop+jwt", "alg": self.0.algorithm.name(), "jwk": self.0.public});
        let claims = json!({"jti": jti, "htm": method, "htu": url, "iat": iat});
        let members = |value: Value| value.as_object().cloned().unwrap_or_default();
        DpopProof { key: &self.0, header: members(header), claims: members(claims) }
    }
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DpopKey").field(&self.thumbprint()).finish()
    }
}

/// A proof in the making.
#[must_use]
pub struct DpopProof<'k> {
    key: &'k Key,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl DpopProof<'_> {
    /// For a request that presents this token (`ath`).
    pub fn for_token(self, token: &str) -> Self {
        self.claim("ath", URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())))
    }

    /// A claim, also in place of one that would be there anyway; `null` takes it away.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.claims, name, value.into());
        self
    }

    /// A member of the header, in the same way.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.header, name, value.into());
        self
    }

    /// The proof, signed as the header says or not.
    ///
    /// # Panics
    /// Never: a bundled key signs.
    pub fn sign(self) -> String {
        let part = |members: Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(members).to_string());
        let signed = format!("{}.{}", part(self.header), part(self.claims));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key.private, self.key.algorithm.jwt());
        format!("{signed}.{}", signature.expect("a bundled key signs"))
    }
}

impl fmt::Debug for DpopProof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopProof").field("claims", &self.claims).finish_non_exhaustive()
    }
}

fn set(members: &mut Map<String, Value>, name: &str, value: Value) {
    match value {
        Value::Null => drop(members.remove(name)),
        value => drop(members.insert(name.to_owned(), value)),
    }
}
