//! Authorization codes: issued once, redeemed once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Idp;
use super::consent::Consent;
use super::error::OAuthError;
use crate::form::Form;
use crate::secrets::Secrets;

/// How long a code can be redeemed.
const CODE_TTL: Duration = Duration::from_secs(60);
/// After so many new codes the expired ones are forgotten.
const SWEEP_EVERY: usize = 1_024;

/// What a code stands for.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) consent: Consent,
    pub(super) redirect_uri: Option<String>,
    pub(super) challenge: Option<String>,
    pub(super) nonce: Option<String>,
    /// The thumbprint of the key that its tokens are to be bound to (RFC 9449 §10).
    pub(super) key: Option<String>,
    pub(super) issued_at: SystemTime,
}

impl Code {
    fn expires_at(&self) -> SystemTime {
        self.issued_at + CODE_TTL
    }
}

/// All codes.
#[derive(Debug, Default)]
pub(super) struct Codes(Mutex<Secrets<Entry>>);

#[derive(Debug)]
struct Entry {
    code: Code,
    spent: bool,
}

impl Codes {
    pub(super) fn add(&self, code: Code) -> String {
        let mut codes = self.lock();
        if codes.len() % SWEEP_EVERY == SWEEP_EVERY - 1 {
            codes.retain(|entry| code.issued_at < entry.code.expires_at());
        }
        let text = format!("code-mock-{}", code.consent.family);
        codes.insert(&text, Entry { code, spent: false });
        text
    }

    /// Redeems a code if everything fits; check and redemption are one step. `key` is the one that the
    /// client has proven.
    pub(super) fn redeem(
        &self,
        client_id: &str,
        form: &Form,
        key: Option<&str>,
        idp: &Idp,
    ) -> Result<Code, OAuthError> {
        let text = form.get("code").ok_or(OAuthError::new("invalid_request", "`code` is missing"))?;
        let mut codes = self.lock();
        let entry = codes.get_mut(text).filter(|entry| entry.code.consent.client_id == client_id);
        let entry = entry.ok_or_else(|| OAuthError::grant("the code is unknown, or another client's"))?;
        if entry.spent {
            // One of the two who had the code is a thief (RFC 6749 §4.1.2).
            idp.issued.end(entry.code.consent.family);
            return Err(OAuthError::grant("the code has been redeemed before"));
        }
        if idp.now() >= entry.code.expires_at() {
            return Err(OAuthError::grant("the code has expired"));
        }
        if form.get("redirect_uri") != entry.code.redirect_uri.as_deref() {
            return Err(OAuthError::grant("the redirect URI is not the one that the code was issued for"));
        }
        match (&entry.code.challenge, form.get("code_verifier")) {
            (None, None) => {}
            (Some(_), None) => return Err(OAuthError::grant("the code verifier is missing")),
            (Some(challenge), Some(verifier)) if is_verifier(verifier) && s256(verifier) == *challenge => {}
            _ => return Err(OAuthError::grant("the code verifier does not fit")),
        }
        if entry.code.key.is_some() && entry.code.key.as_deref() != key {
            return Err(OAuthError::grant("the code is bound to another key"));
        }
        entry.code.consent.narrowed(idp, form)?;
        entry.spent = true;
        Ok(entry.code.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Secrets<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 43 to 128 unreserved characters (RFC 7636 §4.1).
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

fn s256(verifier: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    URL_SAFE_NO_PAD.encode(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_7636_example_fits() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(is_verifier(verifier));
        assert_eq!(s256(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
