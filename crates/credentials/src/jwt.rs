//! Assertions signed with a private key of one's own (RFC 7523), as JSON Web Tokens.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
#[cfg(feature = "azure-auth")]
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

/// An RSA key that signs assertions; parsed once, shared by its clones.
#[derive(Clone)]
pub(crate) struct SigningKey(Arc<KeyPair>);

/// How an assertion is signed (RFC 7518 section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Algorithm {
    #[default]
    Rs256,
    #[cfg_attr(not(feature = "azure-auth"), expect(dead_code, reason = "only Microsoft wants it"))]
    Ps256,
}

/// Why a private key cannot be used. Holds none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("there is no private key in PEM (`-----BEGIN PRIVATE KEY-----`), or it is damaged")]
    NotPem,
    #[error("the private key is not an RSA key of 2048 to 8192 bits")]
    NotRsa,
    #[error("the private key cannot sign")]
    CannotSign,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(RSA {})", self.0.public_modulus_len() * 8)
    }
}

impl Algorithm {
    /// The value of `alg`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    fn encoding(self) -> &'static dyn RsaEncoding {
        match self {
            Self::Rs256 => &RSA_PKCS1_SHA256,
            Self::Ps256 => &RSA_PSS_SHA256,
        }
    }
}

impl SigningKey {
    /// The first private key in a PEM text: PKCS #8 or PKCS #1, not encrypted.
    pub(crate) fn from_pem(pem: &SecretString) -> Result<Self, KeyError> {
        // A text that was pasted begins with white space at times.
        let key = PrivateKeyDer::from_pem_slice(pem.expose_secret().trim_start().as_bytes());
        let pair = match key.map_err(|_| KeyError::NotPem)? {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(KeyError::NotRsa),
        };
        Ok(Self(Arc::new(pair.map_err(|_| KeyError::NotRsa)?)))
    }

    /// The public half, in DER (RFC 8017 section A.1.1).
    #[cfg(feature = "azure-auth")]
    pub(crate) fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// A JWT of this header and these claims (RFC 7515 section 3.1). The header has to name the algorithm.
    pub(crate) fn sign(
        &self,
        algorithm: Algorithm,
        header: &Value,
        claims: &Value,
    ) -> Result<SecretString, KeyError> {
        let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        self.sign_input(algorithm, format!("{}.{}", encode(header), encode(claims)))
    }

    /// The signing input (RFC 7515 section 5.1) with its signature.
    fn sign_input(&self, algorithm: Algorithm, mut token: String) -> Result<SecretString, KeyError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(algorithm.encoding(), &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| KeyError::CannotSign)?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
        Ok(SecretString::from(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_rsa_key_is_told_apart() {
        let ec = "-----BEGIN PRIVATE KEY-----\n\
            MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n\
            OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n\
            1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n\
            -----END PRIVATE KEY-----\n";
        let error = |pem: &str| SigningKey::from_pem(&pem.into()).unwrap_err();
        assert_eq!(error(ec), KeyError::NotRsa);
        assert_eq!(error("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), KeyError::NotRsa);
        let public = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
        for text in ["", "canary", public, "-----BEGIN PRIVATE KEY-----\nAA"] {
            assert_eq!(error(text), KeyError::NotPem, "{text}");
        }
    }
}

#[cfg(all(test, feature = "vertex-auth"))]
mod vectors {
    use super::*;
    use portunus_auth_core::vectors::Report;

    /// RS256 is deterministic: the signatures are equal to the last byte.
    #[test]
    fn google_signatures() {
        let cases: Value = serde_json::from_str(include_str!("../tests/data/gcp-credentials.json")).unwrap();
        let pem = cases["service_account"]["private_key"].as_str().unwrap();
        let key = SigningKey::from_pem(&pem.into()).unwrap();
        let mut report = Report::on("gcp-credentials (signatures)");
        for case in cases["sign_vectors"].as_array().unwrap() {
            let input = case["signing_input"].as_str().unwrap();
            let signed = key.sign_input(Algorithm::Rs256, input.to_owned()).unwrap();
            let expected = format!("{input}.{}", case["rs256_signature"].as_str().unwrap());
            report.case(case["id"].as_str().unwrap(), signed.expose_secret() == expected);
        }
        report.finish();
    }
}
