//! Minted tokens: right ones verify with the published keys, wrong ones are wrong in one thing only.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode};
use portunus_auth_core::clock::ManualClock;
use portunus_mock::{Algorithm, MockIdp, TokenFault};
use serde_json::{Value, json};

use crate::support::{client, json_of};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
const NOW: u64 = 1_700_000_000;

/// Header and claims, unverified.
pub(crate) fn claims_of(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut part = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (part(), part())
}

fn idp() -> (MockIdp, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at_unix(NOW));
    (MockIdp::builder().clock(clock.clone()).build().unwrap(), clock)
}

async fn jwks(idp: &MockIdp) -> JwkSet {
    let jwks = json_of(client().get(idp.jwks_uri()).send().await.unwrap()).await;
    serde_json::from_value(jwks).unwrap()
}

/// Whether the signature is that of the published key that the token names. Times are not looked at.
fn is_signed(token: &str, keys: &JwkSet) -> bool {
    let Ok(header) = jsonwebtoken::decode_header(token) else { return false };
    let Some(key) = header.kid.as_deref().and_then(|kid| keys.find(kid)) else { return false };
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).is_ok()
}

#[tokio::test]
async fn every_algorithm_verifies_with_the_published_key() {
    let (idp, _) = idp();
    let keys = jwks(&idp).await;
    for algorithm in ALGORITHMS {
        for token in [
            idp.mint("alice").algorithm(algorithm).id_token(),
            idp.mint("alice").algorithm(algorithm).access_token(),
        ] {
            assert!(is_signed(&token, &keys), "{token}");
            assert_eq!(claims_of(&token).0["alg"], algorithm.name());
        }
    }
}

#[tokio::test]
async fn what_is_said_is_what_the_token_says() {
    let (idp, _) = idp();
    let (head, claims) = claims_of(&idp.mint("alice").id_token());
    assert_eq!(head, json!({"typ": "JWT", "alg": "RS256", "kid": "mock-rs256-1"}));
    assert_eq!(
        claims,
        json!({"iss": idp.issuer(), "sub": "alice", "aud": "mock-client", "iat": NOW,
            "exp": NOW + 3_600, "auth_time": NOW, "jti": format!("jti-mock-{NOW}-1")})
    );
    let (head, claims) = claims_of(&idp.mint("alice").access_token());
    assert_eq!(head["typ"], "at+jwt");
    assert_eq!(
        claims,
        json!({"iss": idp.issuer(), "sub": "alice", "aud": "portunus-mock", "iat": NOW,
            "exp": NOW + 3_600, "jti": format!("jti-mock-{NOW}-2"), "client_id": "mock-client", "scope": "openid"})
    );
    let minted = idp
        .mint("alice")
        .audience("a")
        .audience("b")
        .claim("groups", json!(["eng"]))
        .claim("sub", 7)
        .nonce("n")
        .issuer("https://issuer.example")
        .issued_at(SystemTime::UNIX_EPOCH + Duration::from_secs(100))
        .ttl(Duration::from_secs(5))
        .without("auth_time")
        .without("jti")
        .id_token();
    assert_eq!(
        claims_of(&minted).1,
        json!({"iss": "https://issuer.example", "sub": 7, "aud": ["a", "b"], "iat": 100, "exp": 105,
            "nonce": "n", "groups": ["eng"]})
    );
}

