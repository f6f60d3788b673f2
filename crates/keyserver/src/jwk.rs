//! An issuer's public keys, parsed once (RFC 7517).

use std::collections::HashSet;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    EcdsaVerificationAlgorithm, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::jose::{Algorithm, Refused, UnverifiedJwt, sha256};
use crate::json;

/// The largest key set that is looked at, in bytes.
pub(crate) const MAX_SET: usize = 100 * 1024;

/// The most keys in one set.
const MAX_KEYS: usize = 64;

/// Why a key set is not used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadKeySet {
    /// Over 100 KiB, or more than 64 keys.
    #[error("the key set is too large")]
    TooLarge,
    /// Not a strict JSON object with a list `keys`.
    #[error("the key set is malformed")]
    Malformed,
    /// Two keys of one name: which one signs is then anybody's choice.
    #[error("the key set has two keys of the same name")]
    DuplicateKeyId,
    /// No key in it can verify a signature.
    #[error("the key set has no usable key")]
    NoUsableKey,
}

/// An issuer's verification keys. Never empty.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    text: [u8; 32],
}

/// One verification key.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    /// The issuer that it signs for alone, where the set says so, as Entra's do.
    issuer: Option<String>,
    /// The one algorithm the key is for, or each that it could be for when it does not say.
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
}

impl KeySet {
    /// Reads a JWK set. Keys that cannot verify a signature are left out: symmetric, private and
    /// encryption keys, keys for other operations, of unknown kinds, malformed or weak (RSA under 2048
    /// bits, RSA exponents below 3, points off the curve).
    ///
    /// # Errors
    /// [`BadKeySet`] when the set as a whole cannot be used.
    pub fn parse(text: &[u8]) -> Result<Self, BadKeySet> {
        Self::read(text, &["sig"])
    }

    /// Reads a SPIFFE bundle (SPIFFE Trust Domain and Bundle section 4), whose keys are for X.509-SVIDs or for
    /// JWT-SVIDs; only the latter are taken, and those of a plain JWK set.
    ///
    /// # Errors
    /// [`BadKeySet`] when the set as a whole cannot be used.
    pub fn parse_spiffe_bundle(text: &[u8]) -> Result<Self, BadKeySet> {
        Self::read(text, &["sig", "jwt-svid"])
    }

    fn read(text: &[u8], uses: &[&str]) -> Result<Self, BadKeySet> {
        if text.len() > MAX_SET {
            return Err(BadKeySet::TooLarge);
        }
        let mut set = json::object(text).ok_or(BadKeySet::Malformed)?;
        let Some(Value::Array(members)) = set.remove("keys") else {
            return Err(BadKeySet::Malformed);
        };
        if members.len() > MAX_KEYS {
            return Err(BadKeySet::TooLarge);
        }
        let mut names = HashSet::new();
        if !members.iter().filter_map(|key| key.get("kid")?.as_str()).all(|name| names.insert(name)) {
            return Err(BadKeySet::DuplicateKeyId);
        }
        let keys: Vec<Key> =
            members.iter().filter_map(|key| Key::parse(key.as_object()?, uses, None)).collect();
        if keys.is_empty() { Err(BadKeySet::NoUsableKey) } else { Ok(Self { keys, text: sha256(text) }) }
    }

    /// The token's payload, once its signature has been verified by a key of this set and by an
    /// algorithm that is both allowed and the key's.
    ///
    /// # Errors
    /// [`Refused`], saying which of these failed.
    pub fn open<'t>(&self, jwt: &'t UnverifiedJwt<'_>, allowed: &[Algorithm]) -> Result<&'t [u8], Refused> {
        let algorithm = jwt.algorithm();
        if !allowed.contains(&algorithm) {
            return Err(Refused::UnsupportedAlgorithm);
        }
        self.key_of(jwt)?.open(jwt)
    }

    /// The one key that the token can be meant to be signed with.
    fn key_of(&self, jwt: &UnverifiedJwt<'_>) -> Result<&Key, Refused> {
        match jwt.key_id() {
            Some(id) => {
                let key = self.keys.iter().find(|key| key.id.as_deref() == Some(id));
                key.ok_or(Refused::UnknownKey)
            }
            None => {
                let mut fitting = self.keys.iter().filter(|key| key.verifier(jwt.algorithm()).is_some());
                match (fitting.next(), fitting.next()) {
                    (Some(only), None) => Ok(only),
                    (None, _) => Err(Refused::UnknownKey),
                    (Some(_), Some(_)) => Err(Refused::AmbiguousKey),
                }
            }
        }
    }

    /// The issuer that the token's key signs for alone, if the set says so.
    pub(crate) fn issuer_of(&self, jwt: &UnverifiedJwt<'_>) -> Option<&str> {
        self.key_of(jwt).ok()?.issuer.as_deref()
    }

    /// Whether both were read from the same text.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.text == other.text
    }

    /// Whether a key of that name is in the set.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }
}

