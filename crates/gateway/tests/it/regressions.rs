//! One test for each known failure of other gateways that the way of a request is about.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use portunus_auth_core::SecretSource as _;
use portunus_gateway::check;
use portunus_mock::Fault;
use serde_json::{Value, json};

use crate::wire::{answers, talk};
use crate::world::{ADMIN, PROVIDER_SECRET, Plan, STATIC_KEY, Secrets, World, ask, ask_streamed, config};

/// The status of the answer to a request with that target, those header lines and that body; 0 if the
/// connection is closed without one.
fn status(world: &World, target: &str, headers: &str, body: &str) -> u16 {
    let head = format!("POST {target} HTTP/1.1\r\n{headers}Connection: close\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let answers = answers(&talk(world.gateway.address(), request.as_bytes()));
    assert!(answers.len() < 2, "{target}: {answers:?}");
    answers.first().map_or(0, |answer| answer.status)
}

fn bearer(key: &str) -> String {
    format!("Host: a\r\nAuthorization: Bearer {key}\r\n")
}

fn is_refused(status: u16) -> bool {
    matches!(status, 0 | 400..500)
}

/// A listener that nobody is to connect to.
struct Decoy(TcpListener);

impl Decoy {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    fn was_found(&self) -> bool {
        self.0.accept().is_ok()
    }
}

/// A provider named `raw-N`, for the model `gpt-4o-raw-N`.
fn provider(n: usize, kind: &str, port: u16, secret: &str) -> String {
    let base = if kind == "openai" { "/v1" } else { "" };
    format!(
        "[[providers]]\nname = \"raw-{n}\"\nprovider_type = \"{kind}\"\nbase_url = \"http://127.0.0.1:{port}{base}\"\napi_key = \"{secret}\"\n[[models]]\nname = \"gpt-4o-raw-{n}\"\nprovider_model = \"raw-{n}/gpt-4o\"\n"
    )
}

/// Answers every connection's first request with those bytes, and tells what it was asked.
fn upstream(answer: String) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 65_536];
            let read = stream.read(&mut buffer).unwrap_or_default();
            let _ = asked.send(String::from_utf8_lossy(&buffer[..read]).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (port, requests)
}

/// LiteLLM: what stands in `Authorization` reaches the database before anybody is known.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_42208_no_text_of_a_stranger_does_more_than_a_wrong_key() {
    let world = World::new().await;
    let hostile = ["' OR '1'='1", "ptk_' OR 1=1--", "\"; DROP", "ключ", "a.b.c", "..", "%00", "{}", "ptk_"];
    let mut stream = TcpStream::connect(world.gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut requests = String::new();
    for n in 0..1000 {
        let token = hostile[n % hostile.len()].repeat(1 + n % 50);
        let close = if n == 999 { "Connection: close\r\n" } else { "" };
        requests += &format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{close}Content-Length: 0\r\n\r\n"
        );
    }
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(requests.as_bytes()));
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    writing.join().unwrap().unwrap();
    let mut answers = answers(&text);
    assert_eq!(answers.len(), 1000);
    assert!(answers.iter().all(|answer| answer.status == 401 && answer.complete));
    answers.dedup_by(|a, b| a.body == b.body);
    assert_eq!(answers.len(), 1, "refusals differ");

    for (token, expected) in [("\0", 400), ("a\0b", 400), ("\u{7f}", 400)] {
        let status = status(&world, "/v1/chat/completions", &bearer(token), "{}");
        assert!(status == expected || status == 0, "{token:?}: {status}");
    }
    let huge = status(&world, "/v1/chat/completions", &bearer(&"x".repeat(60_000)), "{}");
    assert_eq!(huge, 431);
    assert!(world.mock.requests().is_empty());
}

