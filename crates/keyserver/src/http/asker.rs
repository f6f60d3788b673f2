//! Who asks what a key is good for: a client with its secret, in the `Authorization` field or in the body
//! (RFC 6749 section 2.3.1), or the bearer of a token (RFC 7662 section 2.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use portunus_auth_core::{BearerToken, Outcome, Reason};

use super::call;
use super::parameters::Parameters;
use super::reply::Refused;
use crate::server::{Asker, KeyServer};

/// Why it is not known who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unidentified {
    /// In two ways at once.
    Ambiguous,
    /// Wrongly, or not at all.
    Unknown,
    /// It cannot be told.
    Unavailable,
}

impl Unidentified {
    pub(super) fn refused(self) -> Refused<'static> {
        match self {
            Self::Ambiguous => Refused::Ambiguous,
            Self::Unknown => Refused::NotAsker,
            Self::Unavailable => Refused::Unavailable,
        }
    }

    /// What the audit says.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Ambiguous => Outcome::Refused(Reason::AmbiguousCredential),
            Self::Unknown => Outcome::Refused(Reason::Unauthorized),
            Self::Unavailable => Outcome::Failed(Reason::AuthenticationUnavailable),
        }
    }
}

/// Who asks.
pub(super) fn asker(
    server: &KeyServer,
    headers: &HeaderMap,
    parameters: &mut Parameters,
) -> Result<Asker, Unidentified> {
    let (id, secret) = (parameters.take("client_id"), parameters.take("client_secret"));
    let found = match (headers.contains_key(AUTHORIZATION), secret) {
        (true, Some(_)) => return Err(Unidentified::Ambiguous),
        (false, None) => None,
        (false, Some(secret)) => id.and_then(|id| server.asker_with_secret(&id, &[BearerToken::new(secret)])),
        (true, None) => match call::bearer(headers) {
            Some(token) => server.asker_with_token(&token).map_err(|_| Unidentified::Unavailable)?,
            None => basic(headers).and_then(|(id, secrets)| server.asker_with_secret(&id, &secrets)),
        },
    };
    found.ok_or(Unidentified::Unknown)
}

/// The user and the password (RFC 7617). RFC 6749 has clients encode both as in a form, which not all do:
/// the secret is given as it was sent and, if that is another text, as it was meant.
fn basic(headers: &HeaderMap) -> Option<(String, Vec<BearerToken>)> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, encoded) = field.to_str().ok()?.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim_start_matches(' ')).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let mut readings = vec![BearerToken::new(secret)];
    readings.extend(decoded(secret).filter(|meant| meant != secret).map(BearerToken::new));
    Some((decoded(id)?, readings))
}

/// A text encoded as in a form.
fn decoded(text: &str) -> Option<String> {
    if text.contains(['&', '=']) {
        return None;
    }
    form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned())
}
