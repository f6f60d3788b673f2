//! Assertions that a client signs with the key of its certificate.
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use webpki::EndEntityCert;
use webpki::aws_lc_rs::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256_LEGACY_KEY};

/// A certificate that is registered with an application.
#[derive(Clone, Debug)]
pub(super) struct Registered(CertificateDer<'static>);

/// The assertions that have been seen; each is good once.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashSet<String>>);

/// Entra's codes.
pub(super) const NOT_REGISTERED: u32 = 700_027;
pub(super) const NOT_NOW: u32 = 700_024;
pub(super) const WRONG_AUDIENCE: u32 = 700_023;
pub(super) const WRONG_CLIENT: u32 = 700_021;
pub(super) const MALFORMED: u32 = 50_027;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    x5t: Option<String>,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
    x5c: Option<Vec<String>>,
}

/// MSAL writes some times with a fraction.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    aud: String,
    iss: String,
    sub: String,
    jti: String,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
}

impl Registered {
    /// The first certificate in a PEM text.
    pub(super) fn from_pem(pem: &str) -> Option<Self> {
        CertificateDer::from_pem_slice(pem.as_bytes()).ok().map(Self)
    }

    /// # Errors
    /// Entra's code for what is wrong.
    pub(super) fn check(
        &self,
        token: &str,
        (audience, client_id): (&str, &str),
        seen: &Seen,
        now: SystemTime,
    ) -> Result<(), u32> {
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| MALFORMED)?;
        let header: Header = read(header).ok_or(MALFORMED)?;
        self.check_header(&header)?;
        let algorithm = match header.alg.as_str() {
            "RS256" => RSA_PKCS1_2048_8192_SHA256,
            "PS256" => RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
            _ => return Err(MALFORMED),
        };
        let certificate = EndEntityCert::try_from(&self.0).map_err(|_| NOT_REGISTERED)?;
        certificate.verify_signature(algorithm, signed.as_bytes(), &signature).map_err(|_| NOT_REGISTERED)?;
        let claims: Claims = read(claims).ok_or(MALFORMED)?;
        if claims.aud != audience {
            return Err(WRONG_AUDIENCE);
        }
        if claims.iss != client_id || claims.sub != client_id {
            return Err(WRONG_CLIENT);
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let begins = claims.nbf.into_iter().chain(claims.iat).fold(0.0, f64::max);
        if now < begins || now >= claims.exp || claims.exp - begins > 86_400.0 {
            return Err(NOT_NOW);
        }
        let is_new = seen.0.lock().unwrap_or_else(PoisonError::into_inner).insert(claims.jti);
        if is_new { Ok(()) } else { Err(NOT_NOW) }
    }

    fn check_header(&self, header: &Header) -> Result<(), u32> {
        let named = |hash| Some(BASE64_URL_SAFE_NO_PAD.encode(digest(hash, &self.0)));
        let is_named = match (&header.x5t, &header.x5t_s256) {
            (None, sha256) => *sha256 == named(&SHA256),
            (sha1, None) => *sha1 == named(&SHA1_FOR_LEGACY_USE_ONLY),
            _ => return Err(MALFORMED),
        };
        let is_sent = |chain: &Vec<String>| chain.first() == Some(&BASE64_STANDARD.encode(&self.0));
        if header.typ != "JWT" {
            return Err(MALFORMED);
        }
        if is_named && header.x5c.as_ref().is_none_or(is_sent) { Ok(()) } else { Err(NOT_REGISTERED) }
    }
}

fn read<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
