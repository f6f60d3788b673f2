//! Who is let in.

use portunus_mock::TokenFault;
use serde_json::{Value, json};

use crate::world::{ADMIN, PROVIDER_SECRET, STATIC_KEY, World, ask};

#[tokio::test]
async fn a_key_by_exchange_reaches_both_providers_with_the_providers_secret() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;

    let answer = world.chat(&key, &ask("gpt-4o")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("portunus-request-id"));
    assert_eq!(answer.json::<Value>().await.unwrap()["object"], "chat.completion");
    let answer = world.messages(&key, &ask("claude-sonnet-4-5")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["type"], "message");

    let seen = world.mock.requests();
    assert_eq!(seen.len(), 2);
    for request in &seen {
        assert_eq!(request.credential().unwrap().expose(), PROVIDER_SECRET);
        let sent = format!("{:?}", request.headers_with_secrets());
        assert!(!sent.contains(&key), "the caller's key reached the provider");
    }
    assert!(seen[1].header("x-api-key").is_some() && seen[1].header("authorization").is_none());
}

#[tokio::test]
async fn a_key_is_taken_wherever_a_client_puts_it() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    for header in ["x-api-key", "api-key", "x-goog-api-key"] {
        let request = world.client.post(format!("{}/v1/chat/completions", world.url));
        let answer = request.header(header, &key).json(&ask("gpt-4o")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{header}");
    }
    let twice = world.chat(&key, &ask("gpt-4o")).header("x-api-key", &key).send().await.unwrap();
    assert_eq!(twice.status(), 200, "the same key in two places is one credential");
}

#[tokio::test]
async fn static_keys_and_issuers_tokens_are_let_in() {
    let world = World::new().await;
    assert_eq!(world.chat(STATIC_KEY, &ask("gpt-4o")).send().await.unwrap().status(), 200);
    assert_eq!(world.chat(STATIC_KEY, &ask("gpt-4o-mini")).send().await.unwrap().status(), 403);

    let token = world.idp.mint("bob").audience("portunus").claim("groups", ["eng"]).id_token();
    for _ in 0..2 {
        assert_eq!(world.chat(&token, &ask("gpt-4o")).send().await.unwrap().status(), 200);
    }
    let events = world.events("llm.request", 4).await;
    let kinds: Vec<_> = events.iter().map(|event| event["actor"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["static-key", "static-key", "jwt", "jwt"]);
    assert_eq!(events[3]["actor"]["sub"], "bob");
    assert_eq!(events[3]["actor"]["tenant"], "acme");
}

#[tokio::test]
async fn whoever_is_not_proven_is_refused_alike() {
    let world = World::new().await;
    let (key, jti) = world.key("alice").await;
    let revoke = world.client.delete(format!("{}/auth/token/{jti}", world.url)).bearer_auth(ADMIN);
    assert_eq!(revoke.send().await.unwrap().status(), 204);

    let mint = || world.idp.mint("eve").audience("portunus").claim("groups", ["eng"]);
    let nobody = world.idp.mint("eve").audience("portunus").claim("groups", ["sales"]).id_token();
    let mut flipped = key.clone();
    let last = flipped.pop().unwrap();
    flipped.push(if last == 'a' { 'b' } else { 'a' });
    let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000".to_owned();
    let mut bodies = Vec::new();
    for token in [
        key,
        flipped,
        "ptk_".to_owned(),
        "sk-wrong".to_owned(),
        digest,
        PROVIDER_SECRET.to_owned(),
        ADMIN.to_owned(),
        nobody,
        mint().fault(TokenFault::BadSignature).id_token(),
        mint().fault(TokenFault::Expired).id_token(),
        mint().fault(TokenFault::WrongAudience).id_token(),
        mint().fault(TokenFault::WrongIssuer).id_token(),
        mint().fault(TokenFault::UnknownKid).id_token(),
        mint().fault(TokenFault::AlgNone).id_token(),
        "'; DROP TABLE keys; --".to_owned(),
        "x".repeat(20_000),
    ] {
        let answer = world.chat(&token, &ask("gpt-4o")).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{token:.60}");
        assert!(answer.headers().contains_key("www-authenticate"));
        let body = answer.text().await.unwrap();
        assert!(token.len() < 8 || !body.contains(&token), "the answer repeats the token");
        bodies.push(body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "refusals differ: {bodies:?}");
    assert!(world.mock.requests().is_empty());
}

#[tokio::test]
async fn a_revoked_key_is_refused_on_the_very_next_call() {
    let world = World::new().await;
    let (key, jti) = world.key("alice").await;
    assert_eq!(world.chat(&key, &ask("gpt-4o")).send().await.unwrap().status(), 200);

    let url = format!("{}/auth/token/{jti}", world.url);
    assert_eq!(world.client.delete(&url).bearer_auth("wrong").send().await.unwrap().status(), 401);
    assert_eq!(world.client.delete(&url).send().await.unwrap().status(), 401);
    assert_eq!(world.chat(&key, &ask("gpt-4o")).send().await.unwrap().status(), 200);

    assert_eq!(world.client.delete(&url).bearer_auth(ADMIN).send().await.unwrap().status(), 204);
    for _ in 0..4 {
        assert_eq!(world.chat(&key, &ask("gpt-4o")).send().await.unwrap().status(), 401);
    }
    assert_eq!(world.client.delete(&url).bearer_auth(ADMIN).send().await.unwrap().status(), 404);
    assert_eq!(world.events("admin.denied", 2).await.len(), 2);
}

#[tokio::test]
async fn the_administrator_is_told_what_the_policies_say_and_nobody_else_is() {
    let world = World::new().await;
    let url = format!("{}/admin/policies:explain", world.url);
    let body = json!({ "issuer": "idp", "claims": { "sub": "alice", "groups": ["eng"] } });
    assert_eq!(world.client.post(&url).json(&body).send().await.unwrap().status(), 401);
    let answer = world.client.post(&url).bearer_auth(ADMIN).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let told = answer.json::<serde_json::Value>().await.unwrap();
    assert_eq!((&told["ruling"], &told["policy"]), (&json!("granted"), &json!("engineers")));
    let event = &world.events("policy.explained", 1).await[0];
    assert_eq!(event["http"]["route"], "/admin/policies:explain");
    assert_eq!((&event["actor"]["kind"], &event["target"]["policy"]), (&json!("admin"), &json!("engineers")));
    assert_eq!(world.events("admin.denied", 1).await.len(), 1);
}

#[tokio::test]
async fn two_credentials_that_differ_are_refused() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let answer = world.chat(&key, &ask("gpt-4o")).header("x-api-key", STATIC_KEY).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let body = answer.text().await.unwrap();
    assert!(body.contains("more than one credential"), "{body}");

    let request = world.client.post(format!("{}/v1/messages?key={key}", world.url));
    let answer = request.header("x-api-key", &key).json(&ask("claude-x")).send().await.unwrap();
    assert_eq!(answer.status(), 400, "a credential in the URL");
    assert_eq!(answer.json::<Value>().await.unwrap()["type"], "error");
    assert!(world.mock.requests().is_empty());
}