#[tokio::test]
async fn a_fault_is_wrong_in_one_thing_only() {
    let (idp, _) = idp();
    let keys = jwks(&idp).await;
    let (right_head, right) = claims_of(&idp.mint("alice").id_token());
    let differing = |token: &str| {
        let (head, claims) = claims_of(token);
        let names = |right: &Value, found: &Value| {
            let mut names: Vec<String> = (right.as_object().unwrap().keys())
                .chain(found.as_object().unwrap().keys())
                .filter(|name| *name != "jti" && right.get(name.as_str()) != found.get(name.as_str()))
                .cloned()
                .collect();
            names.sort();
            names.dedup();
            names
        };
        [names(&right_head, &head), names(&right, &claims)].concat()
    };
    for (fault, signed, differs) in [
        (TokenFault::BadSignature, false, &[][..]),
        (TokenFault::WrongIssuer, true, &["iss"][..]),
        (TokenFault::WrongAudience, true, &["aud"]),
        (TokenFault::Expired, true, &["auth_time", "exp", "iat"]),
        (TokenFault::NotYetValid, true, &["auth_time", "exp", "iat", "nbf"]),
        (TokenFault::UnknownKid, false, &["kid"]),
        (TokenFault::NoKid, false, &["kid"]),
        (TokenFault::AlgNone, false, &["alg", "kid"]),
    ] {
        let token = idp.mint("alice").fault(fault).id_token();
        assert_eq!(is_signed(&token, &keys), signed, "{fault:?}");
        assert_eq!(differing(&token), differs, "{fault:?}");
    }
    for algorithm in ALGORITHMS {
        let token = idp.mint("alice").algorithm(algorithm).fault(TokenFault::BadSignature).id_token();
        assert!(!is_signed(&token, &keys), "{algorithm:?}");
    }
    let expired = claims_of(&idp.mint("alice").fault(TokenFault::Expired).id_token()).1;
    assert_eq!(expired["exp"], NOW - 3_600);
    let early = claims_of(&idp.mint("alice").fault(TokenFault::NotYetValid).id_token()).1;
    assert_eq!(early["nbf"], NOW + 3_600);
    let unsigned = idp.mint("alice").fault(TokenFault::AlgNone).id_token();
    assert!(unsigned.ends_with('.') && claims_of(&unsigned).0["alg"] == "none");
}

#[tokio::test]
async fn a_faulty_access_token_is_not_honoured() {
    let (idp, _) = idp();
    let asked = async |token: String| {
        let url = format!("{}/userinfo", idp.issuer());
        client().get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    assert_eq!(asked(idp.mint("alice").access_token()).await, 200);
    for fault in [TokenFault::BadSignature, TokenFault::Expired, TokenFault::NotYetValid, TokenFault::AlgNone]
    {
        assert_eq!(asked(idp.mint("alice").fault(fault).access_token()).await, 401, "{fault:?}");
    }
}

#[tokio::test]
async fn keys_rotate_and_retire() {
    let (idp, _) = idp();
    let first = jwks(&idp).await;
    let old = ALGORITHMS.map(|algorithm| idp.mint("alice").algorithm(algorithm).id_token());
    idp.rotate_keys();
    let new = ALGORITHMS.map(|algorithm| idp.mint("alice").algorithm(algorithm).id_token());
    let both = jwks(&idp).await;
    for token in &old {
        assert!(is_signed(token, &first) && is_signed(token, &both));
    }
    for token in &new {
        assert!(!is_signed(token, &first) && is_signed(token, &both));
    }
    // The material is new, not the name alone.
    let named = |keys: &JwkSet, kid: &str| keys.find(kid).unwrap().algorithm.clone();
    assert_ne!(named(&both, "mock-rs256-1"), named(&both, "mock-rs256-2"));

    idp.retire_keys();
    let last = jwks(&idp).await;
    assert_eq!(last.keys.len(), 3);
    assert!(old.iter().all(|token| !is_signed(token, &last)));
    assert!(new.iter().all(|token| is_signed(token, &last)));
    // A third generation has a name of its own.
    idp.rotate_keys();
    let third = idp.mint("alice").id_token();
    assert_eq!(claims_of(&third).0["kid"], "mock-rs256-3");
    assert!(is_signed(&third, &jwks(&idp).await));
}

#[tokio::test]
async fn times_come_from_the_clock() {
    let (idp, clock) = idp();
    clock.advance(Duration::from_secs(10));
    assert_eq!(claims_of(&idp.mint("alice").id_token()).1["iat"], NOW + 10);
}
