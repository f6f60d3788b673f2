//! The keys that sign tokens: bundled, public, and therefore for tests only.

use std::fmt;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// How a token is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[default]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    pub(super) const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// The name in a token's header (RFC 7518 §3.1, RFC 8037 §3.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(super) fn jwt(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }

    /// The left half of the token's hash (OIDC Core §3.1.3.6).
    pub(super) fn half_hash(self, token: &str) -> String {
        use aws_lc_rs::digest::{SHA256, SHA512, digest};
        let hash = match self {
            Self::Rs256 | Self::Es256 => digest(&SHA256, token.as_bytes()),
            Self::EdDsa => digest(&SHA512, token.as_bytes()),
        };
        let hash = hash.as_ref();
        URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2])
    }
}

/// Private keys by set and algorithm. A rotation takes the other set.
const PEM: [[&[u8]; 3]; 2] = [
    [
        include_bytes!("../keys/TEST-ONLY-rs256-a.pem"),
        include_bytes!("../keys/TEST-ONLY-es256-a.pem"),
        include_bytes!("../keys/TEST-ONLY-eddsa-a.pem"),
    ],
    [
        include_bytes!("../keys/TEST-ONLY-rs256-b.pem"),
        include_bytes!("../keys/TEST-ONLY-es256-b.pem"),
        include_bytes!("../keys/TEST-ONLY-eddsa-b.pem"),
    ],
];

/// The same keys once they are read, which takes longer, and touches more memory, than all that a start does.
static READ: [[OnceLock<(EncodingKey, Jwk)>; 3]; 2] = [const { [const { OnceLock::new() }; 3] }; 2];

pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    kid: String,
    pub(super) private: EncodingKey,
    pub(super) public: Jwk,
}

impl Key {
    pub(super) fn bundled(algorithm: Algorithm, generation: usize) -> Self {
        let (set, place) = (generation % 2, algorithm as usize);
        let read = READ[set][place].get_or_init(|| read(algorithm, PEM[set][place]));
        let (private, mut public) = read.clone();
        let kid = format!("mock-{}-{}", algorithm.name().to_ascii_lowercase(), generation + 1);
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Self { algorithm, kid, private, public }
    }
}

fn read(algorithm: Algorithm, pem: &[u8]) -> (EncodingKey, Jwk) {
    let private = match algorithm {
        Algorithm::Rs256 => EncodingKey::from_rsa_pem(pem),
        Algorithm::Es256 => EncodingKey::from_ec_pem(pem),
        Algorithm::EdDsa => EncodingKey::from_ed_pem(pem),
    };
    let private = private.expect("a bundled key is readable");
    let public = Jwk::from_encoding_key(&private, algorithm.jwt()).expect("a bundled key is whole");
    (private, public)
}

/// The published keys. The newest generation signs.
pub(super) struct KeySet {
    algorithms: &'static [Algorithm],
    generation: usize,
    /// Which of the bundled keys, by generation. They are read when they are needed.
    keys: Vec<(Algorithm, usize)>,
    /// What is published in place of the keys: those of before a rotation.
    stale: Option<JwkSet>,
}

/// Which key a token's header is to name.
pub(super) enum Kid {
    Right,
    None,
    Unknown,
}

impl KeySet {
    pub(super) fn new(algorithms: &'static [Algorithm]) -> Self {
        let mut set = Self { algorithms, generation: 0, keys: Vec::new(), stale: None };
        set.publish();
        set
    }

    fn publish(&mut self) {
        let generation = self.generation;
        self.keys.extend(self.algorithms.iter().map(|algorithm| (*algorithm, generation)));
    }

    /// New keys sign from now on; the earlier ones stay published.
    pub(super) fn rotate(&mut self) {
        self.generation += 1;
        self.publish();
    }

    /// Only the keys that sign stay published.
    pub(super) fn retire(&mut self) {
        self.keys.drain(..self.keys.len() - self.algorithms.len());
    }

    /// Publishes what is published now, whatever happens to the keys; or what there is again.
    pub(super) fn hold(&mut self, stale: bool) {
        self.stale = stale.then(|| self.published());
    }

    /// What is published.
    pub(super) fn published(&self) -> JwkSet {
        self.stale.clone().unwrap_or_else(|| self.jwks())
    }

    /// The public keys that there are.
    pub(super) fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.keys.iter().map(|(algorithm, n)| Key::bundled(*algorithm, *n).public).collect() }
    }

    pub(super) fn sign(
        &self,
        algorithm: Algorithm,
        typ: &str,
        kid: &Kid,
        claims: &Map<String, Value>,
    ) -> String {
        let newest = self.keys.iter().rev().find(|(known, _)| *known == algorithm);
        // A provider that does not sign that way has no such key, and signs as it does.
        let (algorithm, generation) = *newest.or(self.keys.last()).expect("there is always a key");
        let key = Key::bundled(algorithm, generation);
        let mut header = Header::new(key.algorithm.jwt());
        header.typ = Some(typ.to_owned());
        header.kid = match kid {
            Kid::Right => Some(key.kid),
            Kid::None => None,
            Kid::Unknown => Some("unknown-key".to_owned()),
        };
        jsonwebtoken::encode(&header, claims, &key.private).expect("a bundled key signs")
    }
}

/// A token that nobody signed (RFC 7518 §3.6).
pub(super) fn unsigned(typ: &str, claims: &Map<String, Value>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "none", "typ": typ});
    format!("{}.{}.", part(&header), part(&Value::Object(claims.clone())))
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.keys).finish()
    }
}
