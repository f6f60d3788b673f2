//! Keys that are bound to a private key (RFC 9449): a call needs a proof made for it.

use std::time::{Duration, SystemTime};

use portunus_auth_core::{Clock as _, SystemClock};
use portunus_mock::{Algorithm, DpopKey};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use crate::world::{ADMIN, Plan, STATIC_KEY, World, ask};

const PUBLIC_URL: &str = "https://llm.example.com/gateway";
const CHAT: &str = "/v1/chat/completions";

fn now() -> SystemTime {
    SystemClock.now()
}

fn url(path: &str) -> String {
    format!("{PUBLIC_URL}{path}")
}

async fn world() -> World {
    World::planned(Plan { server: format!("public_url = \"{PUBLIC_URL}\""), ..Plan::default() }).await
}

/// A key of alice's, bound to this private key.
async fn bound(world: &World, mine: &DpopKey) -> String {
    let subject = world.idp.mint("alice").audience("portunus").claim("groups", ["eng"]).id_token();
    let answer = exchange(world, &subject, "id_token")
        .header("DPoP", mine.proof("POST", &url("/oauth/token"), now()).sign())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["token_type"], "DPoP");
    body["access_token"].as_str().unwrap().to_owned()
}

fn exchange(world: &World, subject: &str, kind: &str) -> RequestBuilder {
    let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", subject),
        ("subject_token_type", &kind),
    ];
    world.client.post(format!("{}/oauth/token", world.url)).form(&form)
}

fn chat(world: &World) -> RequestBuilder {
    world.client.post(format!("{}{CHAT}", world.url)).json(&ask("gpt-4o"))
}

/// A chat in the scheme of the RFC, with this proof.
async fn chat_with(world: &World, key: &str, proof: &str) -> Response {
    chat(world).header("authorization", format!("DPoP {key}")).header("DPoP", proof).send().await.unwrap()
}

#[tokio::test]
async fn a_call_with_its_proof_is_let_in_once_and_the_proof_stays_here() {
    let world = world().await;
    let mine = DpopKey::bundled(Algorithm::Es256, 0);
    let key = bound(&world, &mine).await;
    let proof = mine.proof("POST", &url(CHAT), now()).for_token(&key).sign();
    let answer = chat_with(&world, &key, &proof).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let replayed = chat_with(&world, &key, &proof).await;
    assert_eq!(replayed.status(), 401);
    let challenge = replayed.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.contains("error=\"invalid_dpop_proof\""), "{challenge}");

    let [request] = world.mock.requests().to_vec().try_into().unwrap();
    let request: portunus_mock::Recorded = request;
    assert!(request.header("dpop").is_none());
    let sent = format!("{:?}", request.headers_with_secrets());
    assert!(!sent.contains(&proof) && !sent.contains(&key));
    let events = world.events("llm.request", 2).await;
    assert_eq!(events[0]["outcome"], "allowed");
    assert_eq!(events[1]["reason_code"], "replayed_proof");
    let another = mine.proof("POST", &url(CHAT), now()).for_token(&key).sign();
    assert_eq!(chat_with(&world, &key, &another).await.status(), 200);
}

