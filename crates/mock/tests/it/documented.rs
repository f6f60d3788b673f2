//! The programs that the documentation shows, as it shows them.

use portunus_mock::server::OAuthConfig;
use portunus_mock::{Fixture, ServerBuilder};

use crate::support::{client, json_of, post_chat, status_with};

#[tokio::test]
async fn bearer_tokens_with_and_without_a_use_count() {
    let server = ServerBuilder::new()
        .with_bearer_token("test-token-123")
        .with_bearer_token_uses("short-lived", 1)
        .fixture(Fixture::new().respond_with_content("hello"))
        .build()
        .await
        .unwrap();

    for _ in 0..3 {
        assert_eq!(status_with(&server.url(), "test-token-123").await, 200);
    }
    assert_eq!(status_with(&server.url(), "short-lived").await, 200);
    assert_eq!(status_with(&server.url(), "short-lived").await, 401);
    assert_eq!(status_with(&server.url(), "unknown").await, 401);
}

#[tokio::test]
async fn oauth_defaults_run_on_a_port_of_their_own() {
    let server = ServerBuilder::new()
        .with_auth(true)
        .with_oauth_defaults()
        .fixture(Fixture::new().respond_with_content("hello"))
        .build()
        .await
        .unwrap();
    let llm_url = server.url();
    let oauth_url = server.oauth_url().unwrap();
    assert_ne!(llm_url, oauth_url);
    assert_eq!(status_with(&llm_url, "anything").await, 401);
}

#[tokio::test]
async fn a_chosen_client_gets_a_token_and_calls_the_llm_with_it() {
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
    let oauth_url = server.oauth_url().unwrap();
    let client = client();

    let (client_id, client_secret) = server.oauth_client_credentials().await.unwrap();
    assert_eq!((&*client_id, &*client_secret), ("my-app", "my-secret"));
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
    let token = json_of(resp).await["access_token"].as_str().unwrap().to_owned();

    let body = serde_json::json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
    let answer = post_chat(&server.url(), &body).bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(json_of(answer).await["choices"][0]["message"]["content"], "hello");
}

#[tokio::test]
async fn the_life_of_a_token() {
    let server = ServerBuilder::new()
        .with_bearer_token_uses("one-use", 1)
        .with_oauth_defaults()
        .fixture(Fixture::new().respond_with_content("hello"))
        .build()
        .await
        .unwrap();

    assert_eq!(status_with(&server.url(), "one-use").await, 200);
    // Exhausted, and not passed on to OAuth.
    assert_eq!(status_with(&server.url(), "one-use").await, 401);

    let (id, secret) = server.oauth_client_credentials().await.unwrap();
    let form = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
    let url = format!("{}/token", server.oauth_url().unwrap());
    let token = json_of(client().post(url).form(&form).send().await.unwrap()).await;
    assert_eq!(status_with(&server.url(), token["access_token"].as_str().unwrap()).await, 200);
}

#[tokio::test]
async fn a_program_without_authentication_needs_none() {
    let server =
        ServerBuilder::new().fixture(Fixture::new().respond_with_content("hello")).build().await.unwrap();
    assert_eq!(server.oauth_url(), None);
    assert_eq!(server.oauth_client_credentials().await, None);
    let body = serde_json::json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(post_chat(&server.url(), &body).send().await.unwrap().status(), 200);
}
