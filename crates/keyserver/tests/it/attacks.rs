//! Attacks on tokens, key sets and discovery: one test for each way to try, beside those that others fell for
//! (`regressions`).

use std::time::Duration;

use portunus_auth_core::{AuthError, BearerToken, Reason};
use portunus_keyserver::{ExchangeError, TokenKind};
use portunus_mock::TokenFault;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::signer::{ALL, ALL_CONFIGURED, Published, base64};
use crate::support::{ENGINEERS, NOW, World, configuration, server};

async fn refusal_of(world: &World, kind: TokenKind, token: String) -> Option<Reason> {
    match world.exchange_for(token, |request| request.kind = kind).await {
        Ok(_) => None,
        Err(ExchangeError::BadSubject(reason)) => Some(reason),
        Err(other) => panic!("{other:?}"),
    }
}

async fn refusal(world: &World, token: String) -> Option<Reason> {
    refusal_of(world, TokenKind::Identity, token).await
}

#[tokio::test]
async fn every_algorithm_is_verified_by_its_own_key_and_no_other() {
    let issuer = Published::new(ALL_CONFIGURED).await;
    for algorithm in ALL {
        let token = issuer.signer.sign(algorithm, json!({}), &issuer.claims_but(json!({"jti": algorithm})));
        assert_eq!(refusal(&issuer.world, token).await, None, "{algorithm}");
        for other in ALL.into_iter().filter(|other| *other != algorithm) {
            let header = json!({"alg": algorithm, "kid": other}).to_string();
            let token = issuer.signer.sign_text(algorithm, &header, &issuer.claims().to_string());
            assert_eq!(
                refusal(&issuer.world, token).await,
                Some(Reason::UnsupportedAlgorithm),
                "{algorithm} with the key for {other}"
            );
        }
    }
    // The issuer's list counts as well, before any key is looked at.
    let issuer = Published::new("algorithms = [\"ES256\"]").await;
    for algorithm in ALL.into_iter().filter(|algorithm| *algorithm != "ES256") {
        let token = issuer.signer.sign(algorithm, json!({}), &issuer.claims());
        assert_eq!(refusal(&issuer.world, token).await, Some(Reason::UnsupportedAlgorithm));
    }
    assert_eq!(issuer.asked("/jwks.json").await, 0);
}

#[tokio::test]
async fn keys_and_addresses_in_a_header_are_neither_used_nor_fetched() {
    let issuer = Published::new("").await;
    let mallory = crate::signer::Signer::new();
    let at = |path: &str| format!("{}{path}", issuer.site.uri());
    issuer.answers("/mallory.json", ResponseTemplate::new(200).set_body_json(mallory.jwks())).await;
    for more in [
        json!({"jwk": mallory.jwk("ES256")}),
        json!({"jku": at("/mallory.json")}),
        json!({"x5u": at("/mallory.json")}),
        json!({"x5c": ["MIIB"], "x5t": "AAAA"}),
        json!({"jwk": mallory.jwk("ES256"), "kid": null}),
    ] {
        let mut more = more;
        if more["kid"].is_null() {
            more.as_object_mut().unwrap().remove("kid");
        }
        let token = mallory.sign("ES256", more.clone(), &issuer.claims());
        assert_eq!(refusal(&issuer.world, token).await, Some(Reason::BadSignature), "{more}");
    }
    assert_eq!(issuer.asked("/mallory.json").await, 0);
}

#[tokio::test]
async fn a_key_id_is_a_name_and_nothing_else() {
    let issuer = Published::new("").await;
    for kid in ["../../../dev/null", "' OR '1'='1", "ES256\0", "es256", "", "%45S256", "http://127.0.0.1/k"] {
        let token = issuer.signer.sign("ES256", json!({"kid": kid}), &issuer.claims());
        assert_eq!(refusal(&issuer.world, token).await, Some(Reason::UnknownKey), "{kid}");
    }
    for kid in [json!(1), json!(["ES256"]), json!({"kid": "ES256"}), json!(null)] {
        let token = issuer.signer.sign("ES256", json!({"kid": kid}), &issuer.claims());
        assert_eq!(refusal(&issuer.world, token).await, Some(Reason::MalformedCredential));
    }
}

