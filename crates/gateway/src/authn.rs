//! Who calls: static keys first, then Portunus keys, then the tokens of configured issuers.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use portunus_auth_core::dialect::KEY_HEADERS;
use portunus_auth_core::{AuthError, BearerToken, Confirmation, Principal, Reason};
use portunus_keyserver::{KeyServer, Peer, Possession};

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

    /// Who this is, and that they may present what they present.
    pub(crate) async fn authenticate(&self, head: &Head, peer: IpAddr) -> Result<Arc<Principal>, Refusal> {
        let (token, scheme) = presented(&head.headers).map_err(Refusal::Auth)?;
        let caller = self.recognise(&token, peer).await.map_err(|why| match (why, scheme) {
            (AuthError::TooOften { retry_after }, _) => Refusal::RateLimited(retry_after),
            (why @ AuthError::Unavailable(_), _) | (why, Scheme::Bearer) => Refusal::Auth(why),
            (why, Scheme::Dpop) => Refusal::Bound(why),
        })?;
        self.check_possession(&caller, &token, scheme, head)?;
        Ok(caller)
    }

    /// A token that is bound to a private key (RFC 9449, RFC 8705) comes in the scheme that says so, with proof
    /// that the sender of this request holds the key; one that is not bound comes in no such scheme.
    fn check_possession(
        &self,
        caller: &Principal,
        token: &BearerToken,
        scheme: Scheme,
        head: &Head,
    ) -> Result<(), Refusal> {
        let is_dpop = match (&caller.grant().confirmation, scheme) {
            (None, Scheme::Bearer) => return Ok(()),
            (Some(Confirmation::Jkt(_)), Scheme::Dpop) => true,
            (Some(Confirmation::Jkt(_)), Scheme::Bearer) => {
                return Err(Refusal::Bound(AuthError::Unproven(Reason::MissingProof)));
            }
            (_, Scheme::Dpop) => return Err(Refusal::Auth(AuthError::Malformed)),
            (Some(_), Scheme::Bearer) => false,
        };
        let server = self.server.as_ref().ok_or(Refusal::Auth(AuthError::Unknown))?;
        let shown = Possession::of(&head.method, head.uri.path(), &head.headers, &head.extensions);
        server.prove(caller, token, &shown).map_err(|error| match error {
            AuthError::Unproven(reason) if is_dpop => Refusal::Proof(reason),
            other => Refusal::Auth(other),
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
        server.verify_from(token, Peer { ip: Some(peer), request_id: None }).await
    }
}

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// By itself.
    Bearer,
    /// With a proof (RFC 9449 section 7.1).
    Dpop,
}

/// The one credential that a request carries, wherever its provider's client puts it. Two that differ
/// are refused: it could not be told who is calling.
fn presented(headers: &HeaderMap) -> Result<(BearerToken, Scheme), AuthError> {
    let (mut found, mut scheme): (Option<BearerToken>, _) = (None, Scheme::Bearer);
    for name in &KEY_HEADERS {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(AuthError::Ambiguous);
        }
        let token = if *name == AUTHORIZATION {
            let dpop = BearerToken::with_scheme(value, "DPoP");
            scheme = if dpop.is_some() { Scheme::Dpop } else { Scheme::Bearer };
            dpop.or_else(|| BearerToken::from_authorization(value)).ok_or(AuthError::Malformed)?
        } else {
            BearerToken::new(value.to_str().map_err(|_| AuthError::Malformed)?.trim())
        };
        match &found {
            Some(other) if other.expose() != token.expose() => return Err(AuthError::Ambiguous),
            _ => found = Some(token),
        }
    }
    let token = found.filter(|token| !token.expose().is_empty()).ok_or(AuthError::Missing)?;
    Ok((token, scheme))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_keyserver::ClientCertificate;

    fn present(pairs: &[(&'static str, &'static str)]) -> Result<String, AuthError> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        presented(&headers).map(|(token, _)| token.expose().to_owned())
    }

    /// The caller of a request whose connection brought this certificate, or none.
    async fn call(
        server: &KeyServer,
        token: &BearerToken,
        certificate: Option<&[u8]>,
    ) -> Result<Arc<Principal>, Refusal> {
        use http::{Extensions, HeaderValue, Method, Uri};
        let mut extensions = Extensions::new();
        if let Some(certificate) = certificate {
            extensions.insert(ClientCertificate::from_der(certificate));
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::try_from(token.expose()).unwrap());
        let (method, uri) = (Method::POST, Uri::from_static("/v1/messages"));
        let route = portunus_auth_core::Dialect::route(&method, uri.path()).unwrap();
        let authn = Authn::new(StaticKeys::new(), Some(server.clone()));
        let head = Head { route, method, uri, headers, extensions };
        authn.authenticate(&head, IpAddr::from([127, 0, 0, 1])).await
    }

    #[tokio::test]
    async fn a_key_that_is_bound_to_a_certificate_comes_over_its_connection_only() {
        use portunus_auth_core::audit::MemorySink;
        use portunus_keyserver::{Config, Parts, Peer, TokenKind, TokenRequest};
        let idp = portunus_mock::MockIdp::builder().build().unwrap();
        let config: Config = toml::from_str(&format!(
            "key_server = {{ audience = \"portunus\" }}\n\
             issuers = [{{ name = \"idp\", issuer = \"{}\", tenant = \"acme\" }}]\n\
             policies = [{{ name = \"all\", match = {{ issuer = \"idp\", subject = \"a*\" }}, \
             grant = {{ models = \"all\", tier = \"t\", ttl = \"1h\" }} }}]",
            idp.issuer()
        ))
        .unwrap();
        let clock: Arc<dyn portunus_auth_core::Clock> = Arc::new(portunus_auth_core::SystemClock);
        let store = Arc::new(portunus_store::Memory::new(clock.clone()));
        let parts = Parts::new(store, clock, Arc::new(MemorySink::default()), &NoSecrets);
        let server = KeyServer::new(config, parts).await.unwrap();
        let token = idp.mint("alice").audience("portunus").id_token();
        let mut request = TokenRequest::new(BearerToken::new(token), TokenKind::Identity);
        request.possession = Possession::none().with_certificate(ClientCertificate::from_der(b"mine"));
        let key = server.exchange(request, Peer::default()).await.unwrap().access_token;

        assert!(call(&server, &key, Some(b"mine")).await.is_ok());
        for (certificate, reason) in
            [(None, Reason::MissingProof), (Some(b"theirs".as_slice()), Reason::ProofOfOtherKey)]
        {
            let refused = call(&server, &key, certificate).await.unwrap_err();
            assert!(matches!(&refused, Refusal::Auth(AuthError::Unproven(its)) if *its == reason));
            assert_eq!(refused.outcome(), portunus_auth_core::Outcome::Refused(reason));
        }
    }

    struct NoSecrets;

    impl portunus_auth_core::SecretSource for NoSecrets {
        fn env(&self, _: &str) -> Option<String> {
            None
        }

        fn file(&self, _: &std::path::Path) -> std::io::Result<String> {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }

    #[test]
    fn every_providers_own_place_is_read() {
        for pair in [
            ("authorization", "Bearer k"),
            ("authorization", "bEARER  k "),
            ("authorization", "dpop k"),
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
