//! Who may call the LLM routes.

use std::sync::Arc;

use portunus_mock::{ApiError, Fixture, ServerBuilder};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::{chat, client, header, json_of, message, post_chat, post_message, status_with};

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_token_is_taken_as_bearer_everywhere_and_in_the_providers_own_header() {
    let server = ServerBuilder::new().with_bearer_token("sk-1").build().await.unwrap();
    let url = server.url();
    let chat = || post_chat(&url, &chat("gpt-4o", "hi"));
    let message = || post_message(&url, &message("claude", "hi"));
    let models = || client().get(format!("{url}/v1/models"));

    for good in [
        chat().bearer_auth("sk-1"),
        chat().header("authorization", "bearer sk-1"),
        chat().header("authorization", "BEARER  sk-1"),
        message().bearer_auth("sk-1"),
        message().header("x-api-key", "sk-1"),
        message().header("x-api-key", "sk-1").bearer_auth("sk-1"),
        models().bearer_auth("sk-1"),
        models().header("x-api-key", "sk-1"),
        client().get(format!("{url}/health")),
    ] {
        assert_eq!(status(good).await, 200);
    }
    for bad in [
        chat(),
        chat().bearer_auth("sk-2"),
        chat().bearer_auth(""),
        chat().header("authorization", "Basic sk-1"),
        chat().header("authorization", "sk-1"),
        chat().header("x-api-key", "sk-1"),
        chat().header("api-key", "sk-1"),
        message(),
        message().header("x-api-key", "sk-2"),
        message().header("x-goog-api-key", "sk-1"),
        models(),
        client().post(format!("{url}/v1/responses")),
        client().post(format!("{url}/nowhere")),
        client().get(format!("{url}/v1/messages")),
    ] {
        assert_eq!(status(bad).await, 401);
    }
}

#[tokio::test]
async fn a_second_different_key_is_a_leak() {
    let server =
        ServerBuilder::new().with_bearer_token("sk-1").with_bearer_token("sk-2").build().await.unwrap();
    let url = server.url();
    for second in ["x-api-key", "api-key", "x-goog-api-key", "authorization"] {
        let value = if second == "authorization" { "Bearer sk-2" } else { "sk-2" };
        let request = post_chat(&url, &chat("m", "hi")).bearer_auth("sk-1").header(second, value);
        assert_eq!(status(request).await, 401, "{second}");
    }
}

