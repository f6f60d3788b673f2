//! A credential, put into the headers of a request.

use ::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use portunus_auth_core::{CompanionHeader, Credential};

/// Why a credential could not be put into a header. Never holds its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// It is empty, or has a character that a header cannot carry, such as a line break.
    #[error("the credential is empty or cannot be sent in a header")]
    NotAHeaderValue,
    /// It is not sent; the request has to be signed with it.
    #[error("the credential is a key to sign with, not one to send in a header")]
    NeedsSigning,
}

/// Sets the header that authenticates a request: `Authorization: Bearer …` (RFC 6750 §2.1) or the
/// vendor's key header. A value that was there is replaced; the new one is marked sensitive, so that
/// neither `Debug` nor HPACK shows it.
///
/// # Errors
/// [`ApplyError`]; the headers are then as they were.
pub fn apply(credential: &Credential, headers: &mut HeaderMap) -> Result<(), ApplyError> {
    let (name, value) = match credential {
        Credential::BearerToken(token) => (AUTHORIZATION, sensitive("Bearer ", token)?),
        Credential::BearerTokenWith { token, headers: companions } => {
            let value = sensitive("Bearer ", token)?;
            for companion in companions {
                accompany(companion, headers);
            }
            (AUTHORIZATION, value)
        }
        Credential::ApiKey { header, value } => (HeaderName::clone(header), sensitive("", value)?),
        _ => return Err(ApplyError::NeedsSigning),
    };
    headers.insert(name, value);
    Ok(())
}

/// Replaces the header, or joins its elements to one line: not every vendor reads several.
fn accompany(companion: &CompanionHeader, headers: &mut HeaderMap) {
    let CompanionHeader { name, value, is_element } = companion;
    if !is_element || !headers.contains_key(name) {
        headers.insert(name, value.clone());
        return;
    }
    let mut all = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let is_there = |line: &&[u8]| line.split(|&b| b == b',').any(|e| e.trim_ascii() == value.as_bytes());
    if all.iter().any(is_there) {
        return;
    }
    all.push(value.as_bytes());
    let all = all.join(&b", "[..]);
    if let Ok(joined) = HeaderValue::from_bytes(&all) {
        headers.insert(name, joined);
    }
}

fn sensitive(scheme: &str, secret: &SecretString) -> Result<HeaderValue, ApplyError> {
    let secret = secret.expose_secret();
    if secret.trim().is_empty() {
        return Err(ApplyError::NotAHeaderValue);
    }
    // Exactly as large as needed: the header takes the text over without another copy.
    let mut text = String::with_capacity(scheme.len() + secret.len());
    text.push_str(scheme);
    text.push_str(secret);
    let mut value = HeaderValue::try_from(text).map_err(|_| ApplyError::NotAHeaderValue)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers_with(credential: &Credential) -> Result<HeaderMap, ApplyError> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer of-the-caller"));
        apply(credential, &mut headers).map(|()| headers)
    }

    #[test]
    fn a_bearer_token_replaces_what_was_there() {
        let headers = headers_with(&Credential::BearerToken("canary-1".into())).unwrap();
        let all: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
        assert_eq!(all, ["Bearer canary-1"]);
        assert!(all[0].is_sensitive());
        assert!(!format!("{headers:?}").contains("canary"));
    }

    #[test]
    fn companions_replace_or_join_what_was_there() {
        let companion = |name, value, is_element| CompanionHeader {
            name: HeaderName::from_static(name),
            value: HeaderValue::from_static(value),
            is_element,
        };
        let credential = Credential::BearerTokenWith {
            token: "canary-3".into(),
            headers: vec![companion("x-project", "ours", false), companion("x-beta", "new", true)],
        };
        let joined = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-project", HeaderValue::from_static("theirs"));
                headers.append("x-beta", HeaderValue::from_static(line));
            }
            apply(&credential, &mut headers).unwrap();
            assert_eq!(headers[AUTHORIZATION], "Bearer canary-3");
            assert_eq!(headers.get_all("x-project").iter().collect::<Vec<_>>(), ["ours"]);
            let all: Vec<_> = headers.get_all("x-beta").iter().map(|v| v.to_str().unwrap()).collect();
            all.join("|")
        };
        assert_eq!(joined(&[]), "new");
        assert_eq!(joined(&["a,b", "c"]), "a,b, c, new");
        assert_eq!(joined(&["a, new", "c"]), "a, new|c");
    }

    #[test]
    fn a_key_goes_into_its_own_header() {
        let key =
            Credential::ApiKey { header: HeaderName::from_static("x-api-key"), value: "canary-2".into() };
        let headers = headers_with(&key).unwrap();
        assert_eq!(headers["x-api-key"], "canary-2");
        assert!(headers["x-api-key"].is_sensitive());
    }

    #[test]
    fn what_no_header_can_carry_is_refused_and_changes_nothing() {
        for bad in ["", " ", "canary\r\nHost: evil", "canary\n", "canary\0"] {
            let mut headers = HeaderMap::new();
            let error = apply(&Credential::BearerToken(bad.into()), &mut headers).unwrap_err();
            assert_eq!(error, ApplyError::NotAHeaderValue);
            assert!(headers.is_empty());
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    #[test]
    fn keys_to_sign_with_are_never_sent() {
        let keys = Credential::AwsCredentials {
            access_key_id: "canary".into(),
            secret_access_key: "canary".into(),
            session_token: None,
        };
        assert_eq!(headers_with(&keys).unwrap_err(), ApplyError::NeedsSigning);
    }
}