/// LiteLLM: a caller says where the provider's key is sent to.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_6587_no_caller_chooses_where_a_credential_goes() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let decoy = Decoy::new();
    let url = format!("http://{}/v1", decoy.address());
    let usual = ask("gpt-4o");
    let credential = format!("{}X-Api-Key: {url}\r\n", bearer(&key));
    assert_eq!(status(&world, "/v1/chat/completions", &credential, &usual.to_string()), 400);
    for name in ["api_base", "base_url", "baseURL", "endpoint", "host", "proxy", "azure_endpoint", "url"] {
        let mut body = usual.clone();
        body[name] = json!(url);
        body["metadata"] = json!({ name: url });
        body["litellm_params"] = json!({ name: url });
        let expected = if ["api_base", "base_url"].contains(&name) { 400 } else { 200 };
        let found = status(&world, "/v1/chat/completions", &bearer(&key), &body.to_string());
        assert_eq!(found, expected, "{name}");

        let header = format!("{}X-{}: {url}\r\nX-{name}: {url}\r\n", bearer(&key), name.replace('_', "-"));
        assert_eq!(status(&world, "/v1/chat/completions", &header, &usual.to_string()), 200, "{name}");

        let target = format!("/v1/chat/completions?{name}={url}");
        assert_eq!(status(&world, &target, &bearer(&key), &usual.to_string()), 400, "{name}");
    }
    let mut body = usual.clone();
    body["api_key"] = json!("sk-callers-own");
    assert_eq!(status(&world, "/v1/chat/completions", &bearer(&key), &body.to_string()), 400);
    let host = bearer(&key).replace("Host: a", &format!("Host: {}", decoy.address()));
    assert_eq!(status(&world, "/v1/chat/completions", &host, &usual.to_string()), 200);
    for target in [format!("{url}/chat/completions"), format!("//{}/v1/chat/completions", decoy.address())] {
        assert!(is_refused(status(&world, &target, &host, &usual.to_string())), "{target}");
    }
    for model in [&url, "mock-openai/gpt-4o", "openai/gpt-4o", "../gpt-4o", "gpt-4o@127.0.0.1"] {
        let refused = status(&world, "/v1/chat/completions", &bearer(&key), &ask(model).to_string());
        assert!(is_refused(refused) || model.starts_with("gpt-4o"), "{model}");
    }
    assert!(!decoy.was_found());
    let configured = world.mock.url().replace("http://", "");
    for request in world.mock.requests() {
        assert_eq!(request.header("host"), Some(configured.as_str()));
        assert_eq!(request.credential().unwrap().expose(), PROVIDER_SECRET);
        assert_eq!(request.path(), "/v1/chat/completions");
    }
}