#[tokio::test]
async fn the_documented_bodies() {
    let server = ServerBuilder::new().with_auth(true).build().await.unwrap();
    let url = server.url();
    let refused = async |request: RequestBuilder| {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(header(&answer, "www-authenticate"), Some(r#"Bearer realm="api""#));
        answer.text().await.unwrap()
    };
    for key in [None, Some("sk-wrong")] {
        let with =
            |request: RequestBuilder| key.map_or(request.try_clone().unwrap(), |k| request.bearer_auth(k));
        assert_eq!(
            refused(with(post_chat(&url, &chat("m", "hi")))).await,
            r#"{"error":{"message":"Invalid bearer token","type":"authentication_error","param":null,"code":"invalid_api_key"}}"#
        );
        assert_eq!(
            refused(with(post_message(&url, &message("m", "hi")))).await,
            r#"{"type":"error","error":{"type":"authentication_error","message":"Invalid bearer token"}}"#
        );
    }
}

#[tokio::test]
async fn the_faithful_bodies_of_openai() {
    let server =
        ServerBuilder::new().faithful().with_bearer_token_uses("sk-used-up", 0).build().await.unwrap();
    server.revoke_token("sk-revoked");
    let url = server.url();
    let openai = async |key: Option<&str>| {
        let mut request = post_chat(&url, &chat("m", "hi"));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        json_of(request.send().await.unwrap()).await["error"].clone()
    };
    let missing = openai(None).await;
    assert_eq!(
        missing,
        json!({"message": "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API from your browser and are prompted for a username and password. You can obtain an API key from https://platform.openai.com/account/api-keys.",
            "type": "invalid_request_error", "param": null, "code": null})
    );
    assert_eq!(
        openai(Some("sk-VKMIsABCDEFGHIJKLMNwjh3")).await,
        json!({"message": "Incorrect API key provided: sk-VKMIs****wjh3. You can find your API key at https://platform.openai.com/account/api-keys.",
            "type": "invalid_request_error", "param": null, "code": "invalid_api_key"})
    );
    let short = openai(Some("short-canary")).await;
    assert!(!short.to_string().contains("canary"), "{short}");
    let revoked = openai(Some("sk-revoked")).await;
    assert_eq!(
        revoked,
        json!({"message": "Your authentication token has been invalidated. Please try signing in again.",
            "type": "invalid_request_error", "param": null, "code": "invalid_authentication"})
    );
    let exhausted = openai(Some("sk-used-up")).await;
    let texts = [&missing, &short, &revoked, &exhausted].map(|error| error["message"].as_str().unwrap());
    assert!(texts.iter().enumerate().all(|(n, text)| !texts[..n].contains(text)), "{texts:?}");
}

#[tokio::test]
async fn the_faithful_bodies_of_anthropic() {
    let server = ServerBuilder::new().faithful().with_auth(true).build().await.unwrap();
    server.revoke_token("sk-revoked");
    let url = server.url();
    let anthropic = async |name: &'static str, key: &str| {
        let mut request = post_message(&url, &message("m", "hi"));
        if !name.is_empty() {
            request = request.header(name, key);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401);
        let id = header(&answer, "request-id").map(str::to_owned);
        let body = json_of(answer).await;
        assert_eq!(body["request_id"].as_str(), id.as_deref());
        assert_eq!(body["error"]["type"], "authentication_error");
        body["error"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(anthropic("", "").await, "x-api-key header is required");
    assert_eq!(anthropic("x-api-key", "wrong").await, "invalid x-api-key");
    assert_eq!(anthropic("authorization", "Bearer wrong").await, "Invalid bearer token");
    assert_eq!(anthropic("x-api-key", "sk-revoked").await, "Invalid authentication credentials");
    // An OAuth token is no API key, even if it is a good one.
    server.add_token("sk-ant-oat01-x");
    assert_eq!(anthropic("x-api-key", "sk-ant-oat01-x").await, "invalid x-api-key");
    // Even as a bearer token it needs a header that says so.
    assert_eq!(
        anthropic("authorization", "Bearer sk-ant-oat01-x").await,
        "OAuth authentication is currently not supported."
    );
    let with_beta = |token: &str| {
        let request = post_message(&url, &message("m", "hi")).bearer_auth(token);
        request.header("anthropic-beta", "other,oauth-2025-04-20")
    };
    assert_eq!(status(with_beta("sk-ant-oat01-x")).await, 200);
    let unknown = json_of(with_beta("sk-ant-oat01-y").send().await.unwrap()).await;
    assert_eq!(
        unknown["error"]["message"],
        "Invalid OAuth token. The provided token was not found or is malformed."
    );
    server.expire_key("sk-ant-oat01-x");
    let expired = json_of(with_beta("sk-ant-oat01-x").send().await.unwrap()).await;
    assert_eq!(
        expired["error"]["message"],
        "OAuth token has expired. Please obtain a new token or refresh your existing token."
    );
}

#[tokio::test]
async fn the_faithful_error_types() {
    let fixtures = [400, 403, 404, 413, 429, 500, 504, 529];
    let mut builder = ServerBuilder::new().faithful();
    for status in fixtures {
        builder =
            builder.fixture(Fixture::new().on_model(status.to_string()).respond_with_error(status, "x"));
    }
    let server = builder.build().await.unwrap();
    let url = server.url();
    for (code, openai, anthropic) in [
        (400, json!(["invalid_request_error", null]), "invalid_request_error"),
        (403, json!(["invalid_request_error", null]), "permission_error"),
        (404, json!(["invalid_request_error", "model_not_found"]), "not_found_error"),
        (413, json!(["invalid_request_error", null]), "request_too_large"),
        (429, json!(["requests", "rate_limit_exceeded"]), "rate_limit_error"),
        (500, json!(["server_error", null]), "api_error"),
        (504, json!(["server_error", null]), "timeout_error"),
        (529, json!(["server_error", null]), "overloaded_error"),
    ] {
        let model = code.to_string();
        let answer = post_chat(&url, &chat(&model, "hi")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), code);
        let error = json_of(answer).await["error"].clone();
        assert_eq!(json!([error["type"], error["code"]]), openai, "{code}");
        let answer = post_message(&url, &message(&model, "hi")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), code);
        assert_eq!(json_of(answer).await["error"]["type"], anthropic, "{code}");
    }
}

#[tokio::test]
async fn the_documented_error_types() {
    for (code, kind, name) in [
        (400, "invalid_request_error", "invalid_request"),
        (403, "permission_denied_error", "permission_denied"),
        (404, "not_found_error", "not_found"),
        (418, "api_error", "error"),
        (429, "rate_limit_error", "rate_limit_exceeded"),
        (500, "server_error", "server_error"),
        (502, "server_error", "bad_gateway"),
        (503, "server_error", "service_unavailable"),
        (529, "server_error", "overloaded"),
    ] {
        let server =
            ServerBuilder::new().fixture(Fixture::new().respond_with_error(code, "x")).build().await.unwrap();
        let answer = post_chat(&server.url(), &chat("m", "hi")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), code);
        let expected = json!({"error": {"message": "x", "type": kind, "param": null, "code": name}});
        assert_eq!(json_of(answer).await, expected);
    }
}

