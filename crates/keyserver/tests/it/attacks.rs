//! Attacks on tokens, key sets and discovery: one test for each way to try, beside those that others fell for
//! (`regressions`).
//!
//! What is tested where; `gateway` is that crate's tests, `src` this crate's unit tests.
//!
//! | attack | tests |
//! |---|---|
//! | `alg: none`, a public key as a secret, forged signatures | `regressions::cve_2015_9235_a_public_key_is_no_shared_secret` |
//! | | `regressions::cve_2022_21449_a_signature_of_zeros_fits_nothing` |
//! | | `attacks::every_algorithm_is_verified_by_its_own_key_and_no_other` |
//! | | `vectors::wycheproof_signatures` |
//! | | `vectors::oidc_verify` |
//! | | `properties::any_changed_bit_of_any_algorithms_token_is_refused` |
//! | `jwk`, `jku`, `x5u`, `x5c`, `crit` in a header | `attacks::keys_and_addresses_in_a_header_are_neither_used_nor_fetched` |
//! | | `regressions::cve_2025_59420_a_critical_extension_is_refused` |
//! | `kid` as a path or a query, one `kid` twice, private keys in a set | `attacks::a_key_id_is_a_name_and_nothing_else` |
//! | | `attacks::a_key_set_with_two_keys_of_one_name_is_no_key_set` |
//! | | `attacks::two_issuers_with_a_key_of_one_name_are_two_issuers` |
//! | | `attacks::private_shared_and_foreign_keys_are_left_out_and_spoil_no_other` |
//! | a flood of unknown `kid`, an outage, an empty set | `issuers::a_flood_of_unknown_keys_costs_the_issuer_one_fetch_in_a_minute` |
//! | | `issuers::good_tokens_are_verified_without_delay_during_a_flood` |
//! | | `issuers::a_virtual_day_without_the_issuer` |
//! | | `issuers::a_fetch_that_hangs_is_given_up` |
//! | | `attacks::an_empty_broken_or_oversized_key_set_leaves_the_old_keys` |
//! | claims of another type | `regressions::cve_2026_25537_a_time_of_another_type_is_not_absent` |
//! | claims of another name, or twice | `attacks::a_claim_has_one_name_and_comes_once` |
//! | a token of another kind, or of another server's | `attacks::a_token_of_one_kind_is_not_taken_for_another` |
//! | | `attacks::an_opaque_token_of_a_provider_is_nobodys` |
//! | | `attacks::an_id_token_says_with_which_access_token_it_came` |
//! | `aud`, `azp` | `attacks::an_audience_is_ours_alone_and_exactly` |
//! | another issuer, addresses inside, redirects, DNS rebinding | `attacks::an_issuer_is_its_name_letter_by_letter` |
//! | | `attacks::discovery_may_not_lead_elsewhere` |
//! | | `attacks::a_key_set_is_not_fetched_from_where_a_redirect_leads` |
//! | | `attacks::an_address_inside_is_not_configured_by_mistake` |
//! | | `src::reach::a_name_that_leads_inside_is_out_of_reach_whatever_it_led_to_before` |
//! | | `src::fetch::a_connection_goes_to_the_address_that_was_checked` |
//! | another tenant | `attacks::a_token_of_one_tenant_is_nobody_in_another` |
//! | | `introspection::a_tenant_is_told_nothing_of_anothers_keys` |
//! | | `presets::a_directory_speaks_for_its_own_users_only` |
//! | mix-up, login CSRF, code injection, open redirect, session fixation | there is no login by browser that could be attacked so |
//! | identity headers | `gateway::regressions::cve_2025_64484_no_spelling_of_a_header_gets_through` |
//! | | `gateway::framing::no_header_that_vouches_for_a_caller_reaches_the_provider` |
//! | forwarded headers, path, fragment, query, user agent | `limits::an_address_over_its_limit_costs_no_cryptography_and_no_fetch` |
//! | | `gateway::regressions::ghsa_7x63_xv5r_3p2x_a_header_names_no_path` |
//! | | `gateway::regressions::ghsa_pxq7_h93f_9jrg_a_path_is_a_route_only_as_it_is_written` |
//! | | `gateway::regressions::ghsa_7rh7_c77v_6434_a_query_opens_nothing` |
//! | | `gateway::regressions::ghsa_5hvv_m4w4_gf6v_no_header_but_a_credential_lets_anybody_in` |
//! | addresses that can be read in two ways, or are not verified | `regressions::ghsa_c5c4_8r6x_56w3_an_address_has_one_domain` |
//! | | `addresses::keys_end_by_the_address_that_was_verified_and_no_others` |
//! | the same token twice | `exchange::of_many_exchanges_of_one_token_one_succeeds` |
//! | | `exchange::another_valid_signature_makes_no_other_token` |
//! | telling by answers or time what exists | `contract::a_bad_subject_token_looks_the_same_whatever_is_wrong_with_it` |
//! | | `introspection::dead_unknown_and_others_keys_are_not_active_and_nothing_else_is_said` |
//! | | `introspection::introspection_asks_the_store_nothing` |
//! | | `regressions::cve_2026_42208_no_text_of_a_stranger_reaches_the_store` |
//! | | `gateway::callers::whoever_is_not_proven_is_refused_alike` |
//! | more than the policy grants | `properties::what_is_granted_lies_within_the_policy` |
//! | | `properties::what_says_nothing_in_a_request_widens_nothing` |
//! | | `policy_properties::what_is_granted_would_be_granted_however_the_unknown_turns_out` |
//! | | `policy_properties::an_empty_claim_widens_nothing` |
//! | | `config::nothing_empty_or_unknown_in_a_configuration_widens_anything` |
//! | | `families::a_child_lies_within_its_parent` |
//! | patterns that mean more than they say | `attacks::a_pattern_is_no_regular_expression` |
//! | lines in the log, fields in the audit | `injection::no_claim_forges_a_line_of_the_log_or_a_field_of_the_audit` |
//! | | `injection::an_odd_subject_stays_one_field` |
//! | request smuggling | `gateway::framing::http1_framing` |
//! | | `gateway::llhttp::llhttp_requests` |
//! | | `gateway::callers::two_credentials_that_differ_are_refused` |
//! | too much of anything | `attacks::what_is_too_large_is_refused_before_it_costs_anything` |
//! | | `limits::an_address_over_its_limit_costs_no_cryptography_and_no_fetch` |
//! | | `hangups::a_body_that_trickles_is_not_waited_for_and_takes_no_room_in_the_audit` |
//! | | `src::fetch::no_more_is_read_than_a_document_may_have` |
//! | what was known before a revocation | `keys::other_servers_learn_of_new_and_of_revoked_keys` |
//! | | `direct::a_remembered_token_does_not_outlive_its_key` |
//! | | `gateway::callers::a_revoked_key_is_refused_on_the_very_next_call` |
//! | a server that is set up wrongly | `cargo xtask e2e`: right and wrong keys, from outside |
//! | a stolen key | `possession::a_bound_key_is_useless_without_its_proof` |
//! | | `possession::any_changed_bit_of_a_proof_is_refused` |

