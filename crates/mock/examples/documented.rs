//! The programs that the documentation shows, as it shows them, with what they lead to.
//!
//! `cargo run -p portunus-mock --example documented`

#![expect(clippy::unwrap_used, reason = "as documented")]

use portunus_mock::server::OAuthConfig;
use portunus_mock::{Fixture, ServerBuilder};
use reqwest::Client;
use serde_json::{Value, json};

#[expect(clippy::disallowed_methods, reason = "the mock is called as any program would call it")]
fn client() -> Client {
    Client::new()
}

async fn status(llm_url: &str, token: &str) -> u16 {
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
    let request = client().post(format!("{llm_url}/v1/chat/completions")).bearer_auth(token).json(&body);
    request.send().await.unwrap().status().as_u16()
}

/// Tokens with and without a use count.
async fn bearer_tokens() {
    let server = ServerBuilder::new()
        .with_bearer_token("test-token-123") // unlimited
        .with_bearer_token_uses("short-lived", 1) // exactly 1 LLM request, then 401
        .fixture(Fixture::new().respond_with_content("hello"))
        .build()
        .await
        .unwrap();

    for _ in 0..3 {
        assert_eq!(status(&server.url(), "test-token-123").await, 200);
    }
    assert_eq!(status(&server.url(), "short-lived").await, 200);
    assert_eq!(status(&server.url(), "short-lived").await, 401);
    assert_eq!(status(&server.url(), "unknown").await, 401);
}

/// Enforcement with no static token: all credentials come from OAuth.
async fn oauth_defaults() {
    let server = ServerBuilder::new()
        .with_auth(true)
        .with_oauth_defaults() // OAuth server on its own port
        .fixture(Fixture::new().respond_with_content("hello"))
        .build()
        .await
        .unwrap();
    let llm_url = server.url(); // http://127.0.0.1:12345
    let oauth_url = server.oauth_url().unwrap(); // http://127.0.0.1:54321

    assert_ne!(llm_url, oauth_url);
    assert_eq!(status(&llm_url, "anything").await, 401);
}

/// A chosen client, and an LLM call with a token that it was issued.
async fn a_chosen_client() {
    let server = ServerBuilder::new()
        .with_oauth(OAuthConfig {
            client_id: "my-app".to_string(),
            client_secret: "my-secret".to_string(),
            redirect_uris: vec!["http://localhost:8080/callback".to_string()],
            scopes: vec!["openid".to_string(), "profile".to_string()],
        })
        .fixture(Fixture::new().respond_with_content("hello"))
        .build()
        .await
        .unwrap();
    let (client, oauth_url) = (client(), server.oauth_url().unwrap());

    let (client_id, client_secret) = server.oauth_client_credentials().await.unwrap();
    let resp = client
        .post(format!("{}/token", oauth_url))
        .form(&[
            ("grant_type", "client_credentials"),
            ("client_id", client_id.as_str()),
            ("client_secret", client_secret.as_str()),
        ])
        .send()
        .await
        .unwrap();

    assert_eq!((&*client_id, &*client_secret), ("my-app", "my-secret"));
    let tokens: Value = resp.json().await.unwrap();
    assert_eq!(status(&server.url(), tokens["access_token"].as_str().unwrap()).await, 200);
}

/// Device flow: the client starts it, the test approves the code it was given.
async fn device_flow() {
    let server = ServerBuilder::new().with_oauth_defaults().build().await.unwrap();
    let oauth_url = server.oauth_url().unwrap();
    let (id, secret) = server.oauth_client_credentials().await.unwrap();
    let post = async |path: &str, form: &[(&str, &str)]| -> Value {
        let form = [form, &[("client_id", &id), ("client_secret", &secret)]].concat();
        let sent = client().post(format!("{oauth_url}/{path}")).form(&form).send().await.unwrap();
        sent.json().await.unwrap()
    };
    let started = post("device_authorization", &[]).await;

    server.approve_device_code(started["user_code"].as_str().unwrap()).await.unwrap();

    let grant_type = "urn:ietf:params:oauth:grant-type:device_code";
    let device_code = started["device_code"].as_str().unwrap();
    let tokens = post("token", &[("grant_type", grant_type), ("device_code", device_code)]).await;
    assert_eq!(status(&server.url(), tokens["access_token"].as_str().unwrap()).await, 200);
    assert!(server.approve_device_code("USER-CODE-123").await.is_err());
}

/// A token that is used up is not passed on to OAuth, whose own tokens are still taken.
async fn life_of_a_token() {
    let server = ServerBuilder::new()
        .with_bearer_token_uses("one-use", 1)
        .with_oauth_defaults()
        .fixture(Fixture::new().respond_with_content("hello"))
        .build()
        .await
        .unwrap();
    assert_eq!(status(&server.url(), "one-use").await, 200);
    assert_eq!(status(&server.url(), "one-use").await, 401);

    let (id, secret) = server.oauth_client_credentials().await.unwrap();
    let form = [("grant_type", "client_credentials"), ("client_id", &*id), ("client_secret", &*secret)];
    let url = format!("{}/token", server.oauth_url().unwrap());
    let tokens: Value = client().post(url).form(&form).send().await.unwrap().json().await.unwrap();
    assert_eq!(status(&server.url(), tokens["access_token"].as_str().unwrap()).await, 200);
}

/// Without any of it, nobody is asked for a credential.
async fn without_authentication() {
    let server = ServerBuilder::new().build().await.unwrap();
    assert_eq!(status(&server.url(), "anything").await, 200);
    assert_eq!(server.oauth_url(), None);
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() {
    bearer_tokens().await;
    oauth_defaults().await;
    a_chosen_client().await;
    device_flow().await;
    life_of_a_token().await;
    without_authentication().await;
}