/// A redirect takes the provider's key to another host, or, passed on, the caller's.
#[tokio::test(flavor = "multi_thread")]
async fn ghsa_9f46_w24h_69w4_a_redirect_is_not_followed() {
    let decoy = Decoy::new();
    let (mut more, mut ports) = (String::new(), Vec::new());
    for (n, status) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        let location = decoy.address();
        let answer =
            format!("HTTP/1.1 {status} Go\r\nlocation: http://{location}/\r\ncontent-length: 0\r\n\r\n");
        let (port, asked) = upstream(answer);
        more += &provider(n, "openai", port, "${env:PROVIDER_SECRET}");
        ports.push((status, asked));
    }
    let world = World::planned(Plan { more, ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    for (n, (redirect, asked)) in ports.iter().enumerate() {
        let body = ask(&format!("gpt-4o-raw-{n}")).to_string();
        assert_eq!(status(&world, "/v1/chat/completions", &bearer(&key), &body), 502, "{redirect}");
        assert_eq!(asked.try_iter().count(), 1);
    }
    assert!(!decoy.was_found());
}

/// LiteLLM: `Authorization` as it came is copied into what is kept of each request.
#[tokio::test]
async fn litellm_incident_2026_03_18_no_credential_is_kept_with_a_request() {
    let world = World::new().await;
    for (name, value) in [
        ("authorization", "Basic canary-51d0"),
        ("authorization", "canary-51d0"),
        ("authorization", "Bearer canary-51d0 canary-51d0"),
        ("proxy-authorization", "Bearer canary-51d0"),
        ("x-api-key", "canary-51d0"),
        ("x-goog-api-key", "canary-51d0"),
        ("cookie", "session=canary-51d0"),
        ("x-litellm-api-key", "canary-51d0"),
    ] {
        let request = world.client.post(format!("{}/v1/messages", world.url)).header(name, value);
        let answer = request.json(&ask("claude-x")).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{name}: {value}");
        let shown = format!("{:?} {:?}", answer.headers().clone(), answer.text().await.unwrap());
        assert!(!shown.contains("canary-51d0"), "{shown}");
    }
    let file = world.audit_file();
    world.gateway.stop().await;
    let kept = std::fs::read_to_string(file).unwrap();
    assert_eq!(kept.matches("\"llm.request\"").count(), 8);
    assert!(!kept.contains("canary-51d0"));
}

/// LiteLLM: a key in the URL turns up in the trace of an error.
#[tokio::test(flavor = "multi_thread")]
async fn litellm_24902_a_key_in_the_url_goes_nowhere() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let more = provider(0, "openai", unused, "${env:PROVIDER_SECRET}");
    let world = World::planned(Plan { more, ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    let mut shown = String::new();
    for name in ["key", "KEY", "api_key", "api-key", "apikey", "access_token", "token"] {
        for pair in [format!("{name}=canary-77aa"), format!("beta=true&{name}=canary-77aa")] {
            let url = format!("{}/v1/chat/completions?{pair}", world.url);
            let request = world.client.post(url).bearer_auth(&key).json(&ask("gpt-4o-raw-0"));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 400, "{pair}");
            shown += &format!("{:?}", answer.headers());
            shown += &answer.text().await.unwrap();
        }
    }
    // The provider cannot be reached, and the error says nothing of the URL.
    let url = format!("{}/v1/chat/completions?beta=canary-77aa", world.url);
    let answer = world.client.post(url).bearer_auth(&key).json(&ask("gpt-4o-raw-0")).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    shown += &answer.text().await.unwrap();
    let file = world.audit_file();
    world.gateway.stop().await;
    shown += &std::fs::read_to_string(file).unwrap();
    assert!(!shown.contains("canary-77aa"), "{shown}");
}

/// LiteLLM: the provider goes on generating for a caller who has gone.
#[tokio::test(flavor = "multi_thread")]
async fn litellm_36123_37140_9178_a_caller_who_leaves_stops_the_provider() {
    // One word of an answer, or none yet; then nothing until the gateway hangs up.
    let begun = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let mut cases = Vec::new();
    for kind in ["openai", "anthropic"] {
        for streamed in [false, true] {
            cases.extend(["", begun].map(|words| (kind, streamed, words)));
        }
    }
    let (mut more, mut providers) = (String::new(), Vec::new());
    for (n, (kind, _, words)) in cases.iter().enumerate() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        more += &provider(n, kind, listener.local_addr().unwrap().port(), "${env:PROVIDER_SECRET}");
        let (events, told) = mpsc::channel();
        let words = words.to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 65_536];
            assert!(stream.read(&mut buffer).unwrap() > 0);
            stream.write_all(words.as_bytes()).unwrap();
            events.send("asked").unwrap();
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
            events.send("stopped").unwrap();
        });
        providers.push(told);
    }
    let world = World::planned(Plan { more, ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    let patience = Duration::from_secs(10);
    for (n, ((kind, streamed, words), told)) in cases.iter().zip(&providers).enumerate() {
        let model = format!("gpt-4o-raw-{n}");
        let body = if *streamed { ask_streamed(&model) } else { ask(&model) }.to_string();
        let path = if *kind == "openai" { "/v1/chat/completions" } else { "/v1/messages" };
        let mut stream = TcpStream::connect(world.gateway.address()).unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n", bearer(&key), body.len());
        stream.write_all((head + &body).as_bytes()).unwrap();
        assert_eq!(told.recv_timeout(patience), Ok("asked"));
        if !words.is_empty() {
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        }
        drop(stream);
        assert_eq!(told.recv_timeout(patience), Ok("stopped"), "{kind} {streamed} {words}");
    }
    let events = world.events("llm.request", cases.len()).await;
    assert!(events.iter().all(|event| event["outcome"] == "abandoned"), "{events:?}");
}

/// oauth2-proxy: a header that a proxy vouches with gets through under another spelling.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_64484_no_spelling_of_a_header_gets_through() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let mut lines = bearer(&key);
    for name in
        ["x-forwarded-user", "x-forwarded-groups", "x-auth-request-email", "x-remote-user", "x-real-ip"]
    {
        let underscored = name.replace('-', "_");
        let mixed = name.replacen('-', "_", 1);
        for spelling in [name, &name.to_uppercase(), &underscored, &underscored.to_uppercase(), &mixed] {
            lines += &format!("{spelling}: SPOOF-CANARY\r\n");
        }
    }
    assert_eq!(status(&world, "/v1/chat/completions", &lines, &ask("gpt-4o").to_string()), 200);
    let sent = format!("{:?}", world.mock.requests()[0].headers_with_secrets());
    assert!(!sent.contains("SPOOF-CANARY"), "{sent}");
    let event = &world.events("llm.request", 1).await[0];
    assert_eq!((&event["actor"]["sub"], &event["peer"]), (&json!("alice"), &json!("127.0.0.1")));
}