/// Calls of the key's holder, or of a thief, of which none may get through, and why.
fn wrong_calls(world: &World, mine: &DpopKey, key: &str, right: &str) -> Vec<(RequestBuilder, &'static str)> {
    let theirs = DpopKey::bundled(Algorithm::EdDsa, 1);
    let proof = |signer: &DpopKey, method: &str, url: &str, token: &str| {
        signer.proof(method, url, now()).for_token(token).sign()
    };
    let old = now() - Duration::from_secs(61);
    let with = |proof: &str| chat(world).header("authorization", format!("DPoP {key}")).header("DPoP", proof);
    let local = format!("{}{CHAT}", world.url);
    vec![
        (chat(world).bearer_auth(key), "missing_proof"),
        (chat(world).header("x-api-key", key), "missing_proof"),
        (chat(world).bearer_auth(key).header("DPoP", right), "missing_proof"),
        (chat(world).header("x-api-key", key).header("DPoP", right), "missing_proof"),
        (chat(world).header("authorization", format!("DPoP {key}")), "missing_proof"),
        (with("rubbish"), "bad_proof"),
        (with(right).header("DPoP", right), "bad_proof"),
        (with(&proof(&theirs, "POST", &url(CHAT), key)), "proof_of_other_key"),
        (with(&proof(mine, "GET", &url(CHAT), key)), "proof_of_other_request"),
        (with(&proof(mine, "POST", &url("/v1/messages"), key)), "proof_of_other_request"),
        (with(&proof(mine, "POST", &url(CHAT), "other")), "proof_of_other_request"),
        (with(&proof(mine, "POST", &local, key)), "proof_of_other_request"),
        (with(&mine.proof("POST", &url(CHAT), old).for_token(key).sign()), "stale_proof"),
    ]
}

#[tokio::test]
async fn a_bound_key_without_a_proof_for_the_very_call_is_refused() {
    let world = world().await;
    let mine = DpopKey::bundled(Algorithm::EdDsa, 0);
    let key = bound(&world, &mine).await;
    let right = mine.proof("POST", &url(CHAT), now()).for_token(&key).sign();
    let (mut reasons, mut bodies) = (Vec::new(), Vec::new());
    for (call, reason) in wrong_calls(&world, &mine, &key, &right) {
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), 401, "{reason}");
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        let error = if reason == "missing_proof" { "" } else { "error=\"invalid_dpop_proof\"" };
        assert!(challenge.starts_with("DPoP resource_metadata=") && challenge.contains(error), "{challenge}");
        assert!(challenge.ends_with(", algs=\"RS256 PS256 ES256 ES384 EdDSA\""), "{challenge}");
        bodies.push(answer.text().await.unwrap());
        reasons.push(reason);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "refusals differ: {bodies:?}");
    assert!(world.mock.requests().is_empty());
    let events = world.events("llm.request", reasons.len()).await;
    let found: Vec<_> = events.iter().map(|event| event["reason_code"].as_str().unwrap()).collect();
    assert_eq!(found, reasons);
    // None of them used the right proof up.
    assert_eq!(chat_with(&world, &key, &right).await.status(), 200);
}

#[tokio::test]
async fn a_token_that_is_not_bound_is_not_taken_for_one_that_is() {
    let world = world().await;
    let mine = DpopKey::bundled(Algorithm::Es256, 0);
    let (key, _) = world.key("alice").await;
    for token in [key.as_str(), STATIC_KEY] {
        let proof = mine.proof("POST", &url(CHAT), now()).for_token(token).sign();
        let answer = chat_with(&world, token, &proof).await;
        assert_eq!(answer.status(), 401);
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer "));
        assert_eq!(chat(&world).bearer_auth(token).header("DPoP", proof).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_narrower_key_works_until_the_one_that_it_descends_from_is_revoked() {
    let world = world().await;
    let (parent, jti) = world.key("alice").await;
    let answer = exchange(&world, &parent, "access_token").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let child = answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(world.chat(&child, &ask("gpt-4o")).send().await.unwrap().status(), 200);
    let revoke = world.client.delete(format!("{}/admin/tokens/{jti}", world.url)).bearer_auth(ADMIN);
    assert_eq!(revoke.send().await.unwrap().status(), 204);
    for key in [&parent, &child] {
        assert_eq!(world.chat(key, &ask("gpt-4o")).send().await.unwrap().status(), 401);
    }
    // In the scheme of bound keys it is told so in that scheme.
    let dead = chat(&world).header("authorization", format!("DPoP {child}")).send().await.unwrap();
    let challenge = dead.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("DPoP ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
    let events = world.events("llm.request", 3).await;
    assert_eq!(events[2]["reason_code"], "revoked_credential");
}
