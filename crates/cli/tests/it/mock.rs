//! `portunus mock`, as a team of another language uses it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};

use crate::program::{client, portunus, run};

/// A mock that serves and logs, ended when dropped.
struct Mock {
    child: Child,
    places: Value,
    log: BufReader<ChildStdout>,
}

impl Mock {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut command = portunus(folder);
        command.args(["mock", "serve", "--port", "0", "--json-log"]).args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let places = line(&mut log);
        Self { child, places, log }
    }

    fn url(&self, name: &str) -> &str {
        self.places[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.places))
    }

    /// Tells it to end, and how it did.
    fn end(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    async fn chat(&self, key: &str) -> u16 {
        let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
        let sent = client().post(format!("{}/v1/chat/completions", self.url("url"))).bearer_auth(key);
        sent.json(&body).send().await.unwrap().status().as_u16()
    }
}

fn line(log: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("the mock said: {line:?}"))
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_says_where_it_is_logs_what_comes_and_ends_when_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys"), "# two\nsk-canary-1:uses=1\n\nsk-canary-2:models=gpt-4o|b\n")
        .unwrap();
    std::fs::write(folder.path().join("aws.secret"), "canary\n").unwrap();
    std::fs::write(folder.path().join("mock.json"), "an earlier run's").unwrap();
    let args = ["--port-file", "mock.json", "--key-file", "keys", "--aws-key", "AKIDEXAMPLE=aws.secret"];
    let mut mock = Mock::start(folder.path(), &[&args[..], &["--key", "sk-canary-3:ttl=5m"]].concat());
    let file = folder.path().join("mock.json");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(written, mock.places);
    assert_eq!(written["pid"], mock.child.id());

    let mut statuses = Vec::new();
    for key in ["sk-canary-1", "sk-canary-1", "sk-canary-2", "sk-canary-3", "sk-canary-4"] {
        statuses.push(mock.chat(key).await);
    }
    assert_eq!(statuses, [200, 401, 200, 200, 401]);
    for status in statuses {
        let said = line(&mut mock.log);
        assert_eq!((&said["server"], &said["method"]), (&json!("llm"), &json!("POST")));
        assert_eq!((&said["path"], &said["status"]), (&json!("/v1/chat/completions"), &json!(status)));
        assert_eq!((&said["model"], &said["fixture"]), (&json!("gpt-4o"), &Value::Null));
        assert!(said["credential"].as_str().unwrap().starts_with("sk-c…"), "{said}");
        assert!(!said.to_string().contains("canary"), "{said}");
    }
    let advance = client().post(format!("{}clock", mock.url("control_url"))).json(&json!({"advance": "5m"}));
    assert_eq!(advance.send().await.unwrap().status(), 200);
    assert_eq!(mock.chat("sk-canary-3").await, 401);

    assert_eq!(mock.end(), Some(0));
    assert!(!file.exists());
}

#[tokio::test]
async fn its_oauth_server_has_the_clients_and_users_that_it_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("web.secret"), "canary-secret\n").unwrap();
    std::fs::write(folder.path().join("alice.json"), r#"{"sub":"alice","password":"pw","groups":["eng"]}"#)
        .unwrap();
    std::fs::write(folder.path().join("bob.json"), r#"{"sub":"bob","email":"bob@example.com"}"#).unwrap();
    let clients = ["--oauth-client", "cli", "--oauth-client", "web=web.secret"];
    let rest = ["--oauth-redirect", "http://127.0.0.1/cb", "--user", "alice.json", "--user", "bob.json"];
    let tenants = ["--tenant", "acme=okta", "--tenant", "plain"];
    let mock = Mock::start(folder.path(), &[&["--oauth"], &clients[..], &rest, &tenants].concat());
    let issuer = mock.url("oauth_url");
    assert_eq!(mock.places["tenants"]["acme"], format!("{issuer}/acme/oauth2/default"));
    assert_eq!(mock.places["tenants"]["plain"], format!("{issuer}/plain"));

    let form =
        [("grant_type", "client_credentials"), ("client_id", "web"), ("client_secret", "canary-secret")];
    let token = client().post(format!("{issuer}/token")).form(&form).send().await.unwrap();
    let token: Value = token.json().await.unwrap();
    assert_eq!(mock.chat(token["access_token"].as_str().unwrap()).await, 200);
    assert_eq!(mock.chat("another").await, 401);
    let back = "redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fcb&code_challenge_method=S256";
    let query = format!("response_type=code&client_id=cli&code_challenge={}&{back}", "a".repeat(43));
    let page = client().get(format!("{issuer}/authorize?{query}")).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("password"), "Alice is asked for hers");
}

