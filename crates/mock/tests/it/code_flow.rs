//! The authorization code flow, and every way in which it must fail.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portunus_auth_core::clock::ManualClock;
use portunus_mock::{Algorithm, MockIdp, OAuthConfig, User};
use serde_json::{Value, json};
use url::Url;

use crate::idp::token;
use crate::support::{client, header, json_of};
use crate::tokens::claims_of;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const BACK: &str = "https://app.example/cb?keep=1";

type Query = Vec<(&'static str, &'static str)>;

struct World {
    idp: MockIdp,
    clock: Arc<ManualClock>,
}

fn world() -> World {
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    let config = OAuthConfig {
        redirect_uris: [BACK, "http://127.0.0.1/cb", "http://[::1]:1/cb", "http://localhost:8080/cb"]
            .map(str::to_owned)
            .to_vec(),
        ..OAuthConfig::default()
    };
    let user = User::new("alice").claim("name", "Alice").claim("email", "a@example.com");
    let user = user.claim("groups", vec!["eng", "ops"]).claim("tid", "acme");
    let idp = MockIdp::builder()
        .clock(clock.clone())
        .client(config)
        .public_client("cli", ["http://127.0.0.1/cb"], ["openid"])
        .user(user)
        .build()
        .unwrap();
    World { idp, clock }
}

/// A right authorization request.
fn asking() -> Query {
    vec![
        ("response_type", "code"),
        ("client_id", "mock-client"),
        ("redirect_uri", BACK),
        ("scope", "openid email"),
        ("state", "s & t"),
        ("nonce", "n-1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
}

/// `query` with that parameter replaced, or left out when empty.
fn with(mut query: Query, name: &'static str, value: &'static str) -> Query {
    query.retain(|(n, _)| *n != name);
    if !value.is_empty() {
        query.push((name, value));
    }
    query
}

/// Where the browser is sent, if it is.
async fn sent(idp: &MockIdp, query: &[(&str, &str)]) -> Option<(String, HashMap<String, String>)> {
    let url = format!("{}/authorize", idp.issuer());
    let answer = client().get(url).query(query).send().await.unwrap();
    if answer.status() != 302 {
        assert_eq!(answer.status(), 400);
        assert_eq!(header(&answer, "location"), None);
        return None;
    }
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    let url = Url::parse(header(&answer, "location").unwrap()).unwrap();
    let query = url.query_pairs().into_owned().collect();
    Some((url[..url::Position::AfterPath].to_owned(), query))
}

async fn code(idp: &MockIdp, query: &[(&str, &str)]) -> String {
    sent(idp, query).await.unwrap().1.remove("code").unwrap()
}

/// A right token request.
fn redeeming(code: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("client_id", "mock-client"),
        ("client_secret", "mock-secret"),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
    ]
}

async fn refused(idp: &MockIdp, form: &[(&str, &str)]) -> Value {
    let answer = token(idp, form).await;
    assert_eq!(answer.status(), 400, "{form:?}");
    json_of(answer).await["error"].clone()
}

async fn userinfo(idp: &MockIdp, tokens: &Value) -> reqwest::Response {
    let url = format!("{}/userinfo", idp.issuer());
    client().get(url).bearer_auth(tokens["access_token"].as_str().unwrap()).send().await.unwrap()
}

#[tokio::test]
async fn the_whole_flow() {
    let World { idp, .. } = world();
    let (to, query) = sent(&idp, &asking()).await.unwrap();
    assert_eq!(to, "https://app.example/cb");
    assert_eq!((&*query["keep"], &*query["state"], &*query["iss"]), ("1", "s & t", idp.issuer()));
    assert_eq!(query.len(), 4);

    let tokens = json_of(token(&idp, &redeeming(&query["code"])).await).await;
    assert_eq!((&tokens["scope"], &tokens["token_type"]), (&json!("openid email"), &json!("Bearer")));
    let access = tokens["access_token"].as_str().unwrap();
    let half = |hash: &[u8]| URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2]);
    let (head, claims) = claims_of(tokens["id_token"].as_str().unwrap());
    assert_eq!(head, json!({"typ": "JWT", "alg": "RS256", "kid": "mock-rs256-1"}));
    assert_eq!(
        claims,
        json!({
            "iss": idp.issuer(), "sub": "alice", "aud": "mock-client", "nonce": "n-1",
            "jti": "jti-mock-1700000000-2",
            "iat": 1_700_000_000, "exp": 1_700_003_600, "auth_time": 1_700_000_000,
            "at_hash": half(digest(&SHA256, access.as_bytes()).as_ref()),
            "email": "a@example.com", "groups": ["eng", "ops"], "tid": "acme",
        })
    );
    let (head, claims) = claims_of(access);
    assert_eq!(head["typ"], "at+jwt");
    assert_eq!((&claims["sub"], &claims["scope"]), (&json!("alice"), &json!("openid email")));

    let told = userinfo(&idp, &tokens).await;
    assert_eq!(told.status(), 200);
    assert_eq!(
        json_of(told).await,
        json!({"sub": "alice", "email": "a@example.com", "groups": ["eng", "ops"], "tid": "acme"})
    );
}

