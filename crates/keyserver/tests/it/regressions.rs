//! One test for each known failure of others that verifying tokens is about. Where the others are:
//!
//! | failure | test |
//! |---|---|
//! | CVE-2026-35030 | `regressions::cve_2026_35030_a_cache_knows_the_whole_token` |
//! | CVE-2026-42208 | `regressions::cve_2026_42208_no_text_of_a_stranger_reaches_the_store` |
//! | | `gateway::regressions::cve_2026_42208_no_text_of_a_stranger_does_more_than_a_wrong_key` |
//! | CVE-2024-6587 | `gateway::regressions::cve_2024_6587_no_caller_chooses_where_a_credential_goes` |
//! | LiteLLM, March 2026 | `gateway::regressions::litellm_incident_2026_03_18_no_credential_is_kept_with_a_request` |
//! | litellm#24902 | `gateway::regressions::litellm_24902_a_key_in_the_url_goes_nowhere` |
//! | litellm#36123 | `gateway::regressions::litellm_36123_37140_9178_a_caller_who_leaves_stops_the_provider` |
//! | agentgateway#3616 | `regressions::agentgateway_3616_a_dead_issuer_stops_nobody` |
//! | agentgateway#2798 | `regressions::agentgateway_2798_a_rotated_key_needs_no_restart` |
//! | istio#58101 | `regressions::istio_58101_good_keys_survive_a_failed_refresh` |
//! | kgateway#7803 | `regressions::kgateway_7803_a_failed_first_fetch_is_tried_again` |
//! | pomerium#3431, sourcegraph#37016 | `regressions::pomerium_3431_a_store_that_is_away_ends_nothing` |
//! | CVE-2026-25537 | `regressions::cve_2026_25537_a_time_of_another_type_is_not_absent` |
//! | jsonwebtoken 10 without a provider | `regressions::jsonwebtoken_10_provider_every_algorithm_verifies` |
//! | RUSTSEC-2023-0071 | `regressions::rustsec_2023_0071_there_is_no_rsa_crate` |
//! | CVE-2024-53861 | `regressions::cve_2024_53861_an_issuer_is_compared_as_a_whole` |
//! | CVE-2025-59420, CVE-2026-35042 | `regressions::cve_2025_59420_a_critical_extension_is_refused` |
//! | CVE-2022-21449 | `regressions::cve_2022_21449_a_signature_of_zeros_fits_nothing` |
//! | CVE-2015-9235 | `regressions::cve_2015_9235_a_public_key_is_no_shared_secret` |
//! | CVE-2025-30204, CVE-2025-27144 | `regressions::cve_2025_30204_a_token_of_dots_is_not_split` |
//! | CVE-2025-64484 | `gateway::regressions::cve_2025_64484_no_spelling_of_a_header_gets_through` |
//! | GHSA-7rh7-c77v-6434 | `gateway::regressions::ghsa_7rh7_c77v_6434_a_query_opens_nothing` |
//! | GHSA-pxq7-h93f-9jrg | `gateway::regressions::ghsa_pxq7_h93f_9jrg_a_path_is_a_route_only_as_it_is_written` |
//! | GHSA-7x63-xv5r-3p2x | `gateway::regressions::ghsa_7x63_xv5r_3p2x_a_header_names_no_path` |
//! | GHSA-5hvv-m4w4-gf6v | `gateway::regressions::ghsa_5hvv_m4w4_gf6v_no_header_but_a_credential_lets_anybody_in` |
//! | GHSA-c5c4-8r6x-56w3 | `regressions::ghsa_c5c4_8r6x_56w3_an_address_has_one_domain` |
//! | GHSA-5m6c-jp6f-2vcv | there is no login by browser, and nothing redirects |
//! | CVE-2023-44487 | `gateway::regressions::cve_2023_44487_rustsec_2024_0332_http_2_is_not_spoken` |
//! | CVE-2021-32714, CVE-2021-32715 | `gateway::regressions::cve_2021_32714_32715_a_length_is_only_digits_and_never_overflows` |
//! | litellm on PyPI, 1.82.7 | `cargo xtask deny`: nothing but crates.io, by the hashes in `Cargo.lock` |

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portunus_auth_core::{AuthError, BearerToken, Outcome, Reason};
use portunus_keyserver::{ExchangeError, Refused, UnverifiedJwt};
use portunus_mock::{Algorithm, Fault, TokenFault};