/// oauth2-proxy: a rule for paths is matched against the query too.
#[tokio::test]
async fn ghsa_7rh7_c77v_6434_a_query_opens_nothing() {
    let world = World::new().await;
    for open in ["/healthz", "/readyz", "/auth/token", "/oauth/jwks", "healthz", "%2Fhealthz"] {
        for target in ["?", "?next=", "?a=b&", "?/../"] {
            let target = format!("/v1/chat/completions{target}{open}");
            let status = status(&world, &target, "Host: a\r\n", &ask("gpt-4o").to_string());
            assert!(matches!(status, 400 | 401), "{target}: {status}");
        }
    }
    assert!(world.mock.requests().is_empty());
}

/// oauth2-proxy (GHSA-pxq7-h93f-9jrg), and others (CVE-2026-49468, CVE-2026-48710, CVE-2026-40575): two
/// readers of one path disagree.
#[tokio::test(flavor = "multi_thread")]
async fn ghsa_pxq7_h93f_9jrg_a_path_is_a_route_only_as_it_is_written() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    for target in [
        "/v1/chat/completions%23x",
        "/v1/chat/completions%3Fx",
        "/v1/chat/completions/",
        "/v1/chat/completions/.",
        "/v1/chat/completions;x",
        "/v1/chat%2Fcompletions",
        "/v1%2fchat/completions",
        "/v1/%63hat/completions",
        "/v1/./chat/completions",
        "/v1/x/../chat/completions",
        "/v1/x/%2e%2e/chat/completions",
        "/healthz/../v1/chat/completions",
        "/healthz%2F..%2Fv1/chat/completions",
        "/healthz%23/v1/chat/completions",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "\\v1\\chat\\completions",
        "/V1/chat/completions",
        "/v1/chat/completions%00",
        "/v1/chat/completions%20",
        "v1/chat/completions",
        "*",
        "http://a/v1/chat/completions",
        "http://b/v1/chat/completions",
    ] {
        let status = status(&world, target, &bearer(&key), &ask("gpt-4o").to_string());
        assert!(is_refused(status), "{target}: {status}");
    }
    assert!(world.mock.requests().is_empty());
}

