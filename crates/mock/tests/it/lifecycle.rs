//! How servers start and end.

use std::net::TcpStream;
use std::time::Duration;

use portunus_mock::{Fault, Fixture, MockCloud, ServerBuilder, StartError};

use crate::support::{chat, client, post_chat, streamed};

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_dropped_server_leaves_neither_port_nor_connection() {
    let server = ServerBuilder::new()
        .fixture(Fixture::new().latency(Duration::from_secs(3_600)))
        .build()
        .await
        .unwrap();
    let port = port_of(&server.url());
    let mut answer = post_chat(&server.url(), &streamed(chat("m", "hi"))).send().await.unwrap();
    answer.chunk().await.unwrap().unwrap();
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(answer.chunk().await.is_err());
    let again = ServerBuilder::new().port(port).build().await.unwrap();
    assert_eq!(port_of(&again.url()), port);
}

#[tokio::test]
async fn a_taken_port_is_an_error() {
    let server = ServerBuilder::new().build().await.unwrap();
    let port = port_of(&server.url());
    let second = ServerBuilder::new().port(port).build().await;
    assert!(matches!(second, Err(StartError::Listen { port: taken, .. }) if taken == port), "{second:?}");
}

#[tokio::test]
async fn a_shutdown_lets_an_answer_finish() {
    let server = ServerBuilder::new()
        .fixture(Fixture::new().respond_with_content("abcd").latency(Duration::from_millis(5)))
        .build()
        .await
        .unwrap();
    let url = server.url();
    let mut answer = post_chat(&url, &streamed(chat("m", "hi"))).send().await.unwrap();
    let mut stream = answer.chunk().await.unwrap().unwrap().to_vec();
    let (_, rest) = tokio::join!(server.shutdown(), async {
        let mut rest = Vec::new();
        while let Some(bytes) = answer.chunk().await.unwrap() {
            rest.extend(bytes);
        }
        rest
    });
    stream.extend(rest);
    assert!(stream.ends_with(b"data: [DONE]\n\n"));
    assert!(post_chat(&url, &chat("m", "hi")).send().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_freeze_the_server() {
    let fixture = Fixture::new().latency(Duration::from_millis(1));
    let server = ServerBuilder::new().fixture(fixture).build().await.unwrap();
    let url = server.url();
    // Spoken by hand: a client with timers of its own would see them all fire at once.
    let said = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        let body = streamed(chat("m", "hi")).to_string();
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length:";
        write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    });
    // The runtime of this test is blocked as well.
    let said = said.join().unwrap();
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("[DONE]"), "{said}");
}

#[tokio::test]
async fn a_drop_ends_a_request_that_hangs() {
    let cloud = MockCloud::builder().build().unwrap();
    cloud.fail_next(1, Fault::Hang);
    let url = cloud.url();
    let hanging = tokio::spawn(client().get(url).send());
    while cloud.count("/") == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(cloud.requests()[0].status(), None);
    drop(cloud);
    assert!(hanging.await.unwrap().is_err());
}
