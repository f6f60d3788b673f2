//! The key server's routes, as the gateway serves them.

use serde_json::{Value, json};

use crate::world::{ADMIN, Plan, World, ask};

const PUBLIC_URL: &str = "https://llm.example.com/portunus";

async fn get(world: &World, path: &str) -> (u16, Value) {
    let answer = world.client.get(format!("{}{path}", world.url)).bearer_auth(ADMIN).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

async fn form(world: &World, path: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
    let request = world.client.post(format!("{}{path}", world.url)).bearer_auth(ADMIN).form(parameters);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_key_is_explained_listed_and_given_back_through_the_gateway() {
    let world = World::new().await;
    let (key, jti) = world.key("alice").await;
    let (status, explained) = form(&world, "/oauth/introspect", &[("token", &key)]).await;
    assert_eq!((status, &explained["active"], &explained["jti"]), (200, &json!(true), &json!(jti)));
    let (status, listed) = get(&world, "/admin/tokens?tenant=acme").await;
    assert_eq!((status, &listed["tokens"][0]["jti"]), (200, &json!(jti)));
    assert_eq!(world.chat(&key, &ask("gpt-4o")).send().await.unwrap().status(), 200);
    assert_eq!(form(&world, "/oauth/revoke", &[("token", &key)]).await.0, 200);
    assert_eq!(world.chat(&key, &ask("gpt-4o")).send().await.unwrap().status(), 401);
    let used = world.events("token.used", 1).await.remove(0);
    assert_eq!(used["http"]["route"], "/oauth/introspect");
    assert_eq!(world.events("admin.listed", 1).await.len(), 1);
}

#[tokio::test]
async fn many_keys_end_on_the_very_next_call() {
    let world = World::new().await;
    let (alice, bob) = (world.key("alice").await.0, world.key("bob").await.0);
    let body = json!({ "tenant": "acme", "iss": "idp", "sub": "alice", "reason": "left" });
    let revoke = || world.client.post(format!("{}/admin/revocations", world.url)).json(&body);
    assert_eq!(revoke().send().await.unwrap().status(), 401);
    let answer: Value = revoke().bearer_auth(ADMIN).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({ "revoked": 1, "matched_identities": 1 }));
    assert_eq!(world.chat(&alice, &ask("gpt-4o")).send().await.unwrap().status(), 401);
    assert_eq!(world.chat(&bob, &ask("gpt-4o")).send().await.unwrap().status(), 200);
    let event = world.events("token.revoked", 1).await.remove(0);
    assert_eq!(event["target"]["stated_reason"], "left");
}

#[tokio::test]
async fn metadata_names_the_configured_address_or_is_not_there() {
    let world =
        World::planned(Plan { server: format!("public_url = \"{PUBLIC_URL}\""), ..Plan::default() }).await;
    let (status, server) = get(&world, "/.well-known/oauth-authorization-server/portunus").await;
    assert_eq!((status, &server["issuer"]), (200, &json!(PUBLIC_URL)));
    let (status, resource) = get(&world, "/.well-known/oauth-protected-resource").await;
    assert_eq!((status, &resource["resource"]), (200, &json!(PUBLIC_URL)));
    let (status, description) = get(&world, "/auth/openapi.json").await;
    assert_eq!((status, &description["servers"][0]["url"]), (200, &json!(PUBLIC_URL)));
    let refused = world.chat("ptk_wrong", &ask("gpt-4o")).send().await.unwrap();
    assert_eq!(
        refused.headers()["www-authenticate"],
        "Bearer resource_metadata=\"https://llm.example.com/.well-known/oauth-protected-resource/portunus\", \
         error=\"invalid_token\""
    );
    let plain = World::new().await;
    let refused = plain.chat("ptk_wrong", &ask("gpt-4o")).send().await.unwrap();
    assert_eq!(refused.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");
    assert_eq!(get(&plain, "/.well-known/oauth-authorization-server").await.0, 404);
    assert_eq!(get(&plain, "/.well-known/oauth-protected-resource").await.0, 404);
}

#[tokio::test]
async fn a_wrong_method_leaves_one_event() {
    let world = World::new().await;
    let answer = world.client.put(format!("{}/oauth/introspect", world.url)).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
    get(&world, "/admin/tokens").await;
    world.events("admin.listed", 1).await;
    let events = world.events("control.request", 1).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["http"]["status"], 405);
}

/// Whoever floods the gateway with tokens uses up their own address's share, not that of the proxy's others; and
/// by a proxy that is not trusted nobody gets another one.
#[tokio::test]
async fn tokens_are_limited_by_the_address_that_a_trusted_proxy_names() {
    for (server, is_trusted) in [("trusted_proxies = [\"127.0.0.0/8\"]", true), ("", false)] {
        let world = World::planned(Plan { server: server.to_owned(), ..Plan::default() }).await;
        let from = async |client: &str| {
            let call = world.chat("a.b.c", &ask("gpt-4o")).header("x-forwarded-for", client);
            call.send().await.unwrap()
        };
        let (key, _) = world.key("alice").await;
        // Some places grow back meanwhile.
        let mut sent = 0;
        let limited = loop {
            let answer = from("203.0.113.9, 198.51.100.1").await;
            sent += 1;
            match answer.status().as_u16() {
                401 => assert!(sent < 10_000, "nothing is limited"),
                _ => break answer,
            }
        };
        assert!(sent > 1000, "{sent}");
        assert_eq!(limited.status(), 429);
        assert!(limited.headers().contains_key("retry-after"));
        if is_trusted {
            assert_eq!(from("198.51.100.2").await.status(), 401);
        }
        let events = world.events("llm.request", sent).await;
        let event = &events[sent - 1];
        assert_eq!(event["reason_code"], "rate_limited");
        assert_eq!(event["peer"], if is_trusted { "198.51.100.1" } else { "127.0.0.1" });
        // Keys of our own are not counted.
        assert_eq!(world.chat(&key, &ask("gpt-4o")).send().await.unwrap().status(), 200);
    }
}