/// oauth2-proxy: `X-Forwarded-Uri` says which rule applies.
#[tokio::test(flavor = "multi_thread")]
async fn ghsa_7x63_xv5r_3p2x_a_header_names_no_path() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let body = ask("gpt-4o").to_string();
    for name in [
        "X-Forwarded-Uri",
        "X-Forwarded-Path",
        "X-Forwarded-Prefix",
        "X-Original-URL",
        "X-Original-URI",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-Envoy-Original-Path",
    ] {
        for value in ["/healthz", "/v1/messages", "GET"] {
            let line = format!("{name}: {value}\r\n");
            let strangers = status(&world, "/v1/chat/completions", &format!("Host: a\r\n{line}"), &body);
            assert_eq!(strangers, 401, "{line}");
            let answer = status(&world, "/v1/chat/completions", &(bearer(&key) + &line), &body);
            assert_eq!(answer, 200, "{line}");
        }
    }
    assert!(world.mock.requests().iter().all(|request| request.path() == "/v1/chat/completions"));
}

/// oauth2-proxy: whoever calls itself a health check is let in.
#[tokio::test]
async fn ghsa_5hvv_m4w4_gf6v_no_header_but_a_credential_lets_anybody_in() {
    let world = World::new().await;
    let body = ask("gpt-4o").to_string();
    let values =
        ["GoogleHC/1.0", "kube-probe/1.31", "ELB-HealthChecker/2.0", "127.0.0.1", "true", "admin", "alice"];
    for name in [
        "User-Agent",
        "Referer",
        "Origin",
        "From",
        "Via",
        "Cookie",
        "Forwarded",
        "Accept",
        "Purpose",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-User",
        "X-Real-IP",
        "X-Client-IP",
        "True-Client-IP",
        "X-Remote-User",
        "Remote-User",
        "X-Auth-Request-User",
        "X-User",
        "X-Authenticated",
        "X-Internal",
        "X-Debug",
        "X-Health-Check",
        "X-Requested-With",
        "X-Portunus-Key",
        "Proxy-Authorization",
        "X-Amz-Security-Token",
        "X-SSL-Client-Verify",
        "X-Forwarded-Client-Cert",
        "Portunus-Request-Id",
        "X-Request-Id",
        "Anthropic-Version",
        "OpenAI-Organization",
    ] {
        for value in values {
            let lines = format!("Host: a\r\n{name}: {value}\r\n");
            assert_eq!(status(&world, "/v1/chat/completions", &lines, &body), 401, "{lines}");
        }
    }
    assert!(world.mock.requests().is_empty());
}

/// HTTP/2 stacks: rapid reset, endless continuation. No connection ever becomes HTTP/2.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2023_44487_rustsec_2024_0332_http_2_is_not_spoken() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let answers = answers(&talk(world.gateway.address(), preface));
    assert!(answers.iter().all(|answer| answer.status == 400), "{answers:?}");
    for upgrade in ["h2c", "HTTP/2.0", "websocket"] {
        let lines = format!(
            "{}Upgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade, HTTP2-Settings\r\n",
            bearer(&key)
        );
        assert_eq!(status(&world, "/v1/chat/completions", &lines, &ask("gpt-4o").to_string()), 200);
    }
}

/// hyper: the size of a chunk overflows, `Content-Length` takes a sign.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_32714_32715_a_length_is_only_digits_and_never_overflows() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    let body = ask("gpt-4o").to_string();
    let mut framed = Vec::new();
    for length in ["+{}", "-{}", "{}, {}", "0x{}", "1844674407370955161{}", "{}.0", "{} {}", "{}_"] {
        framed
            .push(format!("Content-Length: {}\r\n\r\n{body}", length.replace("{}", &body.len().to_string())));
    }
    let size = format!("{:x}", body.len());
    for size in [
        format!("1{}{size}", "0".repeat(16)),
        format!("f{}{size}", "0".repeat(15)),
        format!("+{size}"),
        format!("-{size}"),
        format!("0x{size}"),
        format!(" {size}"),
        format!("{size}g"),
        String::new(),
    ] {
        framed.push(format!("Transfer-Encoding: chunked\r\n\r\n{size}\r\n{body}\r\n0\r\n\r\n"));
    }
    for framed in framed {
        let request =
            format!("POST /v1/chat/completions HTTP/1.1\r\n{}Connection: close\r\n{framed}", bearer(&key));
        let answers = answers(&talk(world.gateway.address(), request.as_bytes()));
        assert!(answers.iter().all(|answer| is_refused(answer.status)), "{framed}: {answers:?}");
    }
    assert!(world.mock.requests().is_empty());
}

