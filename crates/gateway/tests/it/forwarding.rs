//! What reaches a provider, and what comes back.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use portunus_mock::{EntraApp, Fixture, MockCloud, ServerBuilder};
use serde_json::{Value, json};

use crate::world::{Plan, World, ask, ask_streamed};

#[tokio::test]
async fn bytes_are_forwarded_as_they_came() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let body = "{ \"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9 \u{1f511}\"}],\t\"model\":\"gpt-4o\", \"unknown\": 1.0e2 }\n";
    let request =
        world.client.post(format!("{}/v1/chat/completions?beta=true&api-version=2024-10-21", world.url));
    let request = request.bearer_auth(&key).header("content-type", "application/json").body(body);
    let answer = request.header("x-stainless-lang", "python").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = &world.mock.requests()[0];
    assert_eq!(&seen.body()[..], body.as_bytes());
    assert_eq!(seen.path(), "/v1/chat/completions");
    assert_eq!(seen.query(), Some("beta=true&api-version=2024-10-21"));
    assert_eq!(seen.header("x-stainless-lang"), Some("python"));
}

#[tokio::test]
async fn a_renamed_model_is_the_only_change_to_a_body() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let request = world.client.post(format!("{}/v1/chat/completions", world.url)).bearer_auth(&key);
    let body = r#"{"a":"model\":\"renamed","model" : "ren\u0061med","messages":[]}"#;
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    let _ = answer.bytes().await.unwrap();
    let seen = &world.mock.requests()[0];
    let sent = std::str::from_utf8(seen.body()).unwrap();
    assert_eq!(sent, r#"{"a":"model\":\"renamed","model" : "gpt-4o \"quoted\"","messages":[]}"#);
    assert_eq!(seen.header("content-length"), Some(sent.len().to_string().as_str()));
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let mut body = ask("gpt-4o");
    body["messages"][0]["content"] = "x".repeat(3 << 20).into();
    assert_eq!(world.chat(&key, &body).send().await.unwrap().status(), 200);
    assert_eq!(world.mock.requests()[0].json().unwrap(), body);
}

