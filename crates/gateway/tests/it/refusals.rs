//! What is not let through, and how that is said.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use portunus_mock::{Fixture, ServerBuilder};
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::world::{Plan, World, ask, ask_streamed};

#[tokio::test]
async fn models_and_tools_outside_the_grant_are_forbidden() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let answer = world.chat(&key, &ask("secret-model")).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "permission_denied");
    let answer = world.messages(&key, &ask("secret-model")).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["type"], "permission_error");

    let mut body = ask("claude-x");
    body["tools"] = json!([{ "name": "get_weather", "input_schema": { "type": "object" } }]);
    assert_eq!(world.messages(&key, &body).send().await.unwrap().status(), 200);
    body["tools"] =
        json!([{ "name": "get_weather", "input_schema": {} }, { "name": "rm", "input_schema": {} }]);
    assert_eq!(world.messages(&key, &body).send().await.unwrap().status(), 403);

    let reasons: Vec<_> =
        world.events("llm.request", 4).await.iter().map(|e| e["reason_code"].clone()).collect();
    assert_eq!(reasons, [json!("model_denied"), json!("model_denied"), Value::Null, json!("tool_denied")]);
}

#[tokio::test]
async fn a_provider_outside_the_grant_is_forbidden_and_never_called() {
    let world = World::new().await;
    // Its digest is in the configuration.
    let key = "canary-static-key-eu";
    assert_eq!(world.messages(key, &ask("claude-x")).send().await.unwrap().status(), 200);
    assert_eq!(world.mock.requests().len(), 1);
    let answer = world.chat(key, &ask("gpt-4o")).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "permission_denied");
    assert_eq!(world.chat(key, &ask("nowhere")).send().await.unwrap().status(), 404);
    assert_eq!(world.mock.requests().len(), 1);
    let reasons: Vec<_> =
        world.events("llm.request", 3).await.iter().map(|e| e["reason_code"].clone()).collect();
    assert_eq!(reasons, [Value::Null, json!("upstream_denied"), json!("unknown_model")]);
}

#[tokio::test]
async fn a_model_that_is_granted_but_not_there_is_not_found() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    for answer in [
        world.chat(&key, &ask("gone")).send().await.unwrap(),
        world.chat(&key, &ask("claude-x")).send().await.unwrap(),
        world.messages(&key, &ask("gpt-4o")).send().await.unwrap(),
    ] {
        assert_eq!(answer.status(), 404);
    }
    assert!(world.mock.requests().is_empty());
}