/// Others (CVE-2026-12773): an error while asking who somebody is makes them somebody.
#[tokio::test]
async fn cve_2026_12773_whoever_cannot_be_asked_about_is_nobody() {
    let more = "[[issuers]]\nname = \"dead\"\nissuer = \"http://127.0.0.1:1\"\ntenant = \"acme\"\n[[policies]]\nname = \"dead\"\nmatch = { issuer = \"dead\", subject = \"e*\" }\ngrant = { models = \"all\", tier = \"standard\", ttl = \"1h\" }\n";
    let world = World::planned(Plan { more: more.to_owned(), ..Plan::default() }).await;
    let mint = || world.idp.mint("eve").audience("portunus").claim("groups", ["eng"]);
    let dead = mint().issuer("http://127.0.0.1:1").id_token();
    world.idp.fail_next(10, Fault::status(401));
    for token in [dead, mint().id_token()] {
        let answer = world.chat(&token, &ask("gpt-4o")).send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 401 | 503), "{}", answer.status());
    }
    assert!(world.mock.requests().is_empty());
    for event in world.events("llm.request", 2).await {
        assert_eq!((&event["outcome"], &event["actor"]), (&json!("refused"), &Value::Null));
    }
}

/// Others (CVE-2026-42271, CVE-2026-40217, CVE-2026-30623, CVE-2026-35029): an endpoint for tests or for
/// the configuration runs what it is told.
#[tokio::test]
async fn cve_2026_42271_there_are_no_endpoints_but_the_known_ones() {
    let world = World::new().await;
    for path in [
        "/config/update",
        "/config",
        "/get/config/callbacks",
        "/key/generate",
        "/user/new",
        "/model/new",
        "/test",
        "/health/test_connection",
        "/mcp-rest/test/connection",
        "/mcp",
        "/guardrails/test_custom_code",
        "/admin",
        "/api/admin/config",
        "/debug/pprof",
        "/.env",
        "/metrics",
        "/auth/exec",
        "/oauth/../admin",
        "/auth/token/../../config",
    ] {
        for key in [ADMIN, STATIC_KEY] {
            let body = json!({ "command": "id", "code": "1", "url": "http://127.0.0.1:1" }).to_string();
            let status = status(&world, path, &bearer(key), &body);
            assert!(matches!(status, 404 | 405), "{path}: {status}");
        }
    }
}

/// Others (CVE-2026-29791, GHSA-4gph-2hhr-5mwg): two parsers read two models out of one body, or a name
/// becomes a header.
#[tokio::test]
async fn cve_2026_29791_a_body_names_one_model_to_every_parser() {
    let world = World::new().await;
    let (key, _) = world.key("alice").await;
    for body in [
        r#"{"model":"gpt-4o","model":"secret-model","messages":[]}"#,
        r#"{"model":"gpt-4o","Model":"secret-model","messages":[]}"#,
        r#"{"MODEL":"secret-model","model":"gpt-4o","messages":[]}"#,
        r#"{"model":"gpt-4o","mod\u0065l":"secret-model","messages":[]}"#,
        r#"{"model":"gpt-4o","messages":[],"messages":[]}"#,
        r#"{"model":"gpt-4o","messages":[],"Tools":[{"name":"rm"}]}"#,
        r#"{"model":"gpt-4o","messages":[],"tool\u017f":[{"name":"rm"}]}"#,
        r#"{"model":["gpt-4o","secret-model"],"messages":[]}"#,
        r#"{"model":"gpt-4o\r\nX-Injected: 1","messages":[]}"#,
        r#"{"model":"gpt-4o\u0000","messages":[]}"#,
        "{\"model\":\"gpt-4o\",\"messages\":[]}{\"model\":\"secret-model\"}",
        "{\"model\":\"gpt-4o\",/*\"model\":\"secret-model\",*/\"messages\":[]}",
        "\u{feff}{\"model\":\"gpt-4o\",\"messages\":[]}",
        "model=gpt-4o",
    ] {
        assert_eq!(status(&world, "/v1/chat/completions", &bearer(&key), body), 400, "{body}");
    }
    assert!(world.mock.requests().is_empty());
}

