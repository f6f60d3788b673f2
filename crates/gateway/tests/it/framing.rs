//! Raw bytes on a connection: nothing is smuggled past the gateway.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::world::{PROVIDER_SECRET, Plan, World, ask};

/// What the gateway answers to raw bytes; the connection's end, or silence, ends it.
fn talk(address: SocketAddr, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    // A gateway that has had enough may close while we still write.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 16_384];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (answer, true),
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(error) => {
                let silent =
                    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                return (answer, !silent);
            }
        }
    }
}

mod vectors {
    use base64::Engine as _;
    use portunus_auth_core::vectors::{Report, open};
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        id: String,
        raw_base64: String,
        expect: String,
    }

    /// The route's body is not one that reaches the provider in most cases; those that do must carry the
    /// injected credential once, and none may carry anything that was smuggled.
    #[tokio::test(flavor = "multi_thread")]
    async fn http1_framing() {
        let Some(file) = open("http1-framing/cases.json") else { return };
        // A chunk of almost endless size is refused by the time limit for bodies.
        let plan = Plan { server: "body_timeout = \"150ms\"".to_owned(), ..Plan::default() };
        let world = World::planned(plan).await;
        let (key, _) = world.key("alice").await;
        let address = world.gateway.address();
        let cases: Vec<Case> = serde_json::from_slice(&file).unwrap();
        let verdicts = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..16)
                .map(|n| {
                    let (cases, key) = (&cases, &key);
                    scope.spawn(move || {
                        let mine = cases.iter().enumerate().skip(n).step_by(16);
                        mine.map(|(n, case)| (n, judge(case, key, address))).collect::<Vec<_>>()
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
        });
        let mut report = Report::on("http1-framing");
        for (n, good) in verdicts {
            report.case(&cases[n].id, good);
        }
        for request in world.mock.requests() {
            let sent = format!("{:?} {:?}", request.path(), request.headers_with_secrets());
            let credentials = request.headers_with_secrets().get_all("authorization").iter().count();
            let clean = !sent.contains("__smuggled__")
                && !sent.contains("SPOOF-CANARY")
                && !sent.contains(&key)
                && credentials == 1
                && request.credential().is_some_and(|credential| credential.expose() == PROVIDER_SECRET);
            report.case(format!("upstream saw {}", request.path()), clean);
        }
        report.finish();
        assert_eq!(world.chat(&key, &ask("gpt-4o")).send().await.unwrap().status(), 200);
    }

    fn judge(case: &Case, key: &str, address: SocketAddr) -> bool {
        let raw = base64::engine::general_purpose::STANDARD.decode(&case.raw_base64).unwrap();
        let raw = replace(&raw, b"{HOST}", address.to_string().as_bytes());
        let raw = replace(&raw, b"{KEY}", key.as_bytes());
        let (answer, closed) = talk(address, &raw);
        let status = answer.get(9..10);
        let refused = status == Some(b"4") || closed;
        case.expect != "reject" || refused
    }

    fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(to);
            rest = &rest[at + from.len()..];
        }
        out.extend_from_slice(rest);
        out
    }
}

/// Headers that a caller must not get through, on a request that does reach the provider.
#[tokio::test]
async fn no_header_that_vouches_for_a_caller_reaches_the_provider() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let body = ask("gpt-4o").to_string();
    for header in [
        "X_Api_Key",
        "api_key",
        "Proxy-Authorization",
        "X-Amz-Security-Token",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X_Forwarded_User",
        "X-Forwarded-Access-Token",
        "X-Auth-Request-User",
        "X-Remote-User",
        "Remote-User",
        "X-Real-IP",
        "X-Rewrite-URL",
        "Forwarded",
        "Via",
        "Cookie",
        "X-Tenant_Id",
    ] {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n{header}: SPOOF-CANARY\r\nContent-Length: {}\r\nConnection: close, Authorization, Content-Length\r\n\r\n{body}",
            body.len()
        );
        let (answer, closed) = talk(world.gateway.address(), head.as_bytes());
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{header}: {}", String::from_utf8_lossy(&answer));
        assert!(closed);
    }
    for request in world.mock.requests() {
        assert!(!format!("{:?}", request.headers_with_secrets()).contains("SPOOF-CANARY"));
        assert_eq!(request.credential().unwrap().expose(), PROVIDER_SECRET);
        assert_eq!(&request.body()[..], body.as_bytes());
    }
}

#[tokio::test]
async fn requests_in_a_row_on_one_connection_are_told_apart() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let body = ask("gpt-4o").to_string();
    let one = |key: &str| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let (answer, _) =
        talk(world.gateway.address(), [one(&key), one("nobody"), one(&key)].concat().as_bytes());
    let answer = String::from_utf8(answer).unwrap();
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect();
    assert_eq!(statuses, ["200", "401", "200"]);
}