use std::time::Duration;

use portunus_auth_core::{AuthError, BearerToken, Reason};
use portunus_keyserver::{BadKeySet, ExchangeError, KeySet, TokenKind};
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

#[test]
fn every_test_that_the_tables_name_is_there() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let files = [include_str!("attacks.rs"), include_str!("regressions.rs")];
    let rows = files.iter().flat_map(|file| file.lines()).filter(|line| line.starts_with("//! |"));
    let mut named = 0;
    for test in rows.flat_map(|row| row.split('`')).filter(|text| text.contains("::")) {
        let (place, name) = test.rsplit_once("::").unwrap();
        let file = match place.split_once("::") {
            Some(("gateway", module)) => format!("{root}../gateway/tests/it/{module}.rs"),
            Some(("src", module)) => format!("{root}src/{module}.rs"),
            _ => format!("{root}tests/it/{place}.rs"),
        };
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {name}(")), "{test}");
        named += 1;
    }
    assert!(named > 80, "{named}");
}

#[tokio::test]
async fn every_algorithm_is_verified_by_its_own_key_and_no_other() {
    let issuer = Published::new(ALL_CONFIGURED).await;
    for algorithm in ALL {
        let token = issuer.signer.sign(algorithm, json!({}), &issuer.claims_but(json!({"jti": algorithm})));
        assert_eq!(refusal(&issuer.world, token).await, None, "{algorithm}");
        for other in ALL.into_iter().filter(|other| *other != algorithm) {
            let header = json!({"alg": algorithm, "kid": other}).to_string();
            let token = issuer.signer.sign_text(algorithm, &header, issuer.claims().to_string());
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
            // Its factors are found, given time: 1024 bits.
            {"kty": "RSA", "kid": "RS512", "n": base64([0xc1; 128]), "e": "AQAB"},
            {"kty": "oct", "kid": "HS256", "k": "AAAA"},
            {"kty": "AKP", "kid": "ML-DSA-44", "alg": "ML-DSA-44", "pub": "AAAA"},
            "rubbish",
            issuer.signer.jwk("ES256"),
        ]}))
        .await;
    let sign = |algorithm: &str| issuer.signer.sign(algorithm, json!({}), &issuer.claims());
    for algorithm in ["ES384", "RS256", "PS256", "ES512", "EdDSA", "RS384", "RS512"] {
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
    let many = |count: usize| {
        let named = |n: usize| {
            let mut key = issuer.signer.jwk("ES256");
            key["kid"] = if n == 0 { "ES256".into() } else { n.to_string().into() };
            key
        };
        (0..count).map(named).collect::<Vec<Value>>()
    };
    let parsed = |count: usize| KeySet::parse(json!({"keys": many(count)}).to_string().as_bytes());
    assert!(parsed(64).is_ok());
    assert_eq!(parsed(65).unwrap_err(), BadKeySet::TooLarge);
    let bodies = [
        r#"{"keys":[]}"#.to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "<html>".to_owned(),
        r#"{"keys":[],"keys":[]}"#.to_owned(),
        format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(100 * 1024)),
        json!({"keys": many(65)}).to_string(),
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
            issuer.signer.sign_text("ES256", header, payload.replace(twice, &format!("{twice},{twice}")));
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
    use portunus_keyserver::{Audiences, Issuer, UnverifiedJwt};
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
        ("too large", document(&name, &format!("{name}/{}", "x".repeat(100 * 1024)))),
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
    assert_eq!(issuer.asked("/.well-known/openid-configuration").await, 13);
    issuer.answers("/.well-known/openid-configuration", document(&name, &format!("{name}/jwks.json"))).await;
    let keys = issuer.signer.jwks();
    issuer.keys(&keys).await;
    issuer.world.pass(60);
    let (iat, exp) = (NOW + 14 * 60, NOW + 14 * 60 + 600);
    let token = issuer.signer.sign("ES256", json!({}), &issuer.claims_but(json!({"iat": iat, "exp": exp})));
    issuer.world.exchange(token).await.unwrap();
}