/// A provider's key goes with a second attempt to another provider.
#[tokio::test(flavor = "multi_thread")]
async fn each_provider_sees_its_own_credential_whatever_the_others_do() {
    let folder = tempfile::tempdir().unwrap();
    let (mut more, mut asked) = (String::new(), Vec::new());
    let answers = [
        "",
        "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ];
    for (n, answer) in answers.into_iter().enumerate() {
        let file = folder.path().join(n.to_string());
        std::fs::write(&file, format!("sk-canary-of-provider-{n}")).unwrap();
        let (port, requests) = upstream(answer.to_owned());
        more += &provider(n, "openai", port, &format!("${{file:{}}}", file.display()));
        asked.push(requests);
    }
    let world = World::planned(Plan { more, ..Plan::default() }).await;
    let (key, _) = world.key("alice").await;
    for _ in 0..3 {
        for (n, expected) in [502, 401, 500, 200].into_iter().enumerate() {
            let body = ask(&format!("gpt-4o-raw-{n}")).to_string();
            assert_eq!(status(&world, "/v1/chat/completions", &bearer(&key), &body), expected, "{n}");
        }
    }
    for (n, asked) in asked.iter().enumerate() {
        let requests: Vec<String> = asked.try_iter().collect();
        assert_eq!(requests.len(), 3, "provider {n} is asked once for each call");
        for request in requests {
            assert_eq!(request.matches("sk-canary-of-provider-").count(), 1);
            assert!(request.contains(&format!("Bearer sk-canary-of-provider-{n}\r\n")), "{n}: {request}");
        }
    }
}

/// Others (GHSA-g53w-w6mj-hrpp): where no secret is configured, one that everybody knows is used.
#[test]
fn ghsa_g53w_w6mj_hrpp_no_secret_has_a_default() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portunus.toml");
    std::fs::write(&path, config(folder.path(), "http://127.0.0.1:9", "http://127.0.0.1:8", "")).unwrap();
    check(&path, &Secrets::usual()).unwrap();
    for name in ["ADMIN", "STATIC_KEY", "PROVIDER_SECRET"] {
        for empty in ["", " ", "\n"] {
            let secrets = Secrets::usual().with(name, empty);
            assert_eq!(secrets.env(name).as_deref(), Some(empty));
            assert!(check(&path, &secrets).is_err(), "{name} may be {empty:?}");
        }
    }
}

/// Others (GHSA-69x8-hrgq-fjj8): the stored form of a key is as good as the key.
#[tokio::test]
async fn ghsa_69x8_hrgq_fjj8_a_digest_is_no_key() {
    let world = World::new().await;
    let (key, jti) = world.key("alice").await;
    for secret in [STATIC_KEY, ADMIN, PROVIDER_SECRET, &key] {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        for token in [format!("sha256:{hex}"), format!("ptk_{hex}"), hex, jti.clone()] {
            assert_eq!(world.chat(&token, &ask("gpt-4o")).send().await.unwrap().status(), 401);
        }
    }
    assert!(world.mock.requests().is_empty());
}

/// Proxies on the internet are found by probes within hours: listening beyond loopback must be written out.
#[test]
fn nothing_listens_beyond_loopback_unless_told_to() {
    assert!(portunus_gateway::config::ServerConfig::default().listen.ip().is_loopback());
}