#[tokio::test]
async fn a_key_set_with_two_keys_of_one_name_is_no_key_set() {
    let issuer = Published::silent("").await;
    issuer.discovery(&issuer.site.uri(), "/jwks.json").await;
    let (mut other, good) = (issuer.signer.jwk("ES384"), issuer.signer.jwk("ES256"));
    other["kid"] = "ES256".into();
    issuer.keys(&json!({"keys": [good, other]})).await;
    let token = issuer.signer.sign("ES256", json!({}), &issuer.claims());
    let refused = issuer.world.exchange(token).await;
    assert!(matches!(refused, Err(ExchangeError::Unavailable { reason: Reason::IssuerUnavailable, .. })));
}

#[tokio::test]
async fn private_shared_and_foreign_keys_are_left_out_and_spoil_no_other() {
    let issuer = Published::silent(ALL_CONFIGURED).await;
    issuer.discovery(&issuer.site.uri(), "/jwks.json").await;
    let changed = |algorithm: &str, name: &str, value: Value| {
        let mut key = issuer.signer.jwk(algorithm);
        key[name] = value;
        key
    };
    issuer
        .keys(&json!({"keys": [
            changed("ES384", "d", "AAAA".into()),
            changed("RS256", "use", "enc".into()),
            changed("PS256", "key_ops", json!(["encrypt"])),
            changed("ES512", "crv", "P-256".into()),
            changed("EdDSA", "alg", "ES256".into()),
            changed("RS384", "e", "AQ".into()),
            {"kty": "oct", "kid": "HS256", "k": "AAAA"},
            {"kty": "AKP", "kid": "ML-DSA-44", "alg": "ML-DSA-44", "pub": "AAAA"},
            "rubbish",
            issuer.signer.jwk("ES256"),
        ]}))
        .await;
    let sign = |algorithm: &str| issuer.signer.sign(algorithm, json!({}), &issuer.claims());
    for algorithm in ["ES384", "RS256", "PS256", "ES512", "EdDSA", "RS384"] {
        assert_eq!(refusal(&issuer.world, sign(algorithm)).await, Some(Reason::UnknownKey), "{algorithm}");
    }
    assert_eq!(refusal(&issuer.world, sign("ES256")).await, None);
}

