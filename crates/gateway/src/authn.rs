//! Who calls: static keys first, then Portunus keys, then the tokens of configured issuers.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use portunus_auth_core::dialect::KEY_HEADERS;
use portunus_auth_core::{AuthError, BearerToken, Principal};
use portunus_keyserver::{KeyServer, Peer};

use crate::call::Head;
use crate::reply::Refusal;
use crate::static_keys::{ISSUED, StaticKeys, fingerprint};

/// Recognises callers.
#[derive(Debug)]
pub(crate) struct Authn {
    keys: StaticKeys,
    server: Option<KeyServer>,
}

impl Authn {
    pub(crate) fn new(keys: StaticKeys, server: Option<KeyServer>) -> Self {
        Self { keys, server }
    }

    /// Who this is.
    pub(crate) async fn authenticate(&self, head: &Head, peer: IpAddr) -> Result<Arc<Principal>, Refusal> {
        let token = presented(&head.headers).map_err(Refusal::Auth)?;
        self.recognise(&token, peer).await.map_err(|why| match why {
            AuthError::TooOften { retry_after } => Refusal::RateLimited(retry_after),
            why => Refusal::Auth(why),
        })
    }

    async fn recognise(&self, token: &BearerToken, peer: IpAddr) -> Result<Arc<Principal>, AuthError> {
        let text = token.expose();
        if !text.starts_with(ISSUED)
            && let Some(principal) = self.keys.get(&fingerprint(text))
        {
            return Ok(principal.clone());
        }
        let Some(server) = &self.server else { return Err(AuthError::Unknown) };
        if text.starts_with(ISSUED) {
            return server.find(token);
        }
        // Whatever has not the form of a JWT (RFC 7515 section 3.1) is a key that nobody knows.
        if text.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Err(AuthError::Unknown);
        }
        match server.verified(token) {
            Some(principal) => Ok(principal),
            None => server.verify_from(token, Peer { ip: Some(peer), request_id: None }).await,
        }
    }
}

/// The one credential that a request carries, wherever its provider's client puts it. Two that differ
/// are refused: it could not be told who is calling.
fn presented(headers: &HeaderMap) -> Result<BearerToken, AuthError> {
    let mut found: Option<BearerToken> = None;
    for name in &KEY_HEADERS {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(AuthError::Ambiguous);
        }
        let token = if *name == AUTHORIZATION {
            BearerToken::from_authorization(value).ok_or(AuthError::Malformed)?
        } else {
            BearerToken::new(value.to_str().map_err(|_| AuthError::Malformed)?.trim())
        };
        match &found {
            Some(other) if other.expose() != token.expose() => return Err(AuthError::Ambiguous),
            _ => found = Some(token),
        }
    }
    found.filter(|token| !token.expose().is_empty()).ok_or(AuthError::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(pairs: &[(&'static str, &'static str)]) -> Result<String, AuthError> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        presented(&headers).map(|token| token.expose().to_owned())
    }

    #[test]
    fn every_providers_own_place_is_read() {
        for pair in [
            ("authorization", "Bearer k"),
            ("authorization", "bEARER  k "),
            ("x-api-key", "k"),
            ("api-key", "k"),
            ("x-goog-api-key", "k"),
        ] {
            assert_eq!(present(&[pair]).unwrap(), "k", "{pair:?}");
        }
        assert_eq!(present(&[("authorization", "Bearer k"), ("x-api-key", "k")]).unwrap(), "k");
    }

    #[test]
    fn anything_but_one_credential_is_refused() {
        use AuthError as E;
        assert!(matches!(present(&[]), Err(E::Missing)));
        assert!(matches!(present(&[("x-api-key", "")]), Err(E::Missing)));
        assert!(matches!(present(&[("authorization", "Basic a")]), Err(E::Malformed)));
        assert!(matches!(present(&[("authorization", "k")]), Err(E::Malformed)));
        assert!(matches!(present(&[("authorization", "Bearer a"), ("x-api-key", "b")]), Err(E::Ambiguous)));
        assert!(matches!(present(&[("x-api-key", "a"), ("x-api-key", "a")]), Err(E::Ambiguous)));
    }
}