#[tokio::test]
async fn broken_bodies_get_a_clear_error_in_the_dialect() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    for (body, says) in [
        ("", "ends too early"),
        ("{\"model\":\"gpt-4o\"", "ends too early"),
        ("{\"model\":\"gpt-4o\",\"model\":\"claude-x\"}", "twice"),
        ("{\"messages\":[]}", "no `model`"),
        ("[1]", "JSON object"),
    ] {
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let request = world.client.post(format!("{}{path}", world.url)).bearer_auth(&key).body(body);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 400, "{body}");
            let error = answer.json::<Value>().await.unwrap();
            assert!(error["error"]["message"].as_str().unwrap().contains(says), "{error}");
            assert_eq!(error["type"] == "error", path == "/v1/messages");
        }
    }
    assert_eq!(world.chat(&key, &ask("gpt-4o")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn unknown_routes_get_a_clear_error_in_the_dialect() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let elsewhere = ["/v1/responses", "/v1/models", "/v1/messages/count_tokens", "/model/m/converse"];
    let nowhere = ["/", "/chat/completions", "/v1/chat/completions/", "/v1/unknown", "/v1/messages/x"];
    for path in elsewhere.into_iter().chain(nowhere) {
        let answer =
            world.client.post(format!("{}{path}", world.url)).bearer_auth(&key).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        let body = answer.json::<Value>().await.unwrap();
        assert_eq!(body["type"] == "error", path.starts_with("/v1/messages"), "{body}");
    }
    let answer = world.client.get(format!("{}/v1/messages", world.url)).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
    assert_eq!(world.client.get(format!("{}/auth/nothing", world.url)).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn oversized_heads_and_bodies_are_refused_and_strangers_bodies_are_not_read() {
    let plan = Plan { server: "max_body_bytes = 4096".to_owned(), ..Plan::default() };
    let world = World::planned(plan).await;
    let (key, _) = world.key("alice").await;
    let request = world.chat(&key, &ask("gpt-4o")).header("x-large", "x".repeat(60_000));
    assert_eq!(request.send().await.unwrap().status(), 431);
    let mut many = world.chat(&key, &ask("gpt-4o"));
    for n in 0..95 {
        many = many.header(format!("x-{n}"), "1");
    }
    assert_eq!(many.send().await.unwrap().status(), 431);

    let mut large = ask("gpt-4o");
    large["messages"][0]["content"] = "x".repeat(5_000).into();
    let answer = world.chat(&key, &large).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    assert!(answer.text().await.unwrap().contains("4096 bytes"));

    // A stranger announces a large body and sends nothing of it: the answer does not wait for it.
    let mut stream = TcpStream::connect(world.gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
        .write_all(
            b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-api-key: nobody\r\ncontent-length: 4000\r\n\r\n",
        )
        .unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_timed_out() {
    let plan = Plan { server: "body_timeout = \"100ms\"".to_owned(), ..Plan::default() };
    let world = World::planned(plan).await;
    let (key, _) = world.key("alice").await;
    let mut stream = TcpStream::connect(world.gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-length: 4000\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn a_tiers_rate_is_kept_for_each_caller_and_says_when_to_come_back() {
    let more = "[[policies]]\nname = \"slow\"\nmatch = { issuer = \"idp\", groups = [\"slow\"] }\ngrant = { models = \"all\", tier = \"slow\", ttl = \"1h\" }\n";
    let world = World::planned(Plan { more: more.to_owned(), ..Plan::default() }).await;
    for subject in ["carol", "dave"] {
        let token = world.idp.mint(subject).audience("portunus").claim("groups", ["slow"]).id_token();
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let answer = world.chat(&token, &ask("gpt-4o")).send().await.unwrap();
            statuses.push(answer.status().as_u16());
            if answer.status() == 429 {
                let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=20).contains(&wait), "{wait}");
            }
        }
        assert_eq!(statuses, [200, 200, 200, 429], "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_cannot_take_every_place_in_flight() {
    let slow = Fixture::new().respond_with_content("a b c d").chunks(4).latency(Duration::from_secs(20));
    let more = "[[tiers]]\nname = \"few\"\nrequests_per_minute = \"unlimited\"\nconcurrent_requests = 2\n[[policies]]\nname = \"few\"\nmatch = { issuer = \"idp\", groups = [\"few\"] }\ngrant = { models = \"all\", tier = \"few\", ttl = \"1h\" }\n";
    let mock = Some(ServerBuilder::new().fixture(slow));
    let world = World::planned(Plan { mock, more: more.to_owned(), ..Plan::default() }).await;
    let token =
        |subject: &str| world.idp.mint(subject).audience("portunus").claim("groups", ["few"]).id_token();
    let (carol, dave) = (token("carol"), token("dave"));
    // Streams: both begin, and are in flight until their caller goes.
    let first = world.chat(&carol, &ask_streamed("gpt-4o")).send().await.unwrap();
    let second = world.chat(&carol, &ask_streamed("gpt-4o")).send().await.unwrap();
    let third = world.chat(&carol, &ask("gpt-4o")).send().await.unwrap();
    assert_eq!(
        (third.status().as_u16(), &third.headers()["retry-after"]),
        (429, &HeaderValue::from_static("1"))
    );
    assert_eq!(world.chat(&dave, &ask("gpt-4o")).send().await.unwrap().status(), 200);
    drop((first, second));
    world.events("llm.request", 4).await;
    assert_eq!(world.chat(&carol, &ask("gpt-4o")).send().await.unwrap().status(), 200);
}