#[tokio::test]
async fn an_empty_broken_or_oversized_key_set_leaves_the_old_keys() {
    let issuer = Published::new("").await;
    let token = |jti: &str, at: u64| {
        issuer.signer.sign(
            "ES256",
            json!({}),
            &issuer.claims_but(json!({"jti": jti, "iat": at, "exp": at + 600})),
        )
    };
    assert_eq!(refusal(&issuer.world, token("first", NOW)).await, None);
    let bodies = [
        r#"{"keys":[]}"#.to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "<html>".to_owned(),
        r#"{"keys":[],"keys":[]}"#.to_owned(),
        format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(100 * 1024)),
        json!({"keys": vec![issuer.signer.jwk("ES256"); 65]}).to_string(),
    ];
    for (n, body) in bodies.iter().enumerate() {
        issuer.answers("/jwks.json", ResponseTemplate::new(200).set_body_string(body)).await;
        issuer.world.pass(3600);
        let at = NOW + 3600 * (n as u64 + 1);
        assert_eq!(refusal(&issuer.world, token(&n.to_string(), at)).await, None, "{body:.40}");
    }
    // Background attempts have been made all the while, none of which cost anybody anything.
    let asked = issuer.asked("/jwks.json").await;
    assert!((2..=1 + bodies.len()).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_claim_has_one_name_and_comes_once() {
    let issuer = Published::new("").await;
    for (good, odd) in [("sub", "SUB"), ("sub", "\u{17f}ub"), ("sub", "sub "), ("iss", "Iss"), ("exp", "eхp")]
    {
        let mut claims = issuer.claims();
        let value = claims.as_object_mut().unwrap().remove(good).unwrap();
        claims[odd] = value;
        let token = issuer.signer.sign("ES256", json!({}), &claims);
        assert_eq!(refusal(&issuer.world, token).await, Some(Reason::WrongClaims), "{odd}");
    }
    let header = r#"{"alg":"ES256","kid":"ES256"}"#;
    let claims = issuer.claims().to_string();
    for twice in [r#""sub":"bob""#, r#""\u0073ub":"bob""#, r#""x":{"a":1,"a":1}"#] {
        let payload = format!("{{{twice},{}", &claims[1..]);
        let token = issuer.signer.sign_text("ES256", header, &payload);
        let again =
            issuer.signer.sign_text("ES256", header, &payload.replace(twice, &format!("{twice},{twice}")));
        if !twice.starts_with("\"x\"") {
            assert_eq!(refusal(&issuer.world, token).await, Some(Reason::MalformedCredential), "{twice}");
        }
        assert_eq!(refusal(&issuer.world, again).await, Some(Reason::MalformedCredential), "{twice}");
    }
    for header in
        [r#"{"alg":"ES256","alg":"ES256"}"#, r#"{"alg":"none","\u0061lg":"ES256"}"#, r#"{"ALG":"ES256"}"#]
    {
        let token = issuer.signer.sign_text("ES256", header, &claims);
        assert_eq!(refusal(&issuer.world, token).await, Some(Reason::MalformedCredential), "{header}");
    }
}

/// Every kind of token, for every kind that is asked for.
#[tokio::test]
async fn a_token_of_one_kind_is_not_taken_for_another() {
    use TokenKind::{Access, Any, Identity};
    let issuer = Published::new("").await;
    let logout = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let access = json!({"client_id": "app", "jti": "j"});
    let kinds: [(&str, &str, Value, &[TokenKind]); 13] = [
        ("an ID token", "JWT", json!({"nonce": "n"}), &[Identity, Any]),
        ("an ID token by its media type", "application/JWT", json!({}), &[Identity, Any]),
        ("an access token", "at+jwt", access.clone(), &[Access, Any]),
        ("an access token by its media type", "application/at+jwt", access, &[Access, Any]),
        ("an access token without a client", "at+jwt", json!({"jti": "j"}), &[]),
        ("an access token without its type", "JWT", json!({"scope": "openid"}), &[Any]),
        ("one of Okta", "JWT", json!({"scp": ["openid"], "cid": "c"}), &[Any]),
        ("one of Keycloak", "JWT", json!({"typ": "Bearer"}), &[Any]),
        ("a refresh token of Keycloak", "JWT", json!({"typ": "Refresh"}), &[]),
        ("a logout token", "logout+jwt", json!({"events": logout}), &[]),
        ("a logout token without its type", "JWT", json!({"events": logout}), &[]),
        ("a security event", "secevent+jwt", json!({"events": {}}), &[]),
        ("a proof of possession", "dpop+jwt", json!({"htm": "POST", "htu": "https://x"}), &[]),
    ];
    for (n, (what, typ, more, good_as)) in kinds.into_iter().enumerate() {
        for kind in [Identity, Access, Any] {
            let mut claims = issuer.claims_but(more.clone());
            claims["jti"] = claims["jti"]
                .as_str()
                .map_or(format!("{n}-{kind:?}"), |jti| format!("{jti}{n}{kind:?}"))
                .into();
            let token = issuer.signer.sign("ES256", json!({"typ": typ}), &claims);
            let expected = if good_as.contains(&kind) { None } else { Some(Reason::WrongClaims) };
            assert_eq!(refusal_of(&issuer.world, kind, token).await, expected, "{what} as {kind:?}");
        }
    }
}

#[tokio::test]
async fn an_audience_is_ours_alone_and_exactly() {
    let settings = "other_audiences = [\"https://api.example\"]\nauthorized_parties = [\"ci\"]";
    let issuer = Published::new(settings).await;
    let outcome = async |jti: usize, changed: Value| {
        let mut claims = issuer.claims_but(changed);
        claims["jti"] = format!("jti-{jti}").into();
        refusal(&issuer.world, issuer.signer.sign("ES256", json!({}), &claims)).await
    };
    for (n, good) in [
        json!({"aud": "portunus"}),
        json!({"aud": ["portunus"]}),
        json!({"aud": ["portunus", "portunus"]}),
        json!({"aud": ["https://api.example", "portunus"]}),
        json!({"aud": "portunus", "azp": "portunus"}),
        json!({"aud": "portunus", "azp": "ci"}),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(outcome(n, good.clone()).await, None, "{good}");
    }
    for (n, bad) in [
        json!({"aud": null}),
        json!({"aud": ""}),
        json!({"aud": []}),
        json!({"aud": "Portunus"}),
        json!({"aud": "portunus "}),
        json!({"aud": "portunus,other"}),
        json!({"aud": "https://api.example"}),
        json!({"aud": ["https://api.example"]}),
        json!({"aud": ["portunus", "other"]}),
        json!({"aud": ["portunus", 1]}),
        json!({"aud": [["portunus"]]}),
        json!({"aud": {"portunus": 1}}),
        json!({"aud": "portunus", "azp": "other"}),
        json!({"aud": "portunus", "azp": ["portunus"]}),
        json!({"aud": "portunus", "azp": ""}),
        json!({"aud": "portunus", "azp": "https://api.example"}),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(outcome(100 + n, bad.clone()).await, Some(Reason::WrongAudience), "{bad}");
    }
}

#[tokio::test]
async fn a_token_lasts_as_long_as_its_issuers_tokens_may() {
    let issuer = Published::new("max_token_age = \"10m\"").await;
    let outcome = async |jti: &str, changed: Value| {
        let mut claims = issuer.claims_but(changed);
        claims["jti"] = jti.into();
        refusal(&issuer.world, issuer.signer.sign("ES256", json!({}), &claims)).await
    };
    assert_eq!(outcome("a", json!({})).await, None);
    assert_eq!(outcome("b", json!({"iat": NOW + 30, "exp": NOW + 60, "nbf": NOW + 30})).await, None);
    assert_eq!(outcome("c", json!({"iat": NOW - 600, "exp": NOW - 29})).await, None);
    for (changed, reason) in [
        (json!({"exp": NOW + 601}), Reason::WrongClaims),
        (json!({"iat": NOW - 1}), Reason::WrongClaims),
        (json!({"iat": NOW - 100, "exp": NOW - 200}), Reason::WrongClaims),
        (json!({"iat": 0}), Reason::WrongClaims),
        (json!({"exp": u64::MAX}), Reason::WrongClaims),
        (json!({"iat": NOW + 31, "exp": NOW + 60}), Reason::NotYetValid),
        (json!({"nbf": NOW + 31}), Reason::NotYetValid),
        (json!({"iat": NOW - 600, "exp": NOW - 30}), Reason::ExpiredCredential),
    ] {
        assert_eq!(outcome("d", changed.clone()).await, Some(reason), "{changed}");
    }
}

/// The ID token of one login with the access token of another.
#[tokio::test]
async fn an_id_token_says_with_which_access_token_it_came() {
    use portunus_keyserver::{Audiences, Issuer, KeySet, UnverifiedJwt};
    let issuer = Published::new(ALL_CONFIGURED).await;
    let keys = KeySet::parse(issuer.signer.jwks().to_string().as_bytes()).unwrap();
    let audiences = Audiences::new(["portunus"]).unwrap();
    let mut trusted =
        Issuer::new("p", &issuer.site.uri(), portunus_auth_core::TenantId::new("acme").unwrap(), audiences);
    trusted.algorithms = serde_json::from_value(json!(ALL)).unwrap();
    let (its, another) = (BearerToken::new("access-token"), BearerToken::new("access-tokem"));
    for algorithm in ALL {
        use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
        let hash = match &algorithm[2..] {
            "256" => &SHA256,
            "384" => &SHA384,
            _ => &SHA512,
        };
        let hash = digest(hash, b"access-token");
        let half = base64(&hash.as_ref()[..hash.as_ref().len() / 2]);
        let identity = |at_hash: Value| {
            let claims = issuer.claims_but(json!({"at_hash": at_hash, "nonce": "n"}));
            let token = BearerToken::new(issuer.signer.sign(algorithm, json!({}), &claims));
            let jwt = UnverifiedJwt::read(&token).unwrap();
            let now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
            trusted.verify(&jwt, TokenKind::Identity, &keys, now).unwrap()
        };
        let identified = identity(half.clone().into());
        assert!(!identified.belongs_to_another(&its), "{algorithm}");
        assert!(identified.belongs_to_another(&another), "{algorithm}");
        assert!(identified.answers("n") && !identified.answers("m") && !identified.answers(""));
        for odd in [json!(1), json!([half]), json!("")] {
            assert!(identity(odd).belongs_to_another(&its));
        }
        assert!(!identity(Value::Null).belongs_to_another(&its));
    }
}

#[tokio::test]
async fn an_issuer_is_its_name_letter_by_letter() {
    let world = World::new(ENGINEERS).await;
    let issuer = world.idp.issuer().to_owned();
    let port = issuer.rsplit(':').next().unwrap();
    for other in [
        format!("http://user@127.0.0.1:{port}"),
        format!("{issuer}#"),
        format!("{issuer}?"),
        format!("{issuer}/"),
        format!("{issuer}%2F"),
        format!("{issuer}//"),
        format!("{issuer}/."),
        format!("http:127.0.0.1:{port}"),
        format!("HTTP://127.0.0.1:{port}"),
        format!("http://127.0.0.1:0{port}"),
        format!("http://localhost:{port}"),
        format!("http://2130706433:{port}"),
        format!("http://127.0.0.\u{661}:{port}"),
        format!("http://127.0.0.1\u{2024}evil.example:{port}"),
        format!(" {issuer}"),
        format!("{issuer}\n"),
    ] {
        let token = world.engineer("alice").issuer(other.clone()).id_token();
        assert_eq!(refusal(&world, token).await, Some(Reason::UnknownIssuer), "{other:?}");
    }
    assert!(world.idp.requests().is_empty());
}

#[tokio::test]
async fn discovery_may_not_lead_elsewhere() {
    let victim = World::new("").await;
    let issuer = Published::silent("").await;
    let document = |issuer: &str, jwks: &str| {
        ResponseTemplate::new(200).set_body_json(json!({"issuer": issuer, "jwks_uri": jwks}))
    };
    let (name, theirs) = (issuer.site.uri(), victim.idp.jwks_uri());
    let moved = |status: u16| ResponseTemplate::new(status).insert_header("location", theirs.as_str());
    for (what, answer) in [
        ("another issuer", document("https://idp.example", &format!("{name}/jwks.json"))),
        ("its name with a slash", document(&format!("{name}/"), &format!("{name}/jwks.json"))),
        ("a redirect", moved(302)),
        ("a lasting redirect", moved(308)),
        ("in the clear", document(&name, "http://idp.example/jwks")),
        ("a file", document(&name, "file:///etc/passwd")),
        ("a private address", document(&name, "https://10.0.0.1/jwks")),
        ("a metadata service", document(&name, "https://169.254.169.254/latest")),
        ("a mapped address", document(&name, "https://[::ffff:127.0.0.1]/jwks")),
        ("with a user", document(&name, "https://a@idp.example/jwks")),
        ("nowhere", ResponseTemplate::new(200).set_body_json(json!({"issuer": name}))),
        ("a list", ResponseTemplate::new(200).set_body_json(json!([name]))),
    ] {
        issuer.answers("/.well-known/openid-configuration", answer).await;
        issuer.world.pass(60);
        let at = portunus_auth_core::Clock::now(&*issuer.world.clock);
        let at = at.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims = issuer.claims_but(json!({"iat": at, "exp": at + 600}));
        let token = issuer.signer.sign("ES256", json!({}), &claims);
        let refused = issuer.world.exchange(token).await;
        let down =
            matches!(refused, Err(ExchangeError::Unavailable { reason: Reason::IssuerUnavailable, .. }));
        assert!(down, "{what}: {refused:?}");
    }
    assert_eq!((issuer.asked("/jwks.json").await, victim.idp.requests().len()), (0, 0));
    assert_eq!(issuer.asked("/.well-known/openid-configuration").await, 12);
    issuer.answers("/.well-known/openid-configuration", document(&name, &format!("{name}/jwks.json"))).await;
    let keys = issuer.signer.jwks();
    issuer.keys(&keys).await;
    issuer.world.pass(60);
    let (iat, exp) = (NOW + 13 * 60, NOW + 13 * 60 + 600);
    let token = issuer.signer.sign("ES256", json!({}), &issuer.claims_but(json!({"iat": iat, "exp": exp})));
    issuer.world.exchange(token).await.unwrap();
}

#[test]
fn an_address_inside_is_not_configured_by_mistake() {
    for (address, good, good_if_private) in [
        ("https://idp.example", true, true),
        ("https://1.1.1.1", true, true),
        ("https://10.1.2.3", false, true),
        ("https://192.168.0.1:8443/realms/a", false, true),
        ("https://[fd12::1]", false, true),
        ("https://[fd00:ec2::254]", false, false),
        ("https://169.254.169.254", false, false),
        ("https://[::ffff:10.0.0.1]", false, false),
        ("https://[fe80::1]", false, false),
        ("https://0.0.0.0", false, false),
        ("https://127.0.0.1", true, true),
        ("http://10.1.2.3", false, false),
    ] {
        for (allowed, good) in [(false, good), (true, good_if_private)] {
            let mut config = configuration(address, "");
            config.issuers[0].allow_private_addresses = allowed;
            let found = config.problems(&crate::support::Secrets);
            assert_eq!(found.is_empty(), good, "{address} {allowed}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_token_of_one_tenant_is_nobody_in_another() {
    let second = "[[issuers]]\nname = \"other\"\nissuer = \"http://127.0.0.1:1\"\ntenant = \"globex\"\n\
                  jwks_uri = \"JWKS\"\n[[policies]]\nname = \"globex\"\n\
                  match = { issuer = \"other\", groups = \"eng\" }\n\
                  grant = { models = \"all\", tier = \"t\", ttl = \"1h\" }\n";
    let world = World::new("").await;
    let other = World::new("").await;
    let config =
        configuration(world.idp.issuer(), &(second.replace("JWKS", &other.idp.jwks_uri()) + ENGINEERS));
    let server = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
    let world = World { server, ..world };
    let whose = async |token: String| {
        let key = world.exchange(token).await.unwrap();
        world.server.find(&key.access_token).unwrap().id().tenant.as_str().to_owned()
    };
    assert_eq!(whose(world.engineer("alice").id_token()).await, "acme");
    world.idp.rotate_keys();
    let theirs = |world: &World| world.engineer("alice").issuer("http://127.0.0.1:1").id_token();
    assert_eq!(whose(theirs(&other)).await, "globex");
    // Each in the other's name. Their keys have other names and values since the rotation.
    assert_eq!(refusal(&world, theirs(&world)).await, Some(Reason::UnknownKey));
    let swapped = other.engineer("alice").issuer(world.idp.issuer()).fault(TokenFault::UnknownKid).id_token();
    assert_eq!(refusal(&world, swapped).await, Some(Reason::UnknownKey));
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_costs_anything() {
    let issuer = Published::new("").await;
    let sign = |claims: &Value| issuer.signer.sign("ES256", json!({}), claims);
    let long = sign(&issuer.claims_but(json!({"x": "x".repeat(16 * 1024)})));
    assert_eq!(refusal(&issuer.world, long).await, Some(Reason::MalformedCredential));
    let mut deep = json!(1);
    for _ in 0..32 {
        deep = json!([deep]);
    }
    let token = sign(&issuer.claims_but(json!({"x": deep})));
    assert_eq!(refusal(&issuer.world, token).await, Some(Reason::MalformedCredential));
    assert_eq!(issuer.asked("/jwks.json").await, 0);
    let subject = sign(&issuer.claims_but(json!({"sub": format!("alice{}", "a".repeat(512))})));
    assert_eq!(refusal(&issuer.world, subject).await, Some(Reason::WrongClaims));
    let groups = |count: usize| {
        let groups: Vec<String> = (0..count).map(|n| format!("{n:x}")).chain(["eng".to_owned()]).collect();
        let world = &issuer.world;
        world.idp.mint("alice").audience("portunus").claim("groups", groups).id_token()
    };
    let mut config = configuration(issuer.world.idp.issuer(), ENGINEERS);
    config.policies[0].reusable_subject_token = true;
    let world = &issuer.world;
    let many = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
    let verified = async |count: usize| many.verify(&BearerToken::new(groups(count))).await;
    verified(1500).await.unwrap();
    assert!(matches!(verified(2000).await, Err(AuthError::NotAdmitted | AuthError::Malformed)));
}