#[tokio::test]
async fn over_https_it_is_trusted_by_its_ca_file() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::start(folder.path(), &["--ca-file", "ca.pem", "--limit", "requests=1,per=1h"]);
    assert_eq!(mock.places["ca_file"], folder.path().join("ca.pem").to_string_lossy().as_ref());
    let ca = std::fs::read(folder.path().join("ca.pem")).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test is a client like any other")]
    let trusts =
        reqwest::Client::builder().no_proxy().tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()]);
    let trusts = trusts.build().unwrap();
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let sent = trusts.post(format!("{}/v1/messages", mock.url("url")));
        let body =
            json!({"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
        statuses.push(sent.json(&body).send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 429]);
}

#[tokio::test]
async fn errors_are_the_providers_own_unless_the_documented_ones_are_wished() {
    let folder = tempfile::tempdir().unwrap();
    for (args, says) in [
        (&["--require-auth"][..], "Incorrect API key"),
        (&["--require-auth", "--documented"], "Invalid bearer token"),
    ] {
        let mock = Mock::start(folder.path(), args);
        let sent = client().get(format!("{}/v1/models", mock.url("url"))).bearer_auth("sk-1").send();
        let said = sent.await.unwrap().text().await.unwrap();
        assert!(said.contains(says), "{said}");
    }
    let mock = Mock::start(folder.path(), &["--no-control-api"]);
    assert_eq!(mock.places.get("control_url"), None);
    assert_eq!(client().get(format!("{}/__mock/", mock.url("url"))).send().await.unwrap().status(), 404);
}

