//! Signing in to Anthropic, as its clients do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_mock::{AnthropicLogin, MockCloud};
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{client, header, json_of};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const LOOPBACK: &str = "http://localhost:54545/callback";
const PASTE: &str = "https://platform.claude.com/oauth/code/callback";
const SCOPE: &str = "org:create_api_key user:profile user:inference";

fn cloud() -> (MockCloud, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    let login = AnthropicLogin::new("my-client", SCOPE.split(' '));
    (MockCloud::builder().clock(clock.clone()).anthropic_login(login).build().unwrap(), clock)
}

fn asking(redirect_uri: &'static str, scope: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        ("code", "true"),
        ("client_id", "my-client"),
        ("response_type", "code"),
        ("redirect_uri", redirect_uri),
        ("scope", scope),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("state", "state-1"),
    ]
}

async fn authorize(cloud: &MockCloud, query: &[(&str, &str)]) -> Response {
    client().get(format!("{}/oauth/authorize", cloud.url())).query(query).send().await.unwrap()
}

async fn code(cloud: &MockCloud, scope: &'static str) -> String {
    let answer = authorize(cloud, &asking(LOOPBACK, scope)).await;
    let (to, query) = header(&answer, "location").unwrap().split_once('?').unwrap();
    assert_eq!(to, LOOPBACK);
    let query: HashMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    assert_eq!(query["state"], "state-1");
    query["code"].to_owned()
}

async fn token(cloud: &MockCloud, body: &Value) -> Response {
    client().post(format!("{}/v1/oauth/token", cloud.url())).json(body).send().await.unwrap()
}

fn redeeming(code: &str, redirect_uri: &str) -> Value {
    json!({"grant_type": "authorization_code", "code": code, "state": "state-1", "client_id": "my-client",
        "redirect_uri": redirect_uri, "code_verifier": VERIFIER})
}

async fn sign_in(cloud: &MockCloud, scope: &'static str) -> Value {
    let code = code(cloud, scope).await;
    json_of(token(cloud, &redeeming(&code, LOOPBACK)).await).await
}

fn refreshing(tokens: &Value) -> Value {
    json!({"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": "my-client"})
}

async fn post(cloud: &MockCloud, tokens: &Value, body: &'static str) -> Response {
    let url = format!("{}/api/oauth/claude_cli/create_api_key", cloud.url());
    client().post(url).bearer_auth(tokens["access_token"].as_str().unwrap()).body(body).send().await.unwrap()
}

#[tokio::test]
async fn a_code_comes_to_a_loopback_address_or_is_pasted() {
    let (cloud, _) = cloud();
    let tokens = sign_in(&cloud, SCOPE).await;
    assert!(tokens["access_token"].as_str().unwrap().starts_with("sk-ant-oat01-"));
    assert!(tokens["refresh_token"].as_str().unwrap().starts_with("sk-ant-ort01-"));
    assert_eq!((&tokens["scope"], &tokens["token_type"]), (&json!(SCOPE), &json!("Bearer")));
    assert!(tokens["account"]["uuid"].is_string() && tokens["organization"]["uuid"].is_string());

    let answer = authorize(&cloud, &asking(PASTE, SCOPE)).await;
    let page = format!("{}{}", cloud.url(), header(&answer, "location").unwrap());
    let shown = client().get(page).send().await.unwrap().text().await.unwrap();
    let (code, state) = shown.split_once('#').unwrap();
    assert_eq!(state, "state-1");
    assert_eq!(token(&cloud, &redeeming(code, PASTE)).await.status(), 200);
}

#[tokio::test]
async fn a_request_that_is_wrong_gets_no_code() {
    let (cloud, clock) = cloud();
    for (name, value) in [
        ("client_id", "other"),
        ("response_type", "token"),
        ("redirect_uri", "https://evil.example/callback"),
        ("redirect_uri", "http://localhost:evil/callback"),
        ("scope", "admin"),
        ("scope", ""),
        ("code_challenge", "short"),
        ("code_challenge_method", "plain"),
        ("state", ""),
    ] {
        let query: Vec<_> = asking(LOOPBACK, SCOPE)
            .into_iter()
            .map(|(n, v)| (n, if n == name { value } else { v }))
            .collect();
        assert_eq!(authorize(&cloud, &query).await.status(), 400, "{name}={value}");
    }
    let code = code(&cloud, SCOPE).await;
    for (name, value) in [
        ("code", "other"),
        ("state", "other"),
        ("client_id", "other"),
        ("redirect_uri", PASTE),
        ("code_verifier", CHALLENGE),
    ] {
        let mut body = redeeming(&code, LOOPBACK);
        body[name] = value.into();
        let answer = token(&cloud, &body).await;
        assert_eq!(answer.status(), 400, "{name}");
        assert_eq!(json_of(answer).await["error"], "invalid_grant");
    }
    assert_eq!(token(&cloud, &redeeming(&code, LOOPBACK)).await.status(), 200);
    assert_eq!(token(&cloud, &redeeming(&code, LOOPBACK)).await.status(), 400, "a code works once");
    let late = self::code(&cloud, SCOPE).await;
    clock.advance(Duration::from_secs(600));
    assert_eq!(token(&cloud, &redeeming(&late, LOOPBACK)).await.status(), 400);
}

#[tokio::test]
async fn a_refresh_token_works_once_and_reuse_ends_the_login() {
    let (cloud, _) = cloud();
    let (first, other) = (sign_in(&cloud, SCOPE).await, sign_in(&cloud, SCOPE).await);
    let second = json_of(token(&cloud, &refreshing(&first)).await).await;
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    let mut wider = refreshing(&second);
    wider["scope"] = "user:admin".into();
    assert_eq!(json_of(token(&cloud, &wider).await).await["error"], "invalid_scope");
    // The federation's beta header misroutes a refresh.
    let url = format!("{}/v1/oauth/token", cloud.url());
    let astray = client().post(url).header("anthropic-beta", "oauth-2025-04-20,oidc-federation-2026-04-01");
    assert_eq!(astray.json(&refreshing(&second)).send().await.unwrap().status(), 400);

    let reused = token(&cloud, &refreshing(&first)).await;
    assert_eq!(json_of(reused).await["error"], "invalid_grant");
    assert_eq!(token(&cloud, &refreshing(&second)).await.status(), 400);
    assert_eq!(post(&cloud, &second, "null").await.status(), 401);
    assert_eq!(token(&cloud, &refreshing(&other)).await.status(), 200);
}

#[tokio::test]
async fn a_key_is_minted_with_the_right_scope() {
    let (cloud, clock) = cloud();
    let tokens = sign_in(&cloud, SCOPE).await;
    let mut keys = Vec::new();
    for body in ["", "null"] {
        keys.push(json_of(post(&cloud, &tokens, body).await).await["raw_key"].clone());
    }
    assert_ne!(keys[0], keys[1], "each call mints another");
    assert_eq!(post(&cloud, &tokens, "{}").await.status(), 400);
    let narrow = sign_in(&cloud, "user:profile").await;
    assert_eq!(post(&cloud, &narrow, "").await.status(), 403);
    let profile = client().get(format!("{}/api/oauth/profile", cloud.url()));
    let profile = profile.bearer_auth(narrow["access_token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(json_of(profile).await["account"], narrow["account"]);
    clock.advance(Duration::from_secs(3_599));
    assert_eq!(post(&cloud, &tokens, "").await.status(), 401);
}
