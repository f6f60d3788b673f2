//! The control API, as a test in another language uses it.

use portunus_mock::{Fixture, MockServer, ServerBuilder};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{chat, client, header, post_chat, status_with};

pub(crate) fn ask(server: &MockServer, method: Method, path: &str) -> RequestBuilder {
    client().request(method, format!("{}/__mock/{path}", server.url()))
}

async fn told(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// What a `GET` tells.
pub(crate) async fn get(server: &MockServer, path: &str) -> Value {
    let (status, body) = told(ask(server, Method::GET, path)).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// What a `POST` with that body brings.
pub(crate) async fn post(server: &MockServer, path: &str, body: Value) -> (u16, Value) {
    told(ask(server, Method::POST, path).json(&body)).await
}

/// A `POST` that succeeds.
pub(crate) async fn done(server: &MockServer, path: &str, body: Value) -> Value {
    let (status, told) = post(server, path, body).await;
    assert_eq!(status, 200, "{path}: {told}");
    told
}

pub(crate) async fn server() -> MockServer {
    ServerBuilder::new().control_api().build().await.unwrap()
}

#[tokio::test]
async fn it_is_there_only_when_it_is_asked_for() {
    let server = ServerBuilder::new().build().await.unwrap();
    let (status, body) = told(ask(&server, Method::GET, "")).await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("not_found")));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn every_path_that_there_is_is_documented() {
    let server = server().await;
    let page = include_str!("../../CONTROL.md");
    let index = get(&server, "").await;
    let routes = index["routes"].as_array().unwrap();
    assert!(routes.len() > 10);
    for route in routes {
        let line = format!("`{} {}`", route["method"].as_str().unwrap(), route["path"].as_str().unwrap());
        assert!(page.contains(&line), "{line}");
    }
    assert_eq!(server.requests().len(), 0, "what drives the mock is no request to it");
}

#[tokio::test]
async fn web_pages_cannot_drive_it() {
    let server = server().await;
    let reset = || ask(&server, Method::POST, "reset");
    for (name, value, status) in [
        ("host", "rebound.example", 403),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://localhost:3000", 200),
    ] {
        let (got, said) = told(reset().header(name, value)).await;
        assert_eq!(got, status, "{name}: {value}: {said}");
    }
    // What a page can send without asking first.
    for media in ["text/plain", "application/x-www-form-urlencoded"] {
        let sent =
            ask(&server, Method::POST, "keys").header("content-type", media).body(r#"{"token":"sk-1"}"#);
        assert_eq!(told(sent).await.0, 415, "{media}");
    }
    let preflight = ask(&server, Method::OPTIONS, "keys").header("origin", "http://localhost:3000");
    let preflight = preflight.send().await.unwrap();
    assert_eq!((preflight.status().as_u16(), header(&preflight, "allow")), (405, Some("GET, POST")));
    assert_eq!(header(&preflight, "access-control-allow-origin"), None);
    assert_eq!(get(&server, "keys").await, json!({"keys": []}));
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_named() {
    let server = server().await;
    for (path, body, says) in [
        ("keys", json!({"token": "a", "use": 1}), "unknown field `use`"),
        ("keys", json!({}), "`token` or `aws`"),
        ("keys", json!({"token": ""}), "must not be empty"),
        ("keys", json!({"token": "a", "ttl": "soon"}), "expected number"),
        ("keys", json!({"token": "a", "ttl": "9999999y"}), "at most 1000 years"),
        ("fail-next", json!({"status": 200}), "400 to 599"),
        ("fail-next", json!({"status": 500, "kind": "overloaded"}), "`status` or `kind`"),
        ("fail-next", json!({"kind": "slow"}), "unknown variant `slow`"),
        ("fail-next", json!({"status": 500, "count": 0}), "nonzero"),
        ("fail-next", json!({"status": 500, "headers": {"a b": "c"}}), "header"),
        ("clock", json!({"advance": 5}), "expected a string"),
        ("clock", json!({"freeze_at": "today"}), "line 1"),
    ] {
        let (status, told) = post(&server, path, body.clone()).await;
        let said = told["error"].as_str().unwrap();
        assert_eq!((status, said.contains(says)), (400, true), "{path} {body}: {said}");
    }
    let sent = ask(&server, Method::POST, "keys").header("content-type", "application/json").body("{");
    assert_eq!(told(sent).await.0, 400);
    assert_eq!(told(ask(&server, Method::POST, "keys")).await.0, 415, "without a body");
    assert_eq!(told(ask(&server, Method::GET, "keys?all=1")).await.0, 400);
    assert_eq!(told(ask(&server, Method::GET, "nothing")).await.0, 404);
    assert_eq!(post(&server, "keys/expire", json!({"token": "unknown"})).await.0, 404);
    assert_eq!(post_chat(&server.url(), &chat("m", "hi")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn keys_come_and_go() {
    let server = server().await;
    let url = server.url();
    let models = json!({"token": "sk-test-canary-1", "uses": 2, "models": ["gpt-4o"]});
    done(&server, "keys", models).await;
    done(&server, "keys", json!({"token": "sk-test-2", "ttl": "5m", "paths": ["/v1/chat/completions"]}))
        .await;
    let aws = json!({"access_key_id": "AKIDEXAMPLE", "secret_access_key": "canary", "region": "us-east-1"});
    done(&server, "keys", json!({"aws": aws})).await;
    assert_eq!(status_with(&url, "sk-other").await, 401);
    assert_eq!(status_with(&url, "sk-test-canary-1").await, 200);
    let told = get(&server, "keys").await;
    assert!(!told.to_string().contains("canary"), "{told}");
    let key = |name: &str| {
        let keys = told["keys"].as_array().unwrap().iter();
        keys.clone().find(|key| key["key"] == name).unwrap_or_else(|| panic!("{told}")).clone()
    };
    let first = key("sk-t…y-1");
    assert_eq!((&first["uses_left"], &first["models"]), (&json!(1), &json!(["gpt-4o"])));
    assert_eq!((&first["expires_at"], &first["paths"]), (&Value::Null, &Value::Null));
    assert!(key("sk-t…t-2")["expires_at"].is_string());
    assert_eq!(key("AKID…PLE")["revoked"], false);

    done(&server, "keys/revoke", json!({"token": "sk-test-canary-1"})).await;
    assert_eq!(status_with(&url, "sk-test-canary-1").await, 401);
    assert_eq!(status_with(&url, "sk-test-2").await, 200);
    done(&server, "keys/expire", json!({"token": "sk-test-2"})).await;
    assert_eq!(status_with(&url, "sk-test-2").await, 401);
    assert_eq!(told_statuses(&server).await, [401, 200, 401, 200, 401]);
    done(&server, "reset", Value::Null).await;
    assert_eq!(told_statuses(&server).await, [0_u16; 0]);
    assert_eq!((server.uses_left("sk-test-canary-1"), status_with(&url, "sk-test-2").await), (Some(2), 200));
}

async fn told_statuses(server: &MockServer) -> Vec<u16> {
    let told = get(server, "requests").await;
    let status = |request: &Value| u16::try_from(request["status"].as_u64().unwrap()).unwrap();
    told["requests"].as_array().unwrap().iter().map(status).collect()
}

#[tokio::test]
async fn requests_are_told_without_their_secrets() {
    let server = server().await;
    let url = format!("{}/v1/chat/completions?key=canary-1&alt=sse", server.url());
    let sent = client().post(url).bearer_auth("canary-2").header("x-api-key", "canary-3");
    sent.header("x-trace", "7").json(&chat("gpt-4o", "Hello")).send().await.unwrap();
    let told = get(&server, "requests").await;
    assert!(!told.to_string().contains("canary"), "{told}");
    let seen = &told["requests"][0];
    assert_eq!((&seen["method"], &seen["path"]), (&json!("POST"), &json!("/v1/chat/completions")));
    assert_eq!(seen["query"], json!({"key": "***", "alt": "sse"}));
    let headers = &seen["headers"];
    assert_eq!((&headers["authorization"], &headers["x-trace"]), (&json!("***"), &json!("7")));
    assert_eq!(seen["body"]["messages"][0]["content"], "Hello");
    assert_eq!((&seen["status"], &seen["model"]), (&json!(200), &json!("gpt-4o")));
    assert_eq!(seen["credential"], "…", "of a short one nothing is shown");
    assert!(humantime::parse_rfc3339(seen["at"].as_str().unwrap()).is_ok());
    let (status, _) = told_of_forgetting(&server).await;
    assert_eq!((status, get(&server, "requests").await), (200, json!({"requests": []})));
}

async fn told_of_forgetting(server: &MockServer) -> (u16, Value) {
    told(ask(server, Method::DELETE, "requests")).await
}

#[tokio::test]
async fn errors_come_as_ordered() {
    let server = server().await;
    let asked = || post_chat(&server.url(), &chat("gpt-4o", "hi"));
    let limited = json!({"kind": "rate_limited", "retry_after": "7s", "headers": {"x-extra": "1"}});
    done(&server, "fail-next", limited).await;
    done(&server, "fail-next", json!({"status": 503, "message": "Back soon.", "count": 2})).await;
    let first = asked().send().await.unwrap();
    assert_eq!((first.status().as_u16(), header(&first, "retry-after")), (429, Some("7")));
    assert_eq!(header(&first, "x-extra"), Some("1"));
    for _ in 0..2 {
        let failed = asked().send().await.unwrap();
        assert_eq!(failed.status(), 503);
        assert!(failed.text().await.unwrap().contains("Back soon."));
    }
    assert_eq!(asked().send().await.unwrap().status(), 200);
    assert_eq!(told_of_forgetting(&server).await.0, 200);
}

#[cfg(feature = "fixtures")]
#[tokio::test]
async fn fixtures_are_replaced_by_those_of_a_file() {
    let server = server().await;
    let put = |yaml: &'static str| {
        ask(&server, Method::PUT, "fixtures").header("content-type", "application/yaml").body(yaml)
    };
    let hello = "fixtures:\n  - {match: {model: gpt-4o}, response: {content: Hello there.}}\n";
    assert_eq!(told(put(hello)).await, (200, json!({"fixtures": 1})));
    let (status, wrong) = told(put("fixtures:\n  - {respnse: {content: a}}\n")).await;
    let said = wrong["error"].as_str().unwrap();
    assert!(status == 400 && said.starts_with("fixtures:2:6: unknown field `respnse`"), "{said}");
    let answer = post_chat(&server.url(), &chat("gpt-4o", "hi")).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("Hello there."), "{answer}");
    let as_json = ask(&server, Method::PUT, "fixtures").json(&json!({"fixtures": []}));
    assert_eq!(told(as_json).await.0, 415);
}

#[tokio::test]
async fn expectations_are_verified() {
    let weather = Fixture::new().named("weather").expect(1).respond_with_content("Sunny.");
    let server = ServerBuilder::new().control_api().fixture(weather).build().await.unwrap();
    let told = get(&server, "verify").await;
    assert!(told["report"].as_str().unwrap().contains("weather") && told["met"] == false, "{told}");
    post_chat(&server.url(), &chat("gpt-4o", "hi")).bearer_auth("sk-test-1").send().await.unwrap();
    assert_eq!(get(&server, "verify").await, json!({"met": true}));
    let seen = &get(&server, "requests").await["requests"][0];
    assert_eq!((&seen["fixture"], &seen["credential"]), (&json!("weather"), &json!("sk-t…t-1")));
}

#[tokio::test]
async fn the_clock_is_moved() {
    let server = server().await;
    done(&server, "keys", json!({"token": "sk-1", "ttl": "5m"})).await;
    assert_eq!(get(&server, "clock").await["frozen"], false);
    done(&server, "clock", json!({"advance": "5m"})).await;
    assert_eq!(status_with(&server.url(), "sk-1").await, 401);
    let told = done(&server, "clock", json!({"freeze_at": "2025-01-01T00:00:00Z", "advance": "1h"})).await;
    assert_eq!(told, json!({"now": "2025-01-01T01:00:00.000Z", "frozen": true}));
    assert_eq!(done(&server, "clock", json!({"freeze": false})).await["frozen"], false);
    assert_eq!(done(&server, "clock", json!({"freeze": true})).await["frozen"], true);
    assert!(server.clock().is_frozen());
}
