//! Authorization codes: issued once, redeemed once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::error::OAuthError;
use super::issued::IssuedTokens;
use super::user::User;
use crate::form::Form;
use crate::secrets::Secrets;

/// How long a code can be redeemed.
const CODE_TTL: Duration = Duration::from_secs(60);
/// After so many new codes the expired ones are forgotten.
const SWEEP_EVERY: u64 = 1_024;

/// What a code stands for.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) scopes: Vec<String>,
    pub(super) nonce: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) user: User,
    pub(super) authenticated_at: SystemTime,
}

impl Code {
    fn expires_at(&self) -> SystemTime {
        self.authenticated_at + CODE_TTL
    }
}

/// All codes.
#[derive(Debug, Default)]
pub(super) struct Grants(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    last: u64,
    codes: Secrets<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    code: Code,
    spent: bool,
}

impl Grants {
    pub(super) fn add(&self, code: Code) -> String {
        let mut held = self.lock();
        held.last += 1;
        let number = held.last;
        if number.is_multiple_of(SWEEP_EVERY) {
            let now = code.authenticated_at;
            held.codes.retain(|entry| now < entry.code.expires_at());
        }
        let text = format!("code-mock-{number}");
        held.codes.insert(&text, Entry { number, code, spent: false });
        text
    }

    /// Redeems a code if everything fits; check and redemption are one step. Answers what the code
    /// stands for, and its number.
    pub(super) fn redeem(
        &self,
        client_id: &str,
        form: &Form,
        issued: &IssuedTokens,
        now: SystemTime,
    ) -> Result<(Code, u64), OAuthError> {
        let text = form.get("code").ok_or(OAuthError::new("invalid_request", "`code` is missing"))?;
        let mut held = self.lock();
        let entry = held.codes.get_mut(text).filter(|entry| entry.code.client_id == client_id);
        let entry = entry.ok_or_else(|| OAuthError::grant("the code is unknown, or another client's"))?;
        if entry.spent {
            // One of the two who had the code is a thief (RFC 6749 §4.1.2).
            issued.revoke(entry.number);
            return Err(OAuthError::grant("the code has been redeemed before"));
        }
        if now >= entry.code.expires_at() {
            return Err(OAuthError::grant("the code has expired"));
        }
        if form.get("redirect_uri") != Some(&entry.code.redirect_uri) {
            return Err(OAuthError::grant("the redirect URI is not the one that the code was issued for"));
        }
        let verifier = form.get("code_verifier").ok_or(OAuthError::grant("the code verifier is missing"))?;
        if !is_verifier(verifier) || s256(verifier) != entry.code.challenge {
            return Err(OAuthError::grant("the code verifier does not fit"));
        }
        entry.spent = true;
        Ok((entry.code.clone(), entry.number))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
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

/// An absolute URI without a fragment (RFC 8707 §2).
pub(super) fn resource(text: &str) -> Result<String, OAuthError> {
    match Url::parse(text) {
        Ok(url) if url.fragment().is_none() => Ok(text.to_owned()),
        _ => Err(OAuthError::new("invalid_target", "`resource` must be an absolute URI without a fragment")),
    }
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
