//! Servers in tests that are not asynchronous.

use portunus_mock::{Fixture, MockServer, ServerBuilder};

use crate::raw;
use crate::support::chat;

fn served(server: &MockServer) {
    let url = server.url() + "/v1/chat/completions";
    let answer = raw::send("POST", &url, "", &chat("m", "hi").to_string());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Hello there"), "{answer}");
    server.requests().assert_count(1);
}

fn start() -> MockServer {
    let fixture = Fixture::new().respond_with_content("Hello there");
    ServerBuilder::new().fixture(fixture).build_blocking().unwrap()
}

#[test]
fn a_server_needs_no_runtime_of_the_test() {
    let server = start();
    let port = server.url();
    served(&server);
    server.shutdown_blocking();
    assert!(std::net::TcpStream::connect(port.strip_prefix("http://").unwrap()).is_err());
}

#[tokio::test]
async fn it_may_be_started_and_ended_inside_one_too() {
    let server = start();
    served(&server);
    server.shutdown_blocking();
    drop(start());
}

#[cfg(feature = "oauth")]
#[test]
fn an_identity_provider_needs_none_either() {
    let idp = portunus_mock::MockIdp::builder().build().unwrap();
    let answer = raw::send("GET", &format!("{}/jwks.json", idp.issuer()), "", "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    idp.requests().for_path("/jwks.json").assert_count(1);
    idp.shutdown_blocking();
}
