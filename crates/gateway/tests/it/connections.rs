//! What happens on a caller's connection and on an upstream's, beyond one good request.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use crate::wire::{answers, talk};
use crate::world::{Plan, World, ask, ask_streamed};

const RAW: &str = "[[providers]]\nname = \"raw\"\nprovider_type = \"openai\"\nbase_url = \"http://127.0.0.1:@PORT@/v1\"\napi_key = \"${env:PROVIDER_SECRET}\"\n[[models]]\nname = \"gone\"\nprovider_model = \"raw/gone\"\n";

fn request(key: &str, target: &str, connection: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nConnection: {connection}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// RFC 9112 section 2.2: some clients send an empty line after a body.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_a_request_do_not_hold_back_its_answer() {
    let world = World::planned(Plan { server: "head_timeout = \"1s\"".to_owned(), ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    for connection in ["keep-alive", "close"] {
        for after in ["", "\r\n", "POST"] {
            let text = request(&key, "/v1/chat/completions", connection, &ask("gpt-4o").to_string()) + after;
            let answers = answers(&talk(world.gateway.address(), text.as_bytes()));
            assert_eq!(answers.first().map(|answer| answer.status), Some(200), "{connection} {after:?}");
        }
    }
    let answers = answers(&talk(world.gateway.address(), b"GET / HTTP/1.1\r\nbad header\r\n\r\nx"));
    assert_eq!(answers[0].status, 400);
}

/// An answer is held only as far as the caller takes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_does_not_read_slows_the_provider_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, sent) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 65_536]).unwrap() > 0);
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").unwrap();
        let piece = vec![b'x'; 1 << 16];
        let taken = (0..1024).take_while(|_| stream.write_all(&piece).is_ok()).count();
        told.send(taken).unwrap();
    });
    let more = RAW.replace("@PORT@", &port.to_string());
    let world = World::planned(Plan { more, ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    let mut stream = TcpStream::connect(world.gateway.address()).unwrap();
    let text = request(&key, "/v1/chat/completions", "close", &ask_streamed("gone").to_string());
    stream.write_all(text.as_bytes()).unwrap();
    let taken = sent.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(taken < 1024, "64 MiB were taken in for a caller who reads nothing");
}

/// A credential in the URL, spelled otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_url_is_noticed_in_every_spelling() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    for query in ["%6bey=a", "k%65y=a", "api%5Fkey=a", "x-api-key=a", "a=1;key=a"] {
        let text =
            request(&key, &format!("/v1/chat/completions?{query}"), "close", &ask("gpt-4o").to_string());
        let answers = answers(&talk(world.gateway.address(), text.as_bytes()));
        assert_eq!(answers[0].status, 400, "{query}");
    }
    assert!(world.mock.requests().is_empty());
}

/// Nobody asked for an upgrade, so a 101 is nonsense (RFC 9110 section 15.2.2).
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_switches_protocols_is_a_bad_gateway() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 65_536]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nproto").unwrap();
        let _ = stream.read(&mut [0; 1]);
    });
    let more = RAW.replace("@PORT@", &port.to_string());
    let world = World::planned(Plan { more, ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    let text = request(&key, "/v1/chat/completions", "close", &ask("gone").to_string());
    let answers = answers(&talk(world.gateway.address(), text.as_bytes()));
    assert_eq!(answers.first().map(|answer| answer.status), Some(502));
}

/// Closing a connection on which bytes are still unread resets it, and the refusal with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_arrives_although_the_body_was_not_read() {
    let world = World::new().await;
    for (path, key) in
        [("/v1/chat/completions", "sk-expired"), ("/v1/nothing", "sk-expired"), ("/auth/nothing", "x")]
    {
        let mut stream = TcpStream::connect(world.gateway.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let text = request(key, path, "keep-alive", &"x".repeat(900_000));
        let (begin, rest) = text.as_bytes().split_at(100_000);
        stream.write_all(begin).unwrap();
        // The answer is there, and not read yet; the caller goes on sending, as most clients do.
        assert!(stream.peek(&mut [0; 1]).unwrap() > 0);
        for piece in rest.chunks(50_000) {
            stream.write_all(piece).unwrap();
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let status = answers(&answer).first().map(|answer| answer.status);
        assert!(matches!(status, Some(401 | 404)), "{path}: {status:?}");
    }
    assert_eq!(world.events("llm.request", 2).await.len(), 2);
    assert_eq!(world.events("control.request", 1).await.len(), 1);
}

/// Further connections wait until others end; nobody is lost.
#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_most_wait_for_room() {
    let server = "max_connections = 2".to_owned();
    let world = World::planned(Plan { server, ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    let text = request(&key, "/v1/chat/completions", "close", &ask("gpt-4o").to_string());
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (text, address) = (text.clone(), world.gateway.address());
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                stream.write_all(text.as_bytes()).unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                answers(&answer)[0].status
            })
        })
        .collect();
    drop(world.client);
    for caller in callers {
        assert_eq!(caller.join().unwrap(), 200);
    }
}
