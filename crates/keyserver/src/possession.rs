//! What a request shows to prove that its sender holds a private key: a DPoP proof (RFC 9449), or the
//! certificate of its TLS connection (RFC 8705).

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Extensions, HeaderMap, HeaderName, Method};
use portunus_auth_core::{BearerToken, Confirmation, Grant};
use serde_json::{Map, Value};

use crate::jose::sha256;

/// The field that carries a proof (RFC 9449 section 4.1).
static DPOP: HeaderName = HeaderName::from_static("dpop");

/// The certificate by which the sender of a request proved itself in the TLS handshake.
///
/// Whoever ends TLS puts it into the request's extensions, once the handshake has proven that the sender holds
/// its private key. Never make one of a header that a caller can send.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate(Arc<str>);

impl ClientCertificate {
    /// This one, in DER.
    pub fn from_der(der: &[u8]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(sha256(der)).into())
    }

    /// Its `x5t#S256` (RFC 8705 section 3.1).
    pub fn thumbprint(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCertificate").field(&self.0).finish()
    }
}

/// What a request shows to prove that its sender holds a private key, and what request that is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Possession {
    pub(crate) method: Method,
    /// The path below the server's public address, without a query.
    pub(crate) path: String,
    pub(crate) proof: Shown,
    pub(crate) certificate: Option<ClientCertificate>,
}

/// The proof that a request carries.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    Nothing,
    One(BearerToken),
    /// More than one, or what is no text.
    Unreadable,
}

impl Possession {
    /// A request that proves nothing.
    pub fn none() -> Self {
        Self::new(Method::POST, "")
    }

    /// A request with this method, at this path below the server's public address, that proves nothing yet.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), proof: Shown::Nothing, certificate: None }
    }

    /// What the request with this head shows: the proof in its `DPoP` field, and the [`ClientCertificate`] in
    /// its extensions.
    pub fn of(method: &Method, path: &str, headers: &HeaderMap, extensions: &Extensions) -> Self {
        let mut fields = headers.get_all(&DPOP).iter();
        let proof = match (fields.next(), fields.next()) {
            (None, _) => Shown::Nothing,
            (Some(one), None) => {
                one.to_str().map_or(Shown::Unreadable, |text| Shown::One(BearerToken::new(text.trim())))
            }
            (Some(_), Some(_)) => Shown::Unreadable,
        };
        let certificate = extensions.get::<ClientCertificate>().cloned();
        Self { method: method.clone(), path: path.to_owned(), proof, certificate }
    }

    /// The same with this DPoP proof.
    #[must_use]
    pub fn with_proof(self, proof: BearerToken) -> Self {
        Self { proof: Shown::One(proof), ..self }
    }

    /// The same with this certificate.
    #[must_use]
    pub fn with_certificate(self, certificate: ClientCertificate) -> Self {
        Self { certificate: Some(certificate), ..self }
    }
}

/// The claim is no confirmation that this server can check.
#[derive(Debug)]
pub(crate) struct UnknownConfirmation;

/// The key that whoever presents a token with these claims must hold (RFC 7800 section 3.1). One that cannot
/// be checked is not passed over: the token would be good without the proof that its issuer asks for.
pub(crate) fn confirmation(claims: &Map<String, Value>) -> Result<Option<Confirmation>, UnknownConfirmation> {
    let Some(cnf) = claims.get("cnf") else { return Ok(None) };
    serde_json::from_value(cnf.clone()).map(Some).map_err(|_| UnknownConfirmation)
}

/// How a key with that grant is presented (RFC 9449 section 5, RFC 8705 section 3).
pub(crate) fn token_type(grant: &Grant) -> &'static str {
    match grant.confirmation {
        Some(Confirmation::Jkt(_)) => "DPoP",
        _ => "Bearer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_request_carries_one_proof_or_none_that_counts() {
        let shown = |values: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&DPOP, HeaderValue::from_bytes(value).unwrap());
            }
            Possession::of(&Method::POST, "/", &headers, &Extensions::new()).proof
        };
        assert!(matches!(shown(&[]), Shown::Nothing));
        assert!(matches!(shown(&[b"a.b.c"]), Shown::One(proof) if proof.expose() == "a.b.c"));
        assert!(matches!(shown(&[b"a.b.c", b"a.b.c"]), Shown::Unreadable));
        assert!(matches!(shown(&[b"\xff"]), Shown::Unreadable));
    }

    #[test]
    fn a_confirmation_that_is_not_understood_is_not_passed_over() {
        let read = |claims: Value| confirmation(claims.as_object().unwrap());
        assert!(read(serde_json::json!({})).unwrap().is_none());
        let jkt = read(serde_json::json!({"cnf": {"jkt": "x"}})).unwrap();
        assert_eq!(jkt, Some(Confirmation::Jkt("x".into())));
        let certificate = read(serde_json::json!({"cnf": {"x5t#S256": "x"}})).unwrap();
        assert_eq!(certificate, Some(Confirmation::X5tS256("x".into())));
        for cnf in [
            serde_json::json!({}),
            serde_json::json!(null),
            serde_json::json!("jkt"),
            serde_json::json!({"kid": "x"}),
            serde_json::json!({"jkt": 1}),
            serde_json::json!({"jkt": "x", "x5t#S256": "y"}),
        ] {
            assert!(read(serde_json::json!({"cnf": cnf})).is_err());
        }
    }
}