use crate::signer::{ALL, ALL_CONFIGURED, Published};
use crate::support::{ENGINEERS, World, configuration, exchange_of};

async fn refusal(world: &World, token: String) -> Reason {
    match world.exchange(token).await {
        Err(ExchangeError::BadSubject(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// LiteLLM: a cache keyed by the first characters of a token.
#[tokio::test]
async fn cve_2026_35030_a_cache_knows_the_whole_token() {
    let world = World::new(ENGINEERS).await;
    let good = world.engineer("alice").id_token();
    world.server.verify(&BearerToken::new(good.clone())).await.unwrap();
    for kept in [20, good.len() / 2, good.rfind('.').unwrap() + 1, good.len() - 1] {
        let replaced = if good.as_bytes()[kept] == b'A' { 'B' } else { 'A' };
        let forged = format!("{}{replaced}{}", &good[..kept], &good[kept + 1..]);
        let forged = BearerToken::new(forged);
        assert!(world.server.verified(&forged).is_none());
        assert!(world.server.verify(&forged).await.is_err());
    }
    assert!(world.server.verified(&BearerToken::new(good)).is_some());
}

/// LiteLLM: what a stranger presents reaches the database.
#[tokio::test]
async fn cve_2026_42208_no_text_of_a_stranger_reaches_the_store() {
    let world = World::new(ENGINEERS).await;
    let asked = world.store.asked();
    let hostile = ["' OR '1'='1", "ptk_' OR 1=1--", "\0", "ptk_\0", "ключ", "a.b.c", "..", "ptk_", "%00"];
    for n in 0..1000 {
        let text = hostile[n % hostile.len()].repeat(1 + n);
        let token = BearerToken::new(text);
        assert!(matches!(world.server.find(&token), Err(AuthError::Malformed)));
        assert!(world.server.verify(&token).await.is_err());
    }
    assert_eq!(world.store.asked(), asked);
}

/// agentgateway: an issuer that is down keeps the process from starting, and other configuration from being
/// read.
#[tokio::test]
async fn agentgateway_3616_a_dead_issuer_stops_nobody() {
    let config = r#"
[[issuers]]
name = "dead"
issuer = "http://127.0.0.1:1"
tenant = "acme"
"#;
    let world = World::new(&format!("{config}{ENGINEERS}")).await;
    world.key("alice").await;
    let dead = world.engineer("alice").issuer("http://127.0.0.1:1").id_token();
    assert!(matches!(world.exchange(dead).await, Err(ExchangeError::Unavailable { .. })));
    world.key("alice").await;
    let config = configuration(world.idp.issuer(), &ENGINEERS.replace("eng\"", "ops\""));
    world.server.reload_policies(&config.policies).await.unwrap();
    let refused = refusal(&world, world.engineer("alice").id_token()).await;
    assert_eq!(refused, Reason::NoPolicy);
}

/// agentgateway: an unknown key name never makes it look again.
#[tokio::test]
async fn agentgateway_2798_a_rotated_key_needs_no_restart() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    world.idp.rotate_keys();
    world.key("alice").await;
}

/// Istio: good keys are dropped when a refresh fails.
#[tokio::test]
async fn istio_58101_good_keys_survive_a_failed_refresh() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    world.idp.fail_next(10, Fault::Malformed);
    world.pass(3600);
    world.key("alice").await;
}

/// kgateway: a first fetch that failed is never tried again.
#[tokio::test]
async fn kgateway_7803_a_failed_first_fetch_is_tried_again() {
    let world = World::new(ENGINEERS).await;
    world.idp.fail_next(1, Fault::status(500));
    assert!(world.exchange(world.engineer("alice").id_token()).await.is_err());
    world.pass(1);
    world.key("alice").await;
}

/// Pomerium, Sourcegraph: a store that is away for a moment ends good sessions.
#[tokio::test]
async fn pomerium_3431_a_store_that_is_away_ends_nothing() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    world.store.set_off(true);
    assert!(world.server.find(&key.access_token).is_ok());
    let answer = world.form(&exchange_of(&world.engineer("alice").id_token())).await;
    assert_eq!(answer.status, 503);
    world.store.set_off(false);
    assert!(world.server.find(&key.access_token).is_ok());
    let again = world.another(ENGINEERS).await;
    assert!(again.find(&key.access_token).is_ok());
}

/// jsonwebtoken before 10.3: a time of the wrong type counts as absent.
#[tokio::test]
async fn cve_2026_25537_a_time_of_another_type_is_not_absent() {
    let world = World::new(ENGINEERS).await;
    for claim in ["exp", "nbf", "iat"] {
        for value in [
            serde_json::json!("1"),
            serde_json::json!(1.5),
            serde_json::json!(-1),
            serde_json::json!(null),
            serde_json::json!([1]),
            serde_json::json!(true),
            serde_json::json!(1e300),
        ] {
            let token = world.engineer("alice").claim(claim, value.clone()).id_token();
            assert_eq!(refusal(&world, token).await, Reason::WrongClaims, "{claim} {value}");
        }
    }
    for claim in ["exp", "iat", "sub"] {
        let token = world.engineer("alice").without(claim).id_token();
        assert_eq!(refusal(&world, token).await, Reason::WrongClaims, "{claim}");
    }
}

/// jsonwebtoken 10: compiles without a backend, and panics with the first token.
#[tokio::test]
async fn jsonwebtoken_10_provider_every_algorithm_verifies() {
    let issuer = Published::new(ALL_CONFIGURED).await;
    for algorithm in ALL {
        let claims = issuer.claims_but(serde_json::json!({"jti": algorithm}));
        let token = issuer.signer.sign(algorithm, serde_json::json!({}), &claims);
        issuer.world.exchange(token).await.unwrap_or_else(|error| panic!("{algorithm}: {error}"));
    }
}

/// The `rsa` crate: private-key operations tell the key by their timing. Nothing here depends on it.
#[test]
fn rustsec_2023_0071_there_is_no_rsa_crate() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"aws-lc-rs\"") && !lock.contains("name = \"rsa\""));
}

