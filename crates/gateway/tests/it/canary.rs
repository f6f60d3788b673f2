//! No secret is ever shown: everything runs at trace level, and every place that something is written
//! to is searched.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use crate::world::{ADMIN, PROVIDER_SECRET, Plan, STATIC_KEY, World, ask, ask_streamed};

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_shown() {
    let written = Written::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(written.clone()).init();

    let unreachable = "[[providers]]\nname = \"dead\"\nprovider_type = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\napi_key = \"${env:PROVIDER_SECRET}\"\n[[models]]\nname = \"gone\"\nprovider_model = \"dead/gone\"\n";
    let world = World::planned(Plan { more: unreachable.to_owned(), ..Plan::default() }).await;
    let token = world.idp.mint("alice").audience("portunus").claim("groups", ["eng"]).id_token();
    let body: serde_json::Value = world.exchange(&token).await.json().await.unwrap();
    let key = body["access_token"].as_str().unwrap().to_owned();
    let jti = body["jti"].as_str().unwrap();
    let mut answers = Vec::new();
    answers.push(world.exchange(&token).await);
    for (key, body) in [
        (key.as_str(), ask("gpt-4o")),
        (key.as_str(), ask_streamed("gpt-4o")),
        (key.as_str(), ask("gone")),
        (key.as_str(), ask("secret-model")),
        (STATIC_KEY, ask("gpt-4o")),
        (token.as_str(), ask("gpt-4o")),
        ("sk-canary-unknown", ask("gpt-4o")),
    ] {
        answers.push(world.chat(key, &body).send().await.unwrap());
    }
    let url = format!("{}/auth/token/{jti}", world.url);
    answers.push(world.client.delete(&url).bearer_auth(ADMIN).send().await.unwrap());
    answers.push(world.client.delete(&url).bearer_auth("sk-canary-unknown").send().await.unwrap());
    answers.push(world.chat(&key, &ask("gpt-4o")).send().await.unwrap());
    world.mock.revoke_token(PROVIDER_SECRET);
    answers.push(world.chat(STATIC_KEY, &ask("gpt-4o")).send().await.unwrap());

    let mut shown = format!("{:?} {:?}", world.gateway, world.mock);
    for answer in answers {
        shown += &format!("{:?} {:?}", answer.status(), answer.headers());
        shown += &answer.text().await.unwrap();
    }
    let file = world.audit_file();
    world.gateway.stop().await;
    shown += &std::fs::read_to_string(file).unwrap();
    let logged = String::from_utf8_lossy(&written.0.lock().unwrap()).into_owned();
    assert!(logged.contains("request ended"), "nothing was logged, so nothing was searched");
    shown += &logged;
    let signature = token.rsplit('.').next().unwrap();
    for secret in [PROVIDER_SECRET, STATIC_KEY, ADMIN, &key, &key[4..], signature, "sk-canary-unknown"] {
        if let Some(at) = shown.find(secret) {
            let from = shown[..at].char_indices().rev().nth(300).map_or(0, |(n, _)| n);
            panic!("{secret} is shown: …{}", &shown[from..at]);
        }
    }
}
