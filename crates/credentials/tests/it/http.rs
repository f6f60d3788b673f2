use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portunus_auth_core::Clock;
use portunus_credentials::CredentialError;
use portunus_credentials::http::{Answer, Form, Http, Json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;
use wiremock::matchers::{any, body_string, header, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{clock, everything};

const SECRET: &str = "canary-s3cret";

async fn post(url: &str) -> Result<Answer, CredentialError> {
    let http = Http::with_timeouts(Duration::from_millis(500), Duration::from_millis(500));
    let url: Url = url.parse().unwrap();
    let request = http.post(&url).form(Form::default().secret("s", &SECRET.into()));
    let answer = request.send(clock().now()).await;
    if let Err(error) = &answer {
        assert!(!everything(error).contains("canary"), "{error:?}");
    }
    answer
}

/// A server that answers each connection with these bytes, and closes or keeps it.
async fn raw(answer: Vec<u8>, close: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token?canary=1", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            // The client may hang up in the middle of an answer that is too large.
            let _ = socket.write_all(&answer).await;
            if !close {
                kept.push(socket);
            }
        }
    });
    (url, connections)
}

fn is_unavailable(answer: Result<Answer, CredentialError>) -> bool {
    matches!(answer, Err(CredentialError::Unavailable { .. }))
}

#[tokio::test]
async fn a_form_is_encoded_and_sent_once() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(header("accept", "application/json"))
        .and(body_string("a=x+y%26z&s=p%2Bq%3D"))
        .respond_with(ResponseTemplate::new(200).set_body_string(r#"{"access_token":"t","expires_in":60}"#))
        .expect(1)
        .mount(&server)
        .await;
    let form = Form::default().field("a", "x y&z").secret("s", &"p+q=".into());
    let url = server.uri().parse().unwrap();
    let answer = Http::default().post(&url).form(form).send(clock().now()).await.unwrap();
    assert_eq!(answer.token().unwrap().expires_in, Duration::from_secs(60));
    assert!(!format!("{answer:?}").contains("access_token"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (from, to) = (MockServer::start().await, MockServer::start().await);
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).expect(0).mount(&to).await;
    for status in [301, 302, 303, 307, 308] {
        from.reset().await;
        let redirect = ResponseTemplate::new(status).insert_header("location", to.uri());
        Mock::given(any()).respond_with(redirect).mount(&from).await;
        let error = post(&from.uri()).await.unwrap().token().unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
        assert!(everything(&error).contains(&status.to_string()));
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let (url, _) = raw(Vec::new(), false).await;
    assert!(is_unavailable(post(&url).await));
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let (url, _) = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec(), false).await;
    assert!(is_unavailable(post(&url).await));
}

#[tokio::test]
async fn a_closed_port_a_broken_and_a_truncated_answer_are_unavailable_and_not_retried() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(is_unavailable(post(&format!("http://{closed}/")).await));
    for answer in ["", "canary\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"access_token\":"] {
        let (url, connections) = raw(answer.as_bytes().to_vec(), true).await;
        assert!(is_unavailable(post(&url).await), "{answer}");
        assert_eq!(connections.load(Ordering::SeqCst), 1, "{answer}");
    }
}

#[tokio::test]
async fn at_most_a_mebibyte_is_read_announced_or_not() {
    const MIB: usize = 1024 * 1024;
    let announced = |len: usize| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n");
        [head.into_bytes(), vec![b' '; len]].concat()
    };
    let unannounced =
        |len: usize| [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec(), vec![b' '; len]].concat();
    for (answer, fits) in [
        (announced(MIB), true),
        (announced(MIB + 1), false),
        (unannounced(MIB), true),
        (unannounced(MIB + 1), false),
    ] {
        let (url, _) = raw(answer, true).await;
        let got = post(&url).await;
        assert_eq!(got.is_ok(), fits);
        assert!(fits || is_unavailable(got));
    }
}

#[tokio::test]
async fn a_failure_says_its_status_even_if_its_body_breaks_off() {
    let head = "HTTP/1.1 503 x\r\nretry-after: 7\r\ncontent-length: 100\r\n\r\n{";
    let (url, _) = raw(head.as_bytes().to_vec(), true).await;
    match post(&url).await.unwrap().token().unwrap_err() {
        CredentialError::Unavailable { retry_after, source } => {
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
            assert_eq!(source.to_string(), "the issuer answered 503");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_may_be_repeated_is_asked_again_while_the_issuer_is_busy() {
    let http = Http::default().with_attempts(3, Duration::ZERO);
    for (status, idempotent, retry_after, requests) in [
        (503, true, None, 3),
        (503, false, None, 1),
        (429, true, Some("7"), 1),
        (408, true, None, 3),
        (404, true, None, 1),
        (200, true, None, 1),
    ] {
        let server = MockServer::start().await;
        let mut answer = ResponseTemplate::new(status);
        if let Some(seconds) = retry_after {
            answer = answer.insert_header("retry-after", seconds);
        }
        Mock::given(any()).respond_with(answer).expect(requests).mount(&server).await;
        let url = server.uri().parse().unwrap();
        let request = http.get(&url);
        let request = if idempotent { request.idempotent() } else { request };
        assert_eq!(request.send(clock().now()).await.unwrap().status().as_u16(), status);
    }
}

#[tokio::test]
async fn a_lost_connection_is_made_again_only_for_what_may_be_repeated() {
    let http = Http::default().with_attempts(3, Duration::ZERO);
    for (idempotent, connections) in [(true, 3), (false, 1)] {
        let (url, count) = raw(Vec::new(), true).await;
        let url = url.parse().unwrap();
        let request = http.put(&url);
        let request = if idempotent { request.idempotent() } else { request };
        assert!(is_unavailable(request.send(clock().now()).await));
        assert_eq!(count.load(Ordering::SeqCst), connections);
    }
}

#[tokio::test]
async fn headers_and_json_are_sent_as_given() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(header("content-type", "application/json"))
        .and(header("accept", "text/xml"))
        .and(header("authorization", "Basic dXNlcjpjYW5hcnktczNjcmV0"))
        .and(body_string(r#"{"n":1,"s":"canary-s3cret"}"#))
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(&server)
        .await;
    let url = server.uri().parse().unwrap();
    let json = Json::default().field("n", 1).secret("s", &SECRET.into());
    let request = Http::default().post(&url).header(http::header::ACCEPT, "text/xml").json(json);
    let answer = request.basic("user", &SECRET.into()).send(clock().now()).await.unwrap();
    assert_eq!(answer.status().as_u16(), 204);
}

#[tokio::test]
async fn what_no_header_can_carry_is_not_sent() {
    let url = "http://127.0.0.1:1/".parse().unwrap();
    let request = Http::default().get(&url).bearer(&"canary\r\nx: y".into());
    let error = request.send(clock().now()).await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(!everything(&error).contains("canary"));
}
