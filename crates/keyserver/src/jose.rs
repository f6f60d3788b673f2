//! A signed token as somebody presented it: read strictly, believed in nothing.

use std::fmt;

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portunus_auth_core::{BearerToken, Reason};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json;
use crate::naming::trust_domain;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037). Only asymmetric ones exist here: with a
/// shared secret, whoever verifies could also sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are the registered ones")]
#[non_exhaustive]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// What an issuer may use when its configuration names none.
    pub const DEFAULT: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// The algorithm of exactly that registered name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name)).ok()
    }
}

/// Why a token is refused. Goes to the audit; the caller hears a fixed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is not a signed JWT in compact form, or not strictly so.
    #[error("malformed token")]
    Malformed,
    /// Its algorithm is none that we know, that its issuer may use, or that its key is for.
    #[error("unsupported algorithm")]
    UnsupportedAlgorithm,
    /// No configured issuer has exactly this name.
    #[error("unknown issuer")]
    UnknownIssuer,
    /// The issuer publishes no key of this name.
    #[error("unknown key")]
    UnknownKey,
    /// It names no key, and several keys could be meant.
    #[error("ambiguous key")]
    AmbiguousKey,
    /// The signature is wrong.
    #[error("bad signature")]
    BadSignature,
    /// It is a token of another kind, such as a logout token.
    #[error("wrong type of token")]
    WrongType,
    /// It is for somebody else, or also for somebody else.
    #[error("wrong audience")]
    WrongAudience,
    /// A claim is missing, of a wrong type, or has a value that cannot be.
    #[error("wrong claims")]
    WrongClaims,
    /// It is about nobody of a tenant that is served here.
    #[error("unknown tenant")]
    UnknownTenant,
    /// Its time has not come.
    #[error("not yet valid")]
    NotYetValid,
    /// Its time is over.
    #[error("expired")]
    Expired,
}

impl From<Refused> for Reason {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed => Self::MalformedCredential,
            Refused::UnsupportedAlgorithm => Self::UnsupportedAlgorithm,
            Refused::UnknownIssuer => Self::UnknownIssuer,
            Refused::UnknownKey | Refused::AmbiguousKey => Self::UnknownKey,
            Refused::BadSignature => Self::BadSignature,
            Refused::WrongType | Refused::WrongClaims => Self::WrongClaims,
            Refused::WrongAudience => Self::WrongAudience,
            Refused::UnknownTenant => Self::NotAdmitted,
            Refused::NotYetValid => Self::NotYetValid,
            Refused::Expired => Self::ExpiredCredential,
        }
    }
}

/// A signed JWT (RFC 7519) in compact form (RFC 7515 section 7.1) whose signature nobody has checked.
///
/// What it says is good for finding its issuer's keys, and for nothing else.
pub struct UnverifiedJwt<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    kind: Option<String>,
    embedded: Option<Value>,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> UnverifiedJwt<'a> {
    /// Reads the token's structure and header.
    ///
    /// # Errors
    /// [`Refused::Malformed`] unless it is three segments of canonical base64url of which the first is
    /// a strict JSON object, at most 16 KiB in all, and without extensions (`crit`, `b64`);
    /// [`Refused::UnsupportedAlgorithm`] for `none`, for HMAC, and for whatever else is not an [`Algorithm`].
    pub fn read(token: &'a BearerToken) -> Result<Self, Refused> {
        let text = token.expose();
        if text.len() > MAX_TOKEN {
            return Err(Refused::Malformed);
        }
        // A fourth piece would be a JWE or rubbish; whatever it holds is not looked at.
        let mut pieces = text.splitn(4, '.');
        let (Some(header), Some(payload), Some(signature), None) =
            (pieces.next(), pieces.next(), pieces.next(), pieces.next())
        else {
            return Err(Refused::Malformed);
        };
        let decode = |piece: &str| URL_SAFE_NO_PAD.decode(piece).map_err(|_| Refused::Malformed);
        let signed = &text[..header.len() + 1 + payload.len()];
        let mut header = json::object(&decode(header)?).ok_or(Refused::Malformed)?;
        // An extension that must be understood is not (RFC 7515 section 4.1.11, RFC 7797 section 7).
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Refused::Malformed);
        }
        let mut text_member = |name: &str| match header.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refused::Malformed),
        };
        let algorithm = text_member("alg")?.ok_or(Refused::Malformed)?;
        Ok(Self {
            algorithm: Algorithm::named(&algorithm).ok_or(Refused::UnsupportedAlgorithm)?,
            key_id: text_member("kid")?,
            kind: text_member("typ")?,
            embedded: header.remove("jwk"),
            signed,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }

    /// The issuer that the token claims to be from.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when the payload is no strict JSON object, [`Refused::WrongClaims`] when it
    /// names no issuer.
    pub fn issuer(&self) -> Result<String, Refused> {
        match json::object(&self.payload).ok_or(Refused::Malformed)?.remove("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            _ => Err(Refused::WrongClaims),
        }
    }

    /// What selects the issuer's configuration: the `iss`, or of a token without one the trust domain of its
    /// SPIFFE ID.
    pub(crate) fn claimed(&self) -> Result<String, Refused> {
        let claims = json::object(&self.payload).ok_or(Refused::Malformed)?;
        match (claims.get("iss"), claims.get("sub")) {
            (Some(Value::String(issuer)), _) => Ok(issuer.clone()),
            (None, Some(Value::String(subject))) => {
                let domain = trust_domain(subject).ok_or(Refused::WrongClaims)?;
                Ok(format!("spiffe://{domain}"))
            }
            _ => Err(Refused::WrongClaims),
        }
    }

    /// The name of the key that the token claims to be signed with.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The `typ` of the header: a media type, so case does not matter and `application/` may be left
    /// out (RFC 7515 section 4.1.9).
    pub(crate) fn kind(&self) -> Option<String> {
        let kind = self.kind.as_ref()?.to_ascii_lowercase();
        Some(kind.strip_prefix("application/").map(str::to_owned).unwrap_or(kind))
    }

    /// The key that the header brings along (RFC 7515 section 4.1.3). It says nothing about who signed, and is
    /// for [`crate::dpop`] alone, where the key itself is what is proven.
    pub(crate) fn embedded_key(&self) -> Option<&Map<String, Value>> {
        self.embedded.as_ref()?.as_object()
    }

    /// What the signature covers.
    pub(crate) fn signed(&self) -> &'a str {
        self.signed
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// For [`crate::jwk::Key::open`] alone, which hands it out after checking the signature.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// A name for what was signed. Leaves out the signature, because an ECDSA signature can be turned
    /// into another valid one without the key, and that must not make it another token.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        sha256(self.signed.as_bytes())
    }
}

impl fmt::Debug for UnverifiedJwt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJwt").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A name for the whole token, for remembering what was found about it.
pub(crate) fn token_digest(token: &BearerToken) -> [u8; 32] {
    sha256(token.expose().as_bytes())
}

/// The left half of an access token's hash, as an ID token that is signed so holds it (`at_hash`, OpenID
/// Connect Core section 3.1.3.6).
pub(crate) fn half_hash(algorithm: Algorithm, token: &BearerToken) -> String {
    use Algorithm as A;
    let hash = match algorithm {
        A::Rs256 | A::Ps256 | A::Es256 => &SHA256,
        A::Rs384 | A::Ps384 | A::Es384 => &SHA384,
        A::Rs512 | A::Ps512 | A::Es512 | A::EdDsa => &SHA512,
    };
    let hash = digest(hash, token.expose().as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
}

/// SHA-256.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, data).as_ref());
    bytes
}