/// PyJWT 2.10.0: a part of the issuer's name is enough.
#[tokio::test]
async fn cve_2024_53861_an_issuer_is_compared_as_a_whole() {
    let world = World::new(ENGINEERS).await;
    let issuer = world.idp.issuer().to_owned();
    let like =
        [&issuer[..issuer.len() - 1], &issuer[1..], &format!("{issuer}/"), &format!("{issuer}0"), "", "h"];
    for other in like {
        let token = world.engineer("alice").issuer(other).id_token();
        assert_eq!(refusal(&world, token).await, Reason::UnknownIssuer, "{other}");
    }
}

fn with_header(token: &str, header: &str) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
}

/// Authlib (CVE-2025-59420), fast-jwt (CVE-2026-35042), PyJWT: an extension that must be understood is
/// ignored.
#[tokio::test]
async fn cve_2025_59420_a_critical_extension_is_refused() {
    let world = World::new(ENGINEERS).await;
    let good = world.engineer("alice").id_token();
    for header in [
        r#"{"alg":"RS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"RS256","crit":[]}"#,
        r#"{"alg":"RS256","crit":null}"#,
        r#"{"alg":"RS256","b64":false}"#,
    ] {
        let token = BearerToken::new(with_header(&good, header));
        assert_eq!(UnverifiedJwt::read(&token).unwrap_err(), Refused::Malformed, "{header}");
    }
}

/// Java: an ECDSA signature of zeros fits everything.
#[tokio::test]
async fn cve_2022_21449_a_signature_of_zeros_fits_nothing() {
    let world = World::new(ENGINEERS).await;
    let good = world.engineer("alice").algorithm(Algorithm::Es256).id_token();
    let (signed, _) = good.rsplit_once('.').unwrap();
    for zeros in [0, 64, 96] {
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(vec![0; zeros]));
        assert_eq!(refusal(&world, token).await, Reason::BadSignature);
    }
}

