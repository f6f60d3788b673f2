//! What an identity token says about itself. Nobody has verified it: it decides only what is shown to a
//! person, and what is not worth sending.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

/// Longer subjects are not shown.
const LONGEST_SUBJECT: usize = 255;

/// The claims of a JWT (RFC 7519 section 4.1), unverified.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// `None`: the token is no signed JWT in its compact form (RFC 7515 section 7.1).
    pub(super) fn of(token: &SecretString) -> Option<Self> {
        let mut parts = token.expose_secret().split('.');
        let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if signature.is_empty() || parts.next().is_some() {
            return None;
        }
        object(header)?;
        object(claims).map(Self)
    }

    /// When it ends, if it says so.
    pub(super) fn expires_at(&self) -> Option<SystemTime> {
        let seconds = self.0.get("exp")?.as_f64()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
    }

    /// Whether it has a name of its own, by which an issuer can tell that it has come before.
    #[cfg(feature = "anthropic-auth")]
    pub(super) fn is_named(&self) -> bool {
        self.0.contains_key("jti")
    }

    /// Whom it speaks of.
    pub(super) fn subject(&self) -> Option<&str> {
        let subject = self.0.get("sub")?.as_str()?;
        let can_be_shown =
            (1..=LONGEST_SUBJECT).contains(&subject.len()) && !subject.contains(char::is_control);
        can_be_shown.then_some(subject)
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