#[test]
fn a_shell_is_told_what_to_export() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = portunus(folder.path());
    command.args([
        "mock",
        "serve",
        "--port",
        "0",
        "--print-env",
        "--key",
        "it's:uses=2",
        "--ca-file",
        "ca.pem",
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut exports = String::new();
    while !exports.contains("AWS_BEARER_TOKEN_BEDROCK") {
        exports += &(printed.next().unwrap().unwrap() + "\n");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let script = exports + "echo \"$OPENAI_BASE_URL $ANTHROPIC_API_KEY $NODE_EXTRA_CA_CERTS\"";
    let shell = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8(shell.stdout).unwrap();
    assert!(said.starts_with("https://127.0.0.1:") && said.contains("/v1 it's /"), "{said}");
    assert!(said.trim_end().ends_with("/ca.pem"), "{said}");
}

#[tokio::test]
async fn what_fixtures_expect_decides_how_it_ends_where_that_is_wished() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = "fixtures: [{name: hello, expect: 1, response: {content: a}}]";
    std::fs::write(folder.path().join("hello.yaml"), fixture).unwrap();
    for (more, calls, code) in [
        (&[][..], 0, 0),
        (&["--expect-all"], 0, 77),
        (&["--expect-all"], 1, 0),
        (&["--strict", "--key", "sk-1"], 0, 77),
    ] {
        let mut mock = Mock::start(folder.path(), &[&["--fixtures", "hello.yaml"], more].concat());
        for _ in 0..calls {
            assert_eq!(mock.chat("sk-1").await, 200);
            assert_eq!(line(&mut mock.log)["fixture"], "hello");
        }
        let verified = client().get(format!("{}verify", mock.url("control_url"))).send().await.unwrap();
        assert_eq!(verified.json::<Value>().await.unwrap()["met"], calls == 1);
        assert_eq!(mock.end(), Some(code), "{more:?}");
    }
}

#[test]
fn what_is_typed_wrongly_ends_with_64_and_repeats_no_key() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys"), "sk-1\nsk-canary:for=5m\n").unwrap();
    std::fs::write(folder.path().join("nobody.json"), r#"{"email":"a@example.com"}"#).unwrap();
    std::fs::write(folder.path().join("bob.json"), r#"{"sub":"bob"}"#).unwrap();
    for (args, says) in [
        (&["--key", "sk-canary:use=2"][..], "`use`"),
        (&["--key-file", "keys"], "keys:2: `for`"),
        (&["--key-file", "absent"], "absent"),
        (&["--aws-key", "AKID"], "ID=FILE"),
        (&["--limit", "request=1"], "`request`"),
        (&["--limit", "requests=0"], "not 0"),
        (&["--oauth-client", "a"], "--oauth"),
        (&["--oauth", "--preset", "gogle"], "github-actions"),
        (&["--oauth", "--tenant", "a/b"], "tenant"),
        (&["--oauth", "--user", "nobody.json"], "nobody.json: a user needs `sub`"),
        (&["--oauth", "--user", "bob.json", "--user", "bob.json"], "unasked"),
        (&["--ca-file", "absent/ca.pem"], "absent/ca.pem"),
    ] {
        let output = run(folder.path(), &[&["mock", "serve", "--port", "0"], args].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.contains(says)), (Some(64), true), "{args:?}: {said}");
        assert!(!said.contains("canary"), "{said}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert_eq!(run(folder.path(), &["mock", "serve", "--port", &port]).status.code(), Some(75));
}

#[test]
fn a_printed_token_is_verified_by_the_printed_keys() {
    let folder = tempfile::tempdir().unwrap();
    let print = |args: &[&str]| {
        let output = run(folder.path(), &[&["mock"], args].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let keys: JwkSet = serde_json::from_str(&print(&["jwks"])).unwrap();
    let verified = |token: &str| {
        let header = jsonwebtoken::decode_header(token).unwrap();
        let key = keys.find(&header.kid.unwrap()).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&["portunus"]);
        validation.set_issuer(&["https://idp.example"]);
        let key = DecodingKey::from_jwk(key).unwrap();
        jsonwebtoken::decode::<Value>(token, &key, &validation).map(|token| token.claims)
    };
    let alice = ["token", "--sub", "alice", "--aud", "portunus"];
    let with = |args: &[&str]| print(&[&alice[..], args].concat());
    assert!(verified(&with(&["--issuer", "https://other.example"])).is_err());
    for alg in ["RS256", "ES256", "EdDSA"] {
        let claims = ["--claim", r#"groups=["eng"]"#, "--claim", "name=Alice A", "--without", "auth_time"];
        let claims = verified(&with(&[&["--alg", alg, "--ttl", "5m"], &claims[..]].concat())).unwrap();
        assert_eq!((&claims["sub"], &claims["groups"]), (&json!("alice"), &json!(["eng"])));
        assert_eq!((&claims["name"], claims.get("auth_time")), (&json!("Alice A"), None));
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
    }
    let (one, two) = (verified(&with(&[])).unwrap(), verified(&with(&["--kind", "access"])).unwrap());
    assert_ne!(one["jti"], two["jti"]);
    assert_eq!((one.get("client_id"), &two["client_id"]), (None, &json!("mock-client")));
    for fault in ["bad_signature", "wrong_issuer", "wrong_audience", "expired"] {
        assert!(verified(&with(&["--fault", fault])).is_err(), "{fault}");
    }
    let wrong = run(folder.path(), &[&["mock"], &alice[..], &["--fault", "odd"]].concat());
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!((wrong.status.code(), said.contains("not_yet_valid")), (Some(64), true), "{said}");
}
