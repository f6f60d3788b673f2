//! Many servers at once, and what they leave behind.

use std::net::TcpStream;
use std::sync::Arc;

use futures_util::future::join_all;
use portunus_mock::{Fixture, MockServer, ServerBuilder};

use crate::support::{chat, client, streamed};

const SERVERS: usize = 200;

fn port_of(server: &MockServer) -> String {
    server.url().rsplit(':').next().unwrap().to_owned()
}

/// Whether this process has a server's thread for that port.
#[cfg(target_os = "linux")]
fn has_thread(port: &str) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.into_iter().any(|name| name.trim() == format!("mock-{port}"))
}

#[tokio::test]
async fn two_hundred_at_once_leave_neither_port_nor_thread_nor_state() {
    // Each server's fixture holds it, and so does whatever is left of a server.
    let held = Arc::new(());
    for _ in 0..3 {
        let starting = (0..SERVERS).map(|n| {
            let held = Arc::clone(&held);
            let fixture = Fixture::new().matching(move |_| Arc::strong_count(&held) > 0);
            let fixture = fixture.respond_with_content(format!("server {n}")).chunks(1);
            ServerBuilder::new().fixture(fixture).build()
        });
        let servers: Vec<MockServer> = join_all(starting).await.into_iter().map(Result::unwrap).collect();
        #[cfg(target_os = "linux")]
        assert!(servers.iter().all(|server| has_thread(&port_of(server))));

        let client = client();
        join_all(servers.iter().enumerate().map(async |(n, server)| {
            for body in [chat("m", "hi"), streamed(chat("m", "hi"))] {
                let sent = client.post(server.url() + "/v1/chat/completions").json(&body).send();
                let said = sent.await.unwrap().text().await.unwrap();
                assert!(said.contains(&format!("\"server {n}\"")), "{said}");
            }
        }))
        .await;

        for (n, server) in servers.into_iter().enumerate() {
            let port = port_of(&server);
            // The client still holds its connections.
            if n % 2 == 0 {
                drop(server)
            } else {
                server.shutdown().await
            }
            assert!(TcpStream::connect(format!("127.0.0.1:{port}")).is_err(), "somebody listens at {port}");
            #[cfg(target_os = "linux")]
            assert!(!has_thread(&port), "the thread of {port} goes on");
        }
        assert_eq!(Arc::strong_count(&held), 1, "the state of a server is still held");
    }
}
