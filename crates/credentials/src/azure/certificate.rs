//! A client's certificate, and the assertions signed with its key.
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use portunus_auth_core::CredentialError;
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use url::Url;

use crate::jwt::{Algorithm, KeyError, SigningKey};

/// How long an assertion is good.
const LIFE: Duration = Duration::from_secs(600);

/// A certificate that is registered with an application, and its private key.
///
/// Assertions are signed with PS256 and name the certificate by its SHA-256, as Microsoft asks for.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    key: SigningKey,
    /// The certificate, then those that issued it, as DER.
    chain: Vec<CertificateDer<'static>>,
    algorithm: Algorithm,
    sends_chain: bool,
}

#[derive(Debug, thiserror::Error)]
enum Misconfigured {
    #[error("the client certificate's private key")]
    Key(#[source] KeyError),
    #[error(
        "there is no certificate in PEM (`-----BEGIN CERTIFICATE-----`), or one is damaged; a PFX file has to be converted"
    )]
    NoCertificate,
    #[error("none of the certificates is that of the private key")]
    NotOfThisKey,
    #[error("the system has no randomness")]
    NoRandomness,
}

impl ClientCertificate {
    /// From a PEM text with the private key, not encrypted, and its certificate, in any order; further
    /// certificates are those that issued it.
    ///
    /// # Errors
    /// `Invalid` if one of both is missing or damaged, the key is not an RSA key, or the certificate is another
    /// key's.
    pub fn from_pem(pem: &SecretString) -> Result<Self, CredentialError> {
        Self::from_pems(pem, pem)
    }

    /// The same from two texts: the certificate, maybe with those that issued it, and its private key.
    ///
    /// # Errors
    /// Those of [`from_pem`](Self::from_pem).
    pub fn from_pems(certificate: &SecretString, key: &SecretString) -> Result<Self, CredentialError> {
        let key = SigningKey::from_pem(key).map_err(|why| invalid(Misconfigured::Key(why)))?;
        let chain = CertificateDer::pem_slice_iter(certificate.expose_secret().as_bytes());
        let mut chain =
            chain.collect::<Result<Vec<_>, _>>().map_err(|_| invalid(Misconfigured::NoCertificate))?;
        if chain.is_empty() {
            return Err(invalid(Misconfigured::NoCertificate));
        }
        // A certificate holds its public key in the form in which the key shows it.
        let is_own =
            |der: &CertificateDer<'_>| der.windows(key.public().len()).any(|part| part == key.public());
        let own = chain.iter().position(is_own).ok_or_else(|| invalid(Misconfigured::NotOfThisKey))?;
        chain[..=own].rotate_right(1);
        Ok(Self { key, chain, algorithm: Algorithm::Ps256, sends_chain: false })
    }

    /// Sends the certificates along (`x5c`), for applications that trust a subject and an issuer instead of
    /// one certificate.
    #[must_use]
    pub fn sending_chain(self) -> Self {
        Self { sends_chain: true, ..self }
    }

    /// Signs with RS256, and names the certificate by its SHA-1, for an authority that knows nothing newer.
    #[must_use]
    pub fn with_rs256(self) -> Self {
        Self { algorithm: Algorithm::Rs256, ..self }
    }

    /// Says to the token endpoint that `client_id` asks, once (RFC 7523 section 3).
    pub(super) fn assertion(
        &self,
        endpoint: &Url,
        client_id: &str,
        now: SystemTime,
    ) -> Result<SecretString, CredentialError> {
        let named = |hash| BASE64_URL_SAFE_NO_PAD.encode(digest(hash, &self.chain[0]));
        let mut header = json!({ "alg": self.algorithm.name(), "typ": "JWT" });
        match self.algorithm {
            Algorithm::Ps256 => header["x5t#S256"] = named(&SHA256).into(),
            Algorithm::Rs256 => header["x5t"] = named(&SHA1_FOR_LEGACY_USE_ONLY).into(),
        }
        if self.sends_chain {
            header["x5c"] = self.chain.iter().map(|der| BASE64_STANDARD.encode(der)).collect();
        }
        let mut jti = [0; 16];
        aws_lc_rs::rand::fill(&mut jti).map_err(|_| invalid(Misconfigured::NoRandomness))?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let claims = json!({
            "aud": endpoint.as_str(),
            "iss": client_id,
            "sub": client_id,
            "jti": BASE64_URL_SAFE_NO_PAD.encode(jti),
            "iat": now.as_secs(),
            "nbf": now.as_secs(),
            "exp": (now + LIFE).as_secs(),
        });
        self.key.sign(self.algorithm, &header, &claims).map_err(|why| invalid(Misconfigured::Key(why)))
    }
}

fn invalid(why: Misconfigured) -> CredentialError {
    CredentialError::Invalid(why.into())
}
