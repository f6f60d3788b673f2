//! A gateway on a free port, with a mock provider and a mock identity provider behind it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_auth_core::SecretSource;
use portunus_gateway::Server;
use portunus_mock::{MockIdp, MockServer, ServerBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const PROVIDER_SECRET: &str = "sk-canary-provider-51b7";
pub(crate) const STATIC_KEY: &str = "sk-static-canary-91c2";
pub(crate) const ADMIN: &str = "admin-canary-7d10";

/// Secrets from a map, so that tests leave the process's environment alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets(HashMap<String, String>);

impl Secrets {
    pub(crate) fn usual() -> Self {
        let mut map = HashMap::new();
        for (name, value) in
            [("PROVIDER_SECRET", PROVIDER_SECRET), ("STATIC_KEY", STATIC_KEY), ("ADMIN", ADMIN)]
        {
            map.insert(name.to_owned(), value.to_owned());
        }
        Self(map)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl SecretSource for Secrets {
    fn env(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }
}

pub(crate) struct World {
    pub(crate) mock: MockServer,
    pub(crate) idp: MockIdp,
    pub(crate) gateway: Server,
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
    folder: TempDir,
}

/// What differs from the usual world.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) mock: Option<ServerBuilder>,
    /// Lines for `[server]`.
    pub(crate) server: String,
    /// Further sections.
    pub(crate) more: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::planned(Plan::default()).await
    }

    pub(crate) async fn planned(plan: Plan) -> Self {
        let mock = plan.mock.unwrap_or_default().with_bearer_token(PROVIDER_SECRET).build().await.unwrap();
        let idp = MockIdp::builder().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let text = config(folder.path(), &mock.url(), idp.issuer(), &plan.server) + &plan.more;
        let path = folder.path().join("portunus.toml");
        std::fs::write(&path, text).unwrap();
        let gateway = Server::start(&path, &Secrets::usual()).await.unwrap();
        let url = format!("http://{}", gateway.address());
        Self { mock, idp, gateway, url, client: client(), folder }
    }

    pub(crate) fn audit_file(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// Exchanges an ID token of somebody in the group `eng`.
    pub(crate) async fn key(&self, subject: &str) -> (String, String) {
        let token = self.idp.mint(subject).audience("portunus").claim("groups", ["eng"]).id_token();
        let answer = self.exchange(&token).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        let body: Value = answer.json().await.unwrap();
        (body["access_token"].as_str().unwrap().to_owned(), body["jti"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn exchange(&self, token: &str) -> reqwest::Response {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ];
        self.client.post(format!("{}/auth/token", self.url)).form(&form).send().await.unwrap()
    }

    pub(crate) fn chat(&self, key: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client.post(format!("{}/v1/chat/completions", self.url)).bearer_auth(key).json(body)
    }

    pub(crate) fn messages(&self, key: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client.post(format!("{}/v1/messages", self.url)).header("x-api-key", key).json(body)
    }

    /// The audit's events of one kind, once there are as many as expected.
    pub(crate) async fn events(&self, kind: &str, expected: usize) -> Vec<Value> {
        for _ in 0..250 {
            let events = events_in(&self.audit_file(), kind);
            if events.len() >= expected {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{expected} events {kind} expected, found {:?}", events_in(&self.audit_file(), kind));
    }
}

pub(crate) fn events_in(file: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let events = complete.map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == kind).collect()
}

pub(crate) fn ask(model: &str) -> Value {
    json!({ "model": model, "max_tokens": 16, "messages": [{ "role": "user", "content": "hi" }] })
}

pub(crate) fn ask_streamed(model: &str) -> Value {
    let mut body = ask(model);
    body["stream"] = true.into();
    body
}

#[expect(clippy::disallowed_methods, reason = "a test is a client like any other")]
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap()
}

pub(crate) fn config(folder: &Path, mock: &str, issuer: &str, server: &str) -> String {
    include_str!("world.toml")
        .replace("@SERVER@", server)
        .replace("@FOLDER@", &folder.to_string_lossy())
        .replace("@MOCK@", mock)
        .replace("@ISSUER@", issuer)
}