impl Key {
    /// The key that a token brings along, for that token's algorithm, if it is a public one. A private one, which
    /// everybody who saw the token has, is nobody's.
    pub(crate) fn brought_along(jwk: &Map<String, Value>, algorithm: Algorithm) -> Option<Self> {
        let is_secret = ["p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| jwk.contains_key(*name));
        if is_secret { None } else { Self::parse(jwk, &["sig"], Some(algorithm)) }
    }

    /// The token's payload, once its signature has been verified by this key.
    pub(crate) fn open<'t>(&self, jwt: &'t UnverifiedJwt<'_>) -> Result<&'t [u8], Refused> {
        let verifier = self.verifier(jwt.algorithm()).ok_or(Refused::UnsupportedAlgorithm)?;
        verifier.verify_sig(jwt.signed().as_bytes(), jwt.signature()).map_err(|_| Refused::BadSignature)?;
        Ok(jwt.payload())
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.verifiers.iter().find(|(its, _)| *its == algorithm).map(|(_, verifier)| verifier)
    }

    /// A key that verifies, for one algorithm or for all that it could be for.
    fn parse(jwk: &Map<String, Value>, uses: &[&str], only: Option<Algorithm>) -> Option<Self> {
        let id = match jwk.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return None,
        };
        if jwk.contains_key("d") || !is_for_verifying(jwk, uses) {
            return None;
        }
        let pinned = jwk.get("alg").map(|pinned| pinned.as_str().and_then(Algorithm::named).ok_or(()));
        let pinned = pinned.transpose().ok()?;
        let is_meant = |algorithm: Algorithm| [pinned, only].iter().flatten().all(|one| *one == algorithm);
        let mut verifiers = match text(jwk, "kty")? {
            "RSA" => rsa(jwk, is_meant)?,
            "EC" => vec![ec(jwk)?],
            "OKP" => vec![ed25519(jwk)?],
            _ => return None,
        };
        verifiers.retain(|(algorithm, _)| is_meant(*algorithm));
        let issuer = text(jwk, "issuer").map(str::to_owned);
        if verifiers.is_empty() { None } else { Some(Self { id, issuer, verifiers }) }
    }
}

/// RFC 7517 sections 4.2 and 4.3.
fn is_for_verifying(jwk: &Map<String, Value>, uses: &[&str]) -> bool {
    let by_use = jwk.get("use").is_none_or(|its| its.as_str().is_some_and(|its| uses.contains(&its)));
    let by_operations = jwk.get("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|operations| operations.iter().any(|its| its == "verify"))
    });
    by_use && by_operations
}

fn text<'j>(jwk: &'j Map<String, Value>, name: &str) -> Option<&'j str> {
    jwk.get(name)?.as_str()
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(jwk, name)?).ok()
}

fn rsa(
    jwk: &Map<String, Value>,
    is_meant: impl Fn(Algorithm) -> bool,
) -> Option<Vec<(Algorithm, ParsedPublicKey)>> {
    const ALGORITHMS: [(Algorithm, &RsaParameters); 6] = [
        (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
        (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
        (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
        (Algorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
        (Algorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
    ];
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
    // An exponent of 1 makes every padding its own signature.
    let exponent_is_sound = e.len() <= 8 && e.last()? % 2 == 1 && e.as_slice() != [1];
    if !(2048..=8192).contains(&bits) || !exponent_is_sound || is_roca(&n) {
        return None;
    }
    let key = RsaPublicKeyComponents { n, e };
    ALGORITHMS
        .iter()
        .filter(|(algorithm, _)| is_meant(*algorithm))
        .map(|(algorithm, parameters)| Some((*algorithm, key.to_parsed_public_key(parameters).ok()?)))
        .collect()
}

/// Whether the modulus was made by the broken generator of CVE-2017-15361 (ROCA), whose private keys can
/// be computed: such a modulus is a power of 65537 modulo every small prime.
fn is_roca(n: &[u8]) -> bool {
    const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.iter().all(|prime| {
        let rest = n.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        (0..*prime).any(|_| {
            power = power * (65537 % prime) % prime;
            power == rest
        })
    })
}

fn ec(jwk: &Map<String, Value>) -> Option<(Algorithm, ParsedPublicKey)> {
    let (algorithm, verifier, size): (_, &'static EcdsaVerificationAlgorithm, _) = match text(jwk, "crv")? {
        "P-256" => (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED, 32),
        "P-384" => (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED, 48),
        "P-521" => (Algorithm::Es512, &ECDSA_P521_SHA512_FIXED, 66),
        _ => return None,
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != size || y.len() != size {
        return None;
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    Some((algorithm, ParsedPublicKey::new(verifier, point).ok()?))
}

fn ed25519(jwk: &Map<String, Value>) -> Option<(Algorithm, ParsedPublicKey)> {
    let x = bytes(jwk, "x")?;
    if text(jwk, "crv")? != "Ed25519" || x.len() != 32 {
        return None;
    }
    Some((Algorithm::EdDsa, ParsedPublicKey::new(&ED25519, x).ok()?))
}