#[tokio::test]
async fn what_is_optional_may_be_left_out() {
    let World { idp, .. } = world();
    let mut query = asking();
    for name in ["scope", "state", "nonce"] {
        query = with(query, name, "");
    }
    let (_, back) = sent(&idp, &query).await.unwrap();
    assert!(!back.contains_key("state"));
    let tokens = json_of(token(&idp, &redeeming(&back["code"])).await).await;
    assert_eq!(tokens["scope"], "openid profile email");
    let (_, claims) = claims_of(tokens["id_token"].as_str().unwrap());
    assert_eq!((claims.get("nonce"), &claims["name"]), (None, &json!("Alice")));

    // Without `openid` there is no ID token, and nothing is told of the user.
    let code = code(&idp, &with(asking(), "scope", "email")).await;
    let tokens = json_of(token(&idp, &redeeming(&code)).await).await;
    assert!(tokens.get("id_token").is_none());
    assert_eq!(userinfo(&idp, &tokens).await.status(), 403);
}

#[tokio::test]
async fn a_posted_request_a_resource_and_another_algorithm() {
    let idp = MockIdp::builder().algorithm(Algorithm::EdDsa).build().unwrap();
    let mut query = with(asking(), "redirect_uri", "http://127.0.0.1:5000/callback");
    query.push(("resource", "https://api.example/"));
    let url = format!("{}/authorize", idp.issuer());
    let answer = client().post(url).form(&query).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    let back = Url::parse(header(&answer, "location").unwrap()).unwrap();
    assert_eq!(back.port(), Some(5_000));
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let mut form = redeeming(&code);
    form[4] = ("redirect_uri", "http://127.0.0.1:5000/callback");
    let tokens = json_of(token(&idp, &form).await).await;
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(claims_of(access).1["aud"], "https://api.example/");
    let (head, claims) = claims_of(tokens["id_token"].as_str().unwrap());
    assert_eq!(head["alg"], "EdDSA");
    let hash = digest(&SHA512, access.as_bytes());
    assert_eq!(claims["at_hash"], URL_SAFE_NO_PAD.encode(&hash.as_ref()[..32]));
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_is_not_registered() {
    let World { idp, .. } = world();
    for (name, value) in [
        ("client_id", ""),
        ("client_id", "other"),
        ("redirect_uri", ""),
        ("redirect_uri", "https://evil.example/cb"),
        ("redirect_uri", "https://app.example/cb"),
        ("redirect_uri", "https://app.example/cb?keep=1&x=2"),
        ("redirect_uri", "https://app.example/cb?keep=1#"),
        ("redirect_uri", "https://app.example/cb/../cb?keep=1"),
        ("redirect_uri", "https://app.example:443/cb?keep=1"),
        ("redirect_uri", "http://127.0.0.1/other"),
        ("redirect_uri", "http://127.0.0.2/cb"),
        ("redirect_uri", "https://127.0.0.1/cb"),
        ("redirect_uri", "http://127.0.0.1:9@evil.example/cb"),
        ("redirect_uri", "http://user@127.0.0.1/cb"),
        ("redirect_uri", "http://127.1/cb"),
        ("redirect_uri", "http://localhost:8081/cb"),
    ] {
        assert_eq!(sent(&idp, &with(asking(), name, value)).await, None, "{name}={value}");
    }
    let mut twice = asking();
    twice.push(("redirect_uri", "http://127.0.0.1/cb"));
    assert_eq!(sent(&idp, &twice).await, None);

    for good in ["http://127.0.0.1/cb", "http://127.0.0.1:5000/cb", "http://[::1]:7/cb", "http://[::1]/cb"] {
        assert!(sent(&idp, &with(asking(), "redirect_uri", good)).await.is_some(), "{good}");
    }
}

#[tokio::test]
async fn any_other_error_goes_back_with_state_and_issuer() {
    let World { idp, .. } = world();
    let cases = [
        ("response_type", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code id_token", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("scope", "openid admin", "invalid_scope"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("resource", "relative", "invalid_target"),
        ("request", "x", "request_not_supported"),
        ("request_uri", "x", "request_uri_not_supported"),
        ("prompt", "none", "login_required"),
        ("scope", " ", "invalid_scope"),
    ];
    for (name, value, error) in cases {
        let (to, query) = sent(&idp, &with(asking(), name, value)).await.unwrap();
        assert_eq!(to, "https://app.example/cb");
        assert_eq!(query["error"], error, "{name}={value}");
        assert_eq!((&*query["state"], &*query["iss"]), ("s & t", idp.issuer()));
        assert!(query.contains_key("error_description") && !query.contains_key("code"));
    }
    let mut twice = asking();
    twice.push(("nonce", "n-2"));
    assert_eq!(sent(&idp, &twice).await.unwrap().1["error"], "invalid_request");

    idp.deny_next();
    assert_eq!(sent(&idp, &asking()).await.unwrap().1["error"], "access_denied");
    assert!(sent(&idp, &asking()).await.unwrap().1.contains_key("code"));
}

#[tokio::test]
async fn a_code_is_redeemed_only_by_who_asked_for_it_and_as_asked() {
    let World { idp, .. } = world();
    let code = code(&idp, &asking()).await;
    let right = redeeming(&code);
    let but = |name: &'static str, value: &'static str| {
        let mut form = right.clone();
        form.retain(|(n, _)| *n != name);
        if !value.is_empty() {
            form.push((name, value));
        }
        form
    };
    for (name, value) in [
        ("code", "code-mock-99"),
        ("redirect_uri", ""),
        ("redirect_uri", "http://127.0.0.1/cb"),
        ("code_verifier", ""),
        ("code_verifier", "short"),
        ("code_verifier", CHALLENGE),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX!"),
    ] {
        assert_eq!(refused(&idp, &but(name, value)).await, "invalid_grant", "{name}={value}");
    }
    assert_eq!(refused(&idp, &but("code", "")).await, "invalid_request");
    let mut anothers = right.clone();
    anothers.retain(|(name, _)| !name.starts_with("client_"));
    anothers.push(("client_id", "cli"));
    assert_eq!(refused(&idp, &anothers).await, "invalid_grant");
    let mut wrong_secret = right.clone();
    wrong_secret[2] = ("client_secret", "wrong");
    assert_eq!(token(&idp, &wrong_secret).await.status(), 401);
    // None of that spent it, and nothing was issued beside the errors: the next token is the first one.
    let tokens = json_of(token(&idp, &right).await).await;
    let (_, claims) = claims_of(tokens["access_token"].as_str().unwrap());
    assert_eq!(claims["jti"], "jti-mock-1700000000-1");
}

#[tokio::test]
async fn a_second_redemption_fails_and_takes_the_tokens_with_it() {
    let World { idp, .. } = world();
    let (first, second) = (code(&idp, &asking()).await, code(&idp, &asking()).await);
    let tokens = json_of(token(&idp, &redeeming(&first)).await).await;
    let others = json_of(token(&idp, &redeeming(&second)).await).await;
    assert_eq!(userinfo(&idp, &tokens).await.status(), 200);
    assert_eq!(refused(&idp, &redeeming(&first)).await, "invalid_grant");
    assert_eq!(userinfo(&idp, &tokens).await.status(), 401);
    assert_eq!(userinfo(&idp, &others).await.status(), 200);
}

#[tokio::test]
async fn a_code_lives_for_a_minute() {
    let World { idp, clock } = world();
    let (early, late) = (code(&idp, &asking()).await, code(&idp, &asking()).await);
    clock.advance(Duration::from_secs(59));
    assert_eq!(token(&idp, &redeeming(&early)).await.status(), 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(refused(&idp, &redeeming(&late)).await, "invalid_grant");
}

#[tokio::test]
async fn a_public_client_needs_its_id_only() {
    let World { idp, .. } = world();
    let mut query = with(asking(), "client_id", "cli");
    query = with(query, "redirect_uri", "http://127.0.0.1:9000/cb");
    let code = code(&idp, &with(query, "scope", "openid")).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "cli"),
        ("code", &code),
        ("redirect_uri", "http://127.0.0.1:9000/cb"),
        ("code_verifier", VERIFIER),
    ];
    let tokens = json_of(token(&idp, &form).await).await;
    assert_eq!(claims_of(tokens["id_token"].as_str().unwrap()).1["aud"], "cli");
}

#[tokio::test]
async fn another_user_can_sign_in_next() {
    let World { idp, .. } = world();
    idp.set_user(User::new("bob"));
    let code = code(&idp, &asking()).await;
    let tokens = json_of(token(&idp, &redeeming(&code)).await).await;
    let (_, claims) = claims_of(tokens["id_token"].as_str().unwrap());
    assert_eq!((&claims["sub"], claims.get("groups")), (&json!("bob"), None));
}
