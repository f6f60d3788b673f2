//! Starting, health, restarting and draining.

use std::time::Duration;

use portunus_gateway::Server;
use portunus_mock::{Fixture, ServerBuilder};

use crate::world::{ADMIN, Plan, Secrets, World, ask, ask_streamed, config};

#[tokio::test]
async fn health_is_told_by_subsystem() {
    let world = World::new().await;
    let get = |path: &str| world.client.get(format!("{}{path}", world.url)).send();
    assert_eq!(get("/healthz").await.unwrap().status(), 200);
    let ready = get("/readyz").await.unwrap();
    assert_eq!(ready.status(), 200);
    assert_eq!(ready.text().await.unwrap(), r#"{"store":"ok","audit":"ok"}"#);
}

#[tokio::test]
async fn streams_in_flight_end_while_new_callers_are_turned_away() {
    let slow =
        Fixture::new().respond_with_content("a b c d e f g h").chunks(8).latency(Duration::from_millis(50));
    let plan = Plan { mock: Some(ServerBuilder::new().fixture(slow)), ..Plan::default() };
    let world = World::planned(plan).await;
    let (key, _) = world.key("alice").await;
    let mut answer = world.chat(&key, &ask_streamed("gpt-4o")).send().await.unwrap();
    let mut stream = answer.chunk().await.unwrap().unwrap().to_vec();

    let address = world.gateway.address();
    let stopping = tokio::spawn(world.gateway.stop());
    while let Some(piece) = answer.chunk().await.unwrap() {
        stream.extend_from_slice(&piece);
    }
    assert!(String::from_utf8(stream).unwrap().ends_with("data: [DONE]\n\n"));
    stopping.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_drain_ends_in_time_whatever_callers_do() {
    let endless = Fixture::new()
        .respond_with_content("x ".repeat(5_000))
        .chunks(5_000)
        .latency(Duration::from_millis(20));
    let plan = Plan {
        mock: Some(ServerBuilder::new().fixture(endless)),
        server: "drain_timeout = \"100ms\"".to_owned(),
        ..Plan::default()
    };
    let world = World::planned(plan).await;
    let (key, _) = world.key("alice").await;
    let mut answer = world.chat(&key, &ask_streamed("gpt-4o")).send().await.unwrap();
    answer.chunk().await.unwrap();
    let file = world.audit_file();
    world.gateway.stop().await;
    assert!(answer.bytes().await.is_err(), "a stream that was cut off must not look complete");
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text.matches("\"abandoned\"").count(), 1);
}

#[tokio::test]
async fn keys_outlive_a_restart_and_revoked_ones_do_not_come_back() {
    let world = World::new().await;
    let (kept, _) = world.key("alice").await;
    let (revoked, jti) = world.key("bob").await;
    let revoke = world.client.delete(format!("{}/auth/token/{jti}", world.url)).bearer_auth(ADMIN);
    assert_eq!(revoke.send().await.unwrap().status(), 204);
    let file = world.audit_file();
    let folder = file.parent().unwrap();
    world.gateway.stop().await;

    let gateway = Server::start(&folder.join("portunus.toml"), &Secrets::usual()).await.unwrap();
    let call = |key: &str| {
        let url = format!("http://{}/v1/chat/completions", gateway.address());
        world.client.post(url).bearer_auth(key).json(&ask("gpt-4o")).send()
    };
    assert_eq!(call(&kept).await.unwrap().status(), 200);
    assert_eq!(call(&revoked).await.unwrap().status(), 401);
    gateway.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_located_problem() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let text = config(folder.path(), &world.mock.url(), world.idp.issuer(), "")
        .replace("127.0.0.1:0", &world.gateway.address().to_string());
    let path = folder.path().join("portunus.toml");
    std::fs::write(&path, text).unwrap();
    let error = Server::start(&path, &Secrets::usual()).await.unwrap_err().to_string();
    assert!(error.contains("portunus.toml:3:10: cannot listen on"), "{error}");
}