/// jsonwebtoken (npm): the public key as an HMAC secret.
#[tokio::test]
async fn cve_2015_9235_a_public_key_is_no_shared_secret() {
    let world = World::new(ENGINEERS).await;
    let good = world.engineer("alice").id_token();
    for algorithm in ["HS256", "hs256", "HS384", "HS512", "none", "None", ""] {
        let token = with_header(&good, &format!(r#"{{"alg":"{algorithm}"}}"#));
        assert_eq!(refusal(&world, token).await, Reason::UnsupportedAlgorithm, "{algorithm}");
    }
    // No key was looked up for any of them.
    assert!(world.idp.requests().is_empty());
}

/// golang-jwt, go-jose (CVE-2025-27144): a token of dots is split without limit.
#[tokio::test]
async fn cve_2025_30204_a_token_of_dots_is_not_split() {
    let world = World::new(ENGINEERS).await;
    for token in [".".repeat(16 * 1024), ".".repeat(256 * 1024), "..".to_owned(), "a.".repeat(8000)] {
        assert_eq!(refusal(&world, token).await, Reason::MalformedCredential);
    }
}

/// oauth2-proxy (GHSA-c5c4-8r6x-56w3): `a@evil@allowed.com` passes as an address of allowed.com.
#[tokio::test]
async fn ghsa_c5c4_8r6x_56w3_an_address_has_one_domain() {
    let policy = r#"
[[policies]]
name = "staff"
match = { issuer = "idp", email_domain = ["corp.example", "bücher.example"] }
grant = { models = "all", tier = "standard", ttl = "1h" }
"#;
    let world = World::new(policy).await;
    let exchange = async |email: &str, verified: serde_json::Value| {
        let mint = world.engineer("alice").claim("email", email);
        world.exchange(mint.claim("email_verified", verified).id_token()).await
    };
    for email in [
        "a@corp.example",
        "a@CORP.example",
        "a+b@corp.example",
        "a@xn--bcher-kva.example",
        "a@BÜCHER.example",
    ] {
        exchange(email, true.into()).await.unwrap_or_else(|error| panic!("{email}: {error}"));
    }
    for email in [
        "a@evil.example@corp.example",
        "a@corp.example@evil.example",
        "\"a@evil.example\"@corp.example",
        "a@corp.example.",
        "a@.corp.example",
        "a@evil.corp.example",
        "a@evilcorp.example",
        "corp.example",
        "@corp.example",
        "a@",
        "a@corp.example ",
        "a@corp.example\r\n",
        "a@corp%2eexample",
        "a@evil.example,b@corp.example",
        "<a@corp.example>",
        "a@127.0.0.1",
    ] {
        assert!(exchange(email, true.into()).await.is_err(), "{email}");
    }
    for unverified in [false.into(), "true".into(), 1.into(), serde_json::Value::Null] {
        assert!(exchange("a@corp.example", unverified).await.is_err());
    }
}

/// A deny rule that cannot tell whom it is about refuses.
#[tokio::test]
async fn what_a_deny_rule_cannot_tell_it_refuses() {
    let policies = r#"
[[policies]]
name = "competitors"
match = { issuer = "idp", email_domain = "evil.example" }
effect = "deny"

[[policies]]
name = "leavers"
match = { issuer = "idp", groups = "leaving" }
effect = "deny"

[[policies]]
name = "everybody-else"
match = { issuer = "idp", subject = "user-*" }
grant = { models = "all", tier = "standard", ttl = "1h" }
"#;
    let world = World::new(policies).await;
    let nobody = || world.idp.mint("user-1").audience("portunus").ttl(Duration::from_secs(600));
    let some = || nobody().claim("email", "a@other.example").claim("email_verified", true);
    let user = || nobody().claim("groups", vec!["eng"]);
    world.exchange(some().claim("groups", vec!["eng"]).id_token()).await.unwrap();
    let refused = [
        nobody(),
        some(),
        user(),
        user().claim("email", "a@evil.example").claim("email_verified", true),
        user().claim("email", "a@other.example").claim("email_verified", false),
        user().claim("email", "a@other.example"),
        some().claim("groups", vec!["leaving"]),
        some().claim("groups", "leaving"),
        some().claim("groups", serde_json::json!(["a", 1])),
        some().claim("_claim_names", serde_json::json!({"groups": "src1"})),
        some().claim("hasgroups", true),
    ];
    for mint in refused {
        let token = mint.id_token();
        assert_eq!(refusal(&world, token).await, Reason::NoPolicy);
    }
    let outcomes = world.events();
    assert_eq!(outcomes.last().unwrap().outcome, Outcome::Refused(Reason::NoPolicy));
    world.exchange(some().claim("groups", Vec::<String>::new()).id_token()).await.unwrap();
}

/// A logout token says that somebody left, not that they are here.
#[tokio::test]
async fn a_logout_token_is_no_identity_token() {
    let world = World::new(ENGINEERS).await;
    let events = serde_json::json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let token = world.engineer("alice").claim("events", events).id_token();
    assert_eq!(refusal(&world, token).await, Reason::WrongClaims);
    let future = world.engineer("alice").fault(TokenFault::NotYetValid).id_token();
    assert_eq!(refusal(&world, future).await, Reason::NotYetValid);
}