/// Nor may the address of the keys themselves, which is no other than the one that was checked.
#[tokio::test]
async fn a_key_set_is_not_fetched_from_where_a_redirect_leads() {
    let mallory = Published::new("").await;
    let issuer = Published::silent("").await;
    issuer.discovery(&issuer.site.uri(), "/jwks.json").await;
    let theirs = format!("{}/jwks.json", mallory.site.uri());
    for status in [301, 302, 303, 307, 308] {
        let moved = ResponseTemplate::new(status).insert_header("location", theirs.as_str());
        let keys = mallory.signer.jwks();
        issuer.answers("/jwks.json", moved.set_body_json(keys)).await;
        issuer.world.pass(60);
        let token = mallory.signer.sign("ES256", json!({}), &issuer.claims());
        let refused = issuer.world.exchange(token).await;
        assert!(matches!(refused, Err(ExchangeError::Unavailable { .. })), "{status}: {refused:?}");
    }
    assert_eq!((issuer.asked("/jwks.json").await, mallory.asked("/jwks.json").await), (5, 0));
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

/// A key is its issuer's, whoever else uses its name.
#[tokio::test]
async fn two_issuers_with_a_key_of_one_name_are_two_issuers() {
    let (one, two) = (Published::new("").await, Published::new("").await);
    let entry = |name: &str, tenant: &str, issuer: &Published| {
        format!(
            "[[issuers]]\nname = \"{name}\"\ntenant = \"{tenant}\"\nissuer = \"{}\"\n[[policies]]\n\
             name = \"{name}\"\nmatch = {{ issuer = \"{name}\", subject = \"alice\" }}\n\
             grant = {{ models = \"all\", tier = \"t\", ttl = \"1h\" }}\n",
            issuer.site.uri()
        )
    };
    let entries = entry("one", "acme", &one) + &entry("two", "globex", &two);
    let config = configuration(one.world.idp.issuer(), &entries);
    let server = server(config, one.world.store.clone(), &one.world.clock, &one.world.audit).await.unwrap();
    let presented = async |signer: &Published, claimed: &Published| {
        let token = signer.signer.sign("ES256", json!({}), &claimed.claims());
        server.verify(&BearerToken::new(token)).await.map(|principal| principal.id().clone())
    };
    // Before and after the keys of both are held.
    for _ in 0..2 {
        assert!(matches!(presented(&one, &two).await, Err(AuthError::Unknown)));
        assert!(matches!(presented(&two, &one).await, Err(AuthError::Unknown)));
        let (first, second) = (presented(&one, &one).await.unwrap(), presented(&two, &two).await.unwrap());
        assert_eq!((first.tenant.as_str(), &*first.issuer), ("acme", "one"));
        assert_eq!((second.tenant.as_str(), &*second.issuer), ("globex", "two"));
    }
}

/// What a provider gives out for its own use says nothing that could be verified here.
#[tokio::test]
async fn an_opaque_token_of_a_provider_is_nobodys() {
    let world = World::new(ENGINEERS).await;
    for token in [
        "gho_16C7e42F292c6912E7710c838347Ae178B4a",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "ya29.a0AfH6SMBx-canary",
        "00OkjASHJDopaque",
        "glpat-canary-canary-canary",
        "EwBwA8l6BAAU",
    ] {
        for kind in [TokenKind::Identity, TokenKind::Access, TokenKind::Any] {
            let refused = refusal_of(&world, kind, token.to_owned()).await;
            assert_eq!(refused, Some(Reason::MalformedCredential), "{token} as {kind:?}");
        }
    }
    assert!(world.idp.requests().is_empty());
}

/// A pattern has no letter with a meaning but `*`, and is about the whole text.
#[tokio::test]
async fn a_pattern_is_no_regular_expression() {
    let policies = r#"
[[policies]]
name = "jobs"
match = { issuer = "idp", subject = ["repo:acme/app|repo:evil/x", "^repo:acme", "dev-.", "a)|(b", "main$", "[ab]", "x?y+"] }
grant = { models = "all", tier = "t", ttl = "1h" }
"#;
    let world = World::new(policies).await;
    let exchange = async |subject: &str| world.exchange(world.engineer(subject).id_token()).await.is_ok();
    for like in ["repo:acme/app|repo:evil/x", "^repo:acme", "dev-.", "a)|(b", "main$", "[ab]", "x?y+"] {
        assert!(exchange(like).await, "{like}");
    }
    for unlike in [
        "repo:acme/app",
        "repo:evil/x",
        "repo:acme",
        "repo:acme/evil",
        "dev-1",
        "dev-",
        "a",
        "b",
        "ab",
        "main",
        "maintenance",
        "xy",
        "xxyy",
        "dev-.x",
        "xdev-.",
        "dev-.\u{a0}",
    ] {
        assert!(!exchange(unlike).await, "{unlike}");
    }
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