#[tokio::test]
async fn an_error_has_the_headers_that_a_test_chose() {
    let error = ApiError::rate_limited().retry_after(std::time::Duration::from_secs(9));
    let error = error.header("retry-after", "soon").header("x-own", "1");
    let server = ServerBuilder::new().fixture(Fixture::new().respond_with(error)).build().await.unwrap();
    let answer = post_chat(&server.url(), &chat("m", "hi")).send().await.unwrap();
    assert_eq!((header(&answer, "retry-after"), header(&answer, "x-own")), (Some("soon"), Some("1")));
    let bad = Fixture::new().respond_with(ApiError::overloaded().header("no name", "1"));
    assert!(ServerBuilder::new().fixture(bad).build().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_that_come_and_go_while_they_are_used_lock_nobody_out() {
    let server = Arc::new(ServerBuilder::new().with_bearer_token("steady").build().await.unwrap());
    let client = client();
    let calls: Vec<_> = (0..64)
        .map(|n| {
            let (server, client) = (Arc::clone(&server), client.clone());
            tokio::spawn(async move {
                let key = format!("sk-{}", n % 4);
                server.add_token_uses(&key, 3);
                let url = format!("{}/v1/chat/completions", server.url());
                let steady = client.post(url).json(&chat("m", "hi")).bearer_auth("steady");
                server.revoke_token(&key);
                server.expire_key(&key);
                status(steady).await
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn only_a_matched_request_costs_a_use() {
    let server = ServerBuilder::new()
        .with_bearer_token_uses("once", 1)
        .fixture(Fixture::new().on_model("m"))
        .build()
        .await
        .unwrap();
    let url = server.url();
    let sent = async |body: &Value| status(post_chat(&url, body).bearer_auth("once")).await;
    for _ in 0..3 {
        assert_eq!(sent(&json!({"model": "m"})).await, 400);
        assert_eq!(sent(&chat("other", "hi")).await, 404);
        assert_eq!(status(client().get(format!("{url}/v1/models")).bearer_auth("once")).await, 200);
        let count = client().post(format!("{url}/v1/messages/count_tokens")).json(&chat("m", "hi"));
        assert_eq!(status(count.bearer_auth("once")).await, 200);
    }
    assert_eq!(sent(&chat("m", "hi")).await, 200);
    assert_eq!(sent(&chat("m", "hi")).await, 401);
    // Refused before it is looked at.
    assert_eq!(sent(&json!({"model": "m"})).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_use_among_many_at_once_is_one_answer() {
    for uses in [1, 5] {
        let server =
            Arc::new(ServerBuilder::new().with_bearer_token_uses("few", uses).build().await.unwrap());
        let client = client();
        let calls: Vec<_> = (0..64)
            .map(|_| {
                let url = format!("{}/v1/chat/completions", server.url());
                let request = client.post(url).json(&chat("m", "hi")).bearer_auth("few");
                tokio::spawn(async move { status(request).await })
            })
            .collect();
        let (mut admitted, mut refused) = (0, 0);
        for call in calls {
            match call.await.unwrap() {
                200 => admitted += 1,
                401 => refused += 1,
                other => panic!("{other}"),
            }
        }
        assert_eq!((admitted, refused), (uses, 64 - uses));
    }
}

#[tokio::test]
async fn tokens_come_and_go_while_the_server_runs() {
    let server = ServerBuilder::new().build().await.unwrap();
    let url = server.url();
    assert_eq!(status_with(&url, "anything").await, 200);
    server.add_token("sk-1");
    assert_eq!(status_with(&url, "anything").await, 401);
    assert_eq!(status_with(&url, "sk-1").await, 200);
    server.revoke_token("sk-1");
    assert_eq!(status_with(&url, "sk-1").await, 401);
    // The last token is gone, and the server is still closed.
    assert_eq!(status_with(&url, "anything").await, 401);
    server.add_token_uses("sk-1", 2);
    assert_eq!(status_with(&url, "sk-1").await, 200);
    assert_eq!(status_with(&url, "sk-1").await, 200);
    assert_eq!(status_with(&url, "sk-1").await, 401);
}

#[tokio::test]
async fn switching_authentication_off_does_not_open_what_a_token_closed() {
    let server = ServerBuilder::new().with_bearer_token("sk-1").with_auth(false).build().await.unwrap();
    assert_eq!(status_with(&server.url(), "sk-2").await, 401);
}