#[tokio::test]
async fn a_stream_is_passed_on_frame_by_frame() {
    let text = "one two three four five six";
    let mock = ServerBuilder::new()
        .fixture(Fixture::new().respond_with_content(text).chunks(6).latency(Duration::from_millis(60)));
    let world = World::planned(Plan { mock: Some(mock), ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    let mut answer = world.chat(&key, &ask_streamed("gpt-4o")).send().await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    assert!(!answer.headers().contains_key("content-length"));
    let mut pieces = Vec::new();
    while let Some(piece) = answer.chunk().await.unwrap() {
        pieces.push(piece);
    }
    // Frames that were gathered would arrive in one piece, or in few.
    assert!(pieces.len() >= 6, "{} pieces", pieces.len());
    assert!(String::from_utf8(pieces.concat()).unwrap().ends_with("data: [DONE]\n\n"));
    assert_eq!(world.events("llm.request", 1).await[0]["outcome"], "allowed");
}

#[tokio::test]
async fn a_stream_that_breaks_off_never_looks_complete() {
    let mock = ServerBuilder::new()
        .fixture(Fixture::new().respond_with_content("a b c d e f").chunks(6).reset_after_frames(3));
    let world = World::planned(Plan { mock: Some(mock), ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    let answer = world.chat(&key, &ask_streamed("gpt-4o")).send().await.unwrap();
    assert!(answer.bytes().await.is_err());
    let event = &world.events("llm.request", 1).await[0];
    assert_eq!((&event["outcome"], &event["reason_code"]), (&json!("failed"), &json!("upstream_broken")));
}

#[tokio::test]
async fn an_upstreams_errors_are_passed_on_unaltered() {
    let mock = ServerBuilder::new().with_bearer_token_uses("sk-once", 1);
    let world = World::planned(Plan { mock: Some(mock), ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    let direct = world.client.post(format!("{}/v1/chat/completions", world.mock.url()));
    let direct = direct.bearer_auth("sk-wrong").json(&ask("gpt-4o")).send().await.unwrap();
    let (status, body) = (direct.status(), direct.bytes().await.unwrap());
    assert_eq!(status, 401);

    world.mock.revoke_token(crate::world::PROVIDER_SECRET);
    let answer = world.chat(&key, &ask("gpt-4o")).send().await.unwrap();
    assert_eq!(answer.status(), status);
    assert_eq!(answer.bytes().await.unwrap(), body);
    assert_eq!(world.events("llm.request", 1).await[0]["http"]["status"], 401);
}

/// A provider of few words: answers each connection's first request with the given bytes.
fn raw_provider(answer: Option<&'static str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 65_536]);
            match answer {
                Some(answer) => drop(stream.write_all(answer.as_bytes())),
                None => open.push(stream),
            }
        }
    });
    port
}

fn raw_world(port: u16, server: &str) -> Plan {
    let more = format!(
        "[[providers]]\nname = \"raw\"\nprovider_type = \"openai\"\nbase_url = \"http://127.0.0.1:{port}/v1\"\napi_key = \"${{env:PROVIDER_SECRET}}\"\n[[models]]\nname = \"gone\"\nprovider_model = \"raw/gone\"\n"
    );
    Plan { server: server.to_owned(), more, ..Plan::default() }
}

async fn refused_by(plan: Plan) -> (u16, Value, Value) {
    let world = World::planned(plan).await;
    let (key, _) = world.key("alice").await;
    let answer = world.chat(&key, &ask("gone")).send().await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.json().await.unwrap();
    let event = world.events("llm.request", 1).await.remove(0);
    (status, body, event)
}

/// A provider that refuses the first of each two requests, and tells with which credential each came.
fn refusing_provider() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut request = vec![0; 65_536];
            let length = stream.read(&mut request).unwrap();
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let credential = text.lines().find(|line| line.starts_with("authorization: "));
            tell.send(credential.unwrap_or_default().to_owned()).unwrap();
            let status = if n % 2 == 0 { "401 Unauthorized" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (port, told)
}

#[tokio::test]
async fn a_401_costs_a_renewable_credential_once_and_the_call_is_sent_again() {
    let app = EntraApp::new("tenant-1", "client-1", crate::world::PROVIDER_SECRET);
    let cloud = MockCloud::builder().entra(app).build().unwrap();
    let (port, told) = refusing_provider();
    let more = format!(
        "[[providers]]\nname = \"entra\"\nprovider_type = \"azure\"\nbase_url = \"http://127.0.0.1:{port}/openai/v1\"\ncredential = {{ source = \"azure\", tenant_id = \"tenant-1\", client_id = \"client-1\", client_secret = \"${{env:PROVIDER_SECRET}}\", authority = \"{}\" }}\n[[models]]\nname = \"gone\"\nprovider_model = \"entra/gpt-4o\"\n",
        cloud.url()
    );
    let world = World::planned(Plan { more, ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    let answer = world.chat(&key, &ask("gone")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (first, second) = (told.recv().unwrap(), told.recv().unwrap());
    assert!(first.starts_with("authorization: Bearer ") && second.starts_with("authorization: Bearer "));
    assert_ne!(first, second, "the refused token was sent again");
    assert_eq!(cloud.count("/tenant-1/oauth2/v2.0/token"), 2);
    assert_eq!(world.events("llm.request", 1).await.len(), 1);
}

#[tokio::test]
async fn a_401_of_a_fixed_credential_is_the_answer_and_nothing_is_sent_again() {
    let (port, told) = refusing_provider();
    let world = World::planned(raw_world(port, "")).await;
    let (key, _) = world.key("alice").await;
    assert_eq!(world.chat(&key, &ask("gone")).send().await.unwrap().status(), 401);
    assert_eq!(told.try_iter().count(), 1);
}

#[tokio::test]
async fn a_provider_that_fails_is_named_as_such() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (status, body, event) = refused_by(raw_world(unused, "")).await;
    assert_eq!((status, &event["reason_code"]), (502, &json!("upstream_unreachable")));
    assert_eq!(body["error"]["type"], "server_error");

    let (status, _, event) = refused_by(raw_world(raw_provider(Some("nonsense\r\n\r\n")), "")).await;
    assert_eq!((status, &event["reason_code"]), (502, &json!("upstream_unreachable")));

    let (status, _, event) = refused_by(raw_world(raw_provider(None), "upstream_timeout = \"100ms\"")).await;
    assert_eq!((status, &event["reason_code"]), (504, &json!("upstream_timeout")));
}

#[tokio::test]
async fn only_what_clients_read_of_an_answers_head_is_passed_on() {
    let answer = "HTTP/1.1 200 OK\r\nset-cookie: __Host-s=1\r\nopenai-organization: org-1\r\nclear-site-data: \"*\"\r\nx-ratelimit-remaining-tokens: 7\r\nretry-after: 3\r\nconnection: close, x-hop\r\ncontent-length: 2\r\n\r\nok";
    let world = World::planned(raw_world(raw_provider(Some(answer)), "")).await;
    let (key, _) = world.key("alice").await;
    let answer = world.chat(&key, &ask("gone")).send().await.unwrap();
    assert_eq!(answer.headers()["x-ratelimit-remaining-tokens"], "7");
    assert_eq!(answer.headers()["retry-after"], "3");
    for gone in ["set-cookie", "openai-organization", "clear-site-data", "x-hop"] {
        assert!(!answer.headers().contains_key(gone), "{gone}");
    }
    assert_eq!(answer.text().await.unwrap(), "ok");
}

#[tokio::test]
async fn an_answer_that_ends_in_two_places_or_elsewhere_is_none() {
    for answer in [
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 300\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let (status, body, event) = refused_by(raw_world(raw_provider(Some(answer)), "")).await;
        assert_eq!((status, &event["reason_code"]), (502, &json!("upstream_unreachable")), "{answer}");
        assert_eq!(body["error"]["type"], "server_error");
    }
}

#[tokio::test]
async fn bodies_together_have_a_bound_and_give_it_back() {
    let mock = ServerBuilder::new().fixture(Fixture::new().respond_with_content("ok"));
    let server = "max_bodies_bytes = 300000".to_owned();
    let world = World::planned(Plan { mock: Some(mock), server, ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    let mut large = ask("gpt-4o");
    large["messages"][0]["content"] = "x".repeat(400_000).into();
    assert_eq!(world.chat(&key, &large).send().await.unwrap().status(), 503);
    let mut fitting = ask("gpt-4o");
    fitting["messages"][0]["content"] = "x".repeat(200_000).into();
    for _ in 0..5 {
        assert_eq!(world.chat(&key, &fitting).send().await.unwrap().status(), 200);
    }
    assert_eq!(world.events("llm.request", 6).await[0]["reason_code"], "overloaded");
}

#[tokio::test]
async fn a_body_that_is_called_something_else_than_json_is_refused() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let send = |content_type: &'static str| {
        let request = world.client.post(format!("{}/v1/chat/completions", world.url)).bearer_auth(&key);
        request.header("content-type", content_type).body(ask("gpt-4o").to_string()).send()
    };
    assert_eq!(send("application/json; charset=utf-8").await.unwrap().status(), 200);
    for wrong in ["application/json; charset=utf-7", "text/plain", "application/x-www-form-urlencoded"] {
        assert_eq!(send(wrong).await.unwrap().status(), 415, "{wrong}");
    }
    assert_eq!(world.mock.requests().len(), 1);
    assert_eq!(world.mock.requests()[0].header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn an_answer_that_pauses_for_too_long_is_broken_off() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 65_536]);
            stream.write_all(answer.as_bytes()).unwrap();
            open.push(stream);
        }
    });
    let world = World::planned(raw_world(port, "idle_timeout = \"50ms\"")).await;
    let (key, _) = world.key("alice").await;
    let answer = world.chat(&key, &ask_streamed("gone")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
    assert_eq!(world.events("llm.request", 1).await[0]["reason_code"], "upstream_timeout");
}
