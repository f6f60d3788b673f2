//! One event for every request, whatever happens.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use portunus_mock::{Fixture, ServerBuilder};
use serde_json::{Value, json};

use crate::world::{Plan, World, ask, ask_streamed};

#[tokio::test]
async fn every_request_leaves_exactly_one_event() {
    let world = World::new().await;
    let (key, jti) = world.key("alice").await;
    let answer = world.chat(&key, &ask("gpt-4o-mini")).send().await.unwrap();
    let id = answer.headers()["portunus-request-id"].to_str().unwrap().to_owned();
    let length = answer.bytes().await.unwrap().len();
    world.chat("nobody", &ask("gpt-4o")).send().await.unwrap();
    world.client.get(format!("{}/v1/nothing", world.url)).send().await.unwrap();

    let events = world.events("llm.request", 3).await;
    assert_eq!(events.len(), 3);
    let first = &events[0];
    assert_eq!(first["outcome"], "allowed");
    assert_eq!(
        first["actor"],
        json!({ "kind": "key", "jti": jti, "tenant": "acme", "iss": "idp", "sub": "alice" })
    );
    assert_eq!(first["target"], json!({ "model": "gpt-4o-mini", "provider": "mock-openai" }));
    assert_eq!(
        first["http"],
        json!({ "method": "POST", "route": "/v1/chat/completions", "status": 200, "request_id": id })
    );
    assert_eq!(first["bytes_out"], length);
    assert_eq!(first["peer"], "127.0.0.1");
    assert_eq!(events[1]["reason_code"], "unknown_credential");
    assert_eq!(events[2]["http"]["route"], "unknown");
    let issued = world.events("token.issued", 1).await;
    assert_eq!(issued[0]["target"]["jti"], json!(jti));
}

#[tokio::test]
async fn a_caller_who_hangs_up_stops_the_upstream_and_is_recorded() {
    let slow = Fixture::new()
        .respond_with_content("x ".repeat(2_000))
        .chunks(2_000)
        .latency(Duration::from_millis(20));
    let plan = Plan { mock: Some(ServerBuilder::new().fixture(slow)), ..Plan::default() };
    let world = World::planned(plan).await;
    let (key, _) = world.key("alice").await;
    let mut answer = world.chat(&key, &ask_streamed("gpt-4o")).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    drop(answer);
    let events = world.events("llm.request", 1).await;
    assert_eq!(events[0]["outcome"], "abandoned");
    assert!(events[0]["bytes_out"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_caller_who_hangs_up_before_the_answer_is_recorded() {
    let plan = Plan { mock: Some(ServerBuilder::new()), ..Plan::default() };
    let world = World::planned(plan).await;
    let (key, _) = world.key("alice").await;
    let mut stream = TcpStream::connect(world.gateway.address()).unwrap();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-length: 4000\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    drop(stream);
    assert_eq!(world.events("llm.request", 1).await[0]["outcome"], "abandoned");
}

#[tokio::test]
async fn the_chain_holds_over_everything_that_was_written() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    for _ in 0..20 {
        world.chat(&key, &ask("gpt-4o")).send().await.unwrap().bytes().await.unwrap();
    }
    let file = world.audit_file();
    world.gateway.stop().await;
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut prev = "0".repeat(64);
    for (n, line) in lines.iter().enumerate() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["seq"], n);
        assert_eq!(event["prev_hash"], prev.as_str());
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, line.as_bytes());
        prev = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    }
    let count = |kind: &str| lines.iter().filter(|line| line.contains(kind)).count();
    assert_eq!(count("\"llm.request\""), 20);
    assert_eq!(count("\"server.st"), 2);
}

#[tokio::test]
async fn what_cannot_be_audited_does_not_happen() {
    // A full disk, as every system with /dev/full can play it.
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().await;
    let config = crate::world::config(folder.path(), &world.mock.url(), world.idp.issuer(), "");
    let full = config.replace(&format!("{}/audit.jsonl", folder.path().display()), "/dev/full");
    let path = folder.path().join("portunus.toml");
    std::fs::write(&path, full).unwrap();
    let gateway = portunus_gateway::Server::start(&path, &crate::world::Secrets::usual()).await.unwrap();
    let ready = format!("http://{}/readyz", gateway.address());
    let mut status = 200;
    for _ in 0..250 {
        status = world.client.get(&ready).send().await.unwrap().status().as_u16();
        if status == 503 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status, 503, "readyz must say that the audit cannot be written");

    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    let body = ask("gpt-4o").to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        crate::world::STATIC_KEY,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(world.mock.requests().is_empty());
}
