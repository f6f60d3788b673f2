//! Errors, refused credentials and rate limits as each provider words them.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_mock::{ApiError, Fixture, Key, MockServer, Quota, RateLimits, Reply, ServerBuilder};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{
    chat, client, contents, converse, events, header, json_of, message, post, post_chat, post_message,
    response, streamed, vertex,
};

const GEMINI: &str = "/v1beta/models/gemini-2.0-flash:generateContent";
const AZURE: &str = "/openai/deployments/d/chat/completions";

fn builder() -> ServerBuilder {
    ServerBuilder::new().clock(Arc::new(ManualClock::at_unix(1_700_000_000)))
}

/// A server that speaks as the providers do and answers everything with that error.
async fn failing(error: ApiError) -> MockServer {
    builder().faithful().fixture(Fixture::new().respond_with(error)).build().await.unwrap()
}

async fn sent(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), json_of(answer).await)
}

fn info(reason: &str, service: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com",
        "metadata": {"service": service}})
}

#[tokio::test]
async fn refused_credentials_of_google() {
    let server = builder().faithful().with_auth(true).build().await.unwrap();
    let url = server.url();
    let gemini = || post(&url, GEMINI, &contents("hi"));
    let says = "API key not valid. Please pass a valid API key.";
    let bad_key = json!({"error": {"code": 400, "message": says, "status": "INVALID_ARGUMENT", "details": [
        info("API_KEY_INVALID", "generativelanguage.googleapis.com"),
        {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": says}]}});
    let answer = gemini().header("x-goog-api-key", "wrong").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "www-authenticate")), (400, None));
    assert_eq!(json_of(answer).await, bad_key);
    assert_eq!(sent(post(&url, &format!("{GEMINI}?key=wrong"), &contents("hi"))).await, (400, bad_key));

    let answer = gemini().send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "www-authenticate")), (403, None));
    assert_eq!(
        json_of(answer).await,
        json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API."}})
    );

    let bad_token = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";
    let unauthenticated = json!({"error": {"code": 401, "message": bad_token, "status": "UNAUTHENTICATED"}});
    assert_eq!(sent(gemini().bearer_auth("wrong")).await, (401, unauthenticated.clone()));

    let path = vertex("google/models/g:generateContent");
    let vertex = || post(&url, &path, &contents("hi"));
    assert_eq!(sent(vertex().bearer_auth("wrong")).await, (401, unauthenticated.clone()));
    let mut missing = unauthenticated;
    missing["error"]["details"] = json!([info("CREDENTIALS_MISSING", "aiplatform.googleapis.com")]);
    assert_eq!(sent(vertex().header("x-goog-api-key", "wrong")).await, (401, missing.clone()));
    assert_eq!(sent(post(&url, &format!("{path}?key=wrong"), &contents("hi"))).await, (401, missing));
}

#[tokio::test]
async fn refused_credentials_of_azure() {
    let server = builder().faithful().with_key(Key::new("good")).build().await.unwrap();
    let ask = || post(&server.url(), AZURE, &chat("d", "hi"));
    let denied = json!({"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."}});
    for bad in [
        ask(),
        ask().header("api-key", "wrong"),
        ask().bearer_auth("wrong"),
        ask().header("x-api-key", "good"),
    ] {
        assert_eq!(sent(bad).await, (401, denied.clone()));
    }
    for good in [ask().header("api-key", "good"), ask().bearer_auth("good")] {
        assert_eq!(sent(good).await.0, 200);
    }
}

#[tokio::test]
async fn the_documented_profile_has_one_text_for_every_cause() {
    let server = builder().with_auth(true).build().await.unwrap();
    let url = server.url();
    let says = "Invalid bearer token";
    for request in [
        post(&url, GEMINI, &contents("hi")),
        post(&url, GEMINI, &contents("hi")).header("x-goog-api-key", "wrong"),
        post(&url, &vertex("google/models/g:generateContent"), &contents("hi")),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(header(&answer, "www-authenticate"), Some(r#"Bearer realm="api""#));
        let expected = json!({"error": {"code": 401, "message": says, "status": "UNAUTHENTICATED"}});
        assert_eq!((answer.status().as_u16(), json_of(answer).await), (401, expected));
    }
    let (status, responses) = sent(post(&url, "/v1/responses", &response("m", "hi"))).await;
    let expected = json!({"error": {"message": says, "type": "authentication_error", "param": null, "code": "invalid_api_key"}});
    assert_eq!((status, responses), (401, expected));
    let (_, azure) = sent(post(&url, AZURE, &chat("d", "hi"))).await;
    assert_eq!(azure, json!({"error": {"code": "401", "message": says}}));
}

#[tokio::test]
async fn each_providers_own_places_for_a_key() {
    let server = builder().with_key(Key::new("good")).build().await.unwrap();
    let url = server.url();
    let gemini = || post(&url, GEMINI, &contents("hi"));
    let by_query = |path: &str, key: &str| post(&url, &format!("{path}?key={key}"), &contents("hi"));
    for good in [
        gemini().header("x-goog-api-key", "good"),
        gemini().bearer_auth("good"),
        by_query(GEMINI, "good"),
        by_query(GEMINI, "good").header("x-goog-api-key", "good"),
    ] {
        assert_eq!(sent(good).await.0, 200);
    }
    let path = vertex("google/models/g:generateContent");
    let vertex = || post(&url, &path, &contents("hi"));
    assert_eq!(sent(vertex().bearer_auth("good")).await.0, 200);
    for bad in [
        gemini().header("x-api-key", "good"),
        gemini().header("api-key", "good"),
        // A second key that leaks.
        by_query(GEMINI, "other").header("x-goog-api-key", "good"),
        vertex().header("x-goog-api-key", "good"),
        by_query(&path, "good"),
        post_chat(&url, &chat("m", "hi")).header("x-goog-api-key", "good"),
        post(&url, "/v1/chat/completions?key=good", &chat("m", "hi")),
    ] {
        assert_eq!(sent(bad).await.0, 401);
    }
}

#[tokio::test]
async fn missing_wrong_expired_revoked_and_exhausted_differ() {
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    let server = ServerBuilder::new()
        .faithful()
        .clock(clock.clone())
        .with_key(Key::new("short").ttl(Duration::from_secs(60)))
        .with_key(Key::new("revoked"))
        .with_key(Key::new("used").uses(0))
        .build()
        .await
        .unwrap();
    server.revoke_token("revoked");
    let url = server.url();
    type Ask = fn(&str) -> RequestBuilder;
    let dialects: [(&str, Ask); 4] = [
        ("authorization", |url| post_chat(url, &chat("m", "hi"))),
        ("x-api-key", |url| post_message(url, &message("m", "hi"))),
        ("x-goog-api-key", |url| post(url, GEMINI, &contents("hi"))),
        ("authorization", |url| post(url, "/model/m/converse", &converse("hi"))),
    ];
    let with = |name: &str, request: RequestBuilder, key: &str| {
        request.header(name, if name == "authorization" { format!("Bearer {key}") } else { key.to_owned() })
    };
    for (name, ask) in dialects {
        assert_eq!(sent(with(name, ask(&url), "short")).await.0, 200);
    }
    clock.advance(Duration::from_secs(60));
    for (name, ask) in dialects {
        let mut texts = vec![sent(ask(&url)).await.1];
        for key in ["unknown", "short", "revoked", "used"] {
            let (status, body) = sent(with(name, ask(&url), key)).await;
            assert!((400..404).contains(&status), "{status}");
            texts.push(body);
        }
        let text = |body: &Value| body.pointer("/error/message").unwrap_or(&body["message"]).to_string();
        let mut texts: Vec<String> = texts.iter().map(text).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 5, "{name}: {texts:?}");
    }
}

#[tokio::test]
async fn keys_come_to_an_end_and_begin_anew() {
    let server = builder().with_key(Key::new("k").uses(2).models(["gpt-4o"])).build().await.unwrap();
    let ask = async |model: &str| sent(post_chat(&server.url(), &chat(model, "hi")).bearer_auth("k")).await;
    // What the key may not ask for costs it nothing.
    assert_eq!(ask("gpt-4").await.0, 403);
    assert_eq!(server.uses_left("k"), Some(2));
    assert_eq!(ask("gpt-4o").await.1["id"], "chatcmpl-mock-1");
    assert_eq!(server.uses_left("k"), Some(1));
    assert!(server.expire_key("k") && !server.expire_key("other"));
    assert_eq!(ask("gpt-4o").await.0, 401);
    server.reset();
    assert_eq!((server.uses_left("k"), server.requests().len()), (Some(2), 0));
    assert_eq!(ask("gpt-4o").await.1["id"], "chatcmpl-mock-1");
    server.revoke_token("k");
    assert_eq!(ask("gpt-4o").await.0, 401);
    server.add_key(Key::new("k"));
    assert_eq!(ask("gpt-4").await.0, 200);
}

#[tokio::test]
async fn a_good_key_that_may_not() {
    let server = builder().faithful().with_key(Key::new("k").models(["other"])).build().await.unwrap();
    let url = server.url();
    let (status, openai) = sent(post_chat(&url, &chat("gpt-4o", "hi")).bearer_auth("k")).await;
    assert_eq!((status, &openai["error"]["type"]), (403, &json!("invalid_request_error")));
    let (status, anthropic) = sent(post_message(&url, &message("m", "hi")).bearer_auth("k")).await;
    assert_eq!((status, &anthropic["error"]["type"]), (403, &json!("permission_error")));
    assert!(anthropic["request_id"].is_string());
    let (status, gemini) = sent(post(&url, GEMINI, &contents("hi")).header("x-goog-api-key", "k")).await;
    assert_eq!(
        (status, gemini),
        (
            403,
            json!({"error": {"code": 403, "message": "The caller does not have permission", "status": "PERMISSION_DENIED"}})
        )
    );
    let bedrock = post(&url, "/model/m/converse", &converse("hi")).bearer_auth("k").send().await.unwrap();
    assert_eq!(
        (bedrock.status().as_u16(), header(&bedrock, "x-amzn-errortype")),
        (403, Some("AccessDeniedException"))
    );
}

#[tokio::test]
async fn a_key_may_be_for_some_paths_only() {
    let server = builder().with_key(Key::new("k").paths(["/v1/messages"])).build().await.unwrap();
    let url = server.url();
    assert_eq!(sent(post_message(&url, &message("m", "hi")).bearer_auth("k")).await.0, 200);
    assert_eq!(sent(post_chat(&url, &chat("m", "hi")).bearer_auth("k")).await.0, 403);
}

#[tokio::test]
async fn a_challenge_points_to_metadata_where_a_test_asks_for_it() {
    let server =
        builder().resource_metadata().with_key(Key::new("k").models(["other"])).build().await.unwrap();
    let url = server.url();
    let challenge = async |key: Option<&str>| {
        let request = post_chat(&url, &chat("m", "hi"));
        let request = key.map_or(request.try_clone().unwrap(), |key| request.bearer_auth(key));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), header(&answer, "www-authenticate").unwrap().to_owned())
    };
    let metadata = format!("{url}/.well-known/oauth-protected-resource");
    let says = |error: &str| format!("Bearer resource_metadata=\"{metadata}\"{error}");
    assert_eq!(challenge(None).await, (401, says("")));
    assert_eq!(challenge(Some("wrong")).await, (401, says(", error=\"invalid_token\"")));
    assert_eq!(challenge(Some("k")).await, (403, says(", error=\"insufficient_scope\"")));
    let found = json_of(client().get(&metadata).send().await.unwrap()).await;
    assert_eq!(found, json!({"resource": url, "bearer_methods_supported": ["header"]}));
}

#[cfg(feature = "oauth")]
#[tokio::test]
async fn the_metadata_name_the_oauth_server() {
    let server = builder().resource_metadata().with_oauth_defaults().build().await.unwrap();
    let metadata = format!("{}/.well-known/oauth-protected-resource", server.url());
    let found = json_of(client().get(&metadata).send().await.unwrap()).await;
    assert_eq!(found["authorization_servers"], json!([server.oauth_url().unwrap()]));
}

#[tokio::test]
async fn rate_limits_of_openai_and_azure() {
    let server = failing(ApiError::rate_limited()).await;
    let answer = post_chat(&server.url(), &chat("gpt-4o", "hi")).send().await.unwrap();
    // One was seen without any header, and that is what there is if nobody asks for more.
    assert_eq!((header(&answer, "retry-after"), header(&answer, "x-ratelimit-limit-requests")), (None, None));
    assert_eq!(
        (answer.status().as_u16(), json_of(answer).await),
        (
            429,
            json!({"error": {"message": "Rate limit reached for gpt-4o in organization org-mock on tokens per min (TPM): Limit 30000, Used 29937, Requested 385. Please try again in 644ms. Visit https://platform.openai.com/account/rate-limits to learn more.",
            "type": "tokens", "param": null, "code": "rate_limit_exceeded"}})
        )
    );
    let quota = json!({"error": {"message": "You exceeded your current quota, please check your plan and billing details.",
        "type": "insufficient_quota", "param": null, "code": "insufficient_quota"}});
    let server = failing(ApiError::out_of_quota()).await;
    assert_eq!(sent(post_chat(&server.url(), &chat("m", "hi"))).await, (429, quota));
    let server = failing(ApiError::overloaded()).await;
    let (status, body) = sent(post_chat(&server.url(), &chat("m", "hi"))).await;
    assert_eq!((status, &body["error"]["type"]), (503, &json!("server_error")));

    let limits = RateLimits {
        requests: Quota::new(500, 0, Duration::from_millis(120)),
        tokens: Quota::new(30_000, 63, Duration::from_secs(60)),
    };
    let server =
        failing(ApiError::rate_limited().retry_after(Duration::from_millis(1_500)).rate_limits(limits)).await;
    for path in ["/v1/chat/completions", AZURE] {
        let answer = post(&server.url(), path, &chat("m", "hi")).send().await.unwrap();
        for (name, value) in [
            ("retry-after", "2"),
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-limit-tokens", "30000"),
            ("x-ratelimit-remaining-tokens", "63"),
            ("x-ratelimit-reset-tokens", "1m0s"),
        ] {
            assert_eq!(header(&answer, name), Some(value), "{path} {name}");
        }
        assert!(json_of(answer).await["error"]["message"].as_str().unwrap().contains("try again in 1.5s"));
    }
}

fn check_anthropic_limits(answer: &Response) {
    for kind in ["requests", "tokens", "input-tokens", "output-tokens"] {
        let says = |what: &str| header(answer, &format!("anthropic-ratelimit-{kind}-{what}")).unwrap();
        let (limit, remaining) = if kind == "requests" { ("50", "49") } else { ("1000", "10") };
        assert_eq!((says("limit"), says("remaining")), (limit, remaining), "{kind}");
        let reset = humantime::parse_rfc3339(says("reset")).unwrap();
        let seconds = reset.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds, if kind == "requests" { 1_700_000_000 } else { 1_700_000_002 });
    }
}

#[tokio::test]
async fn rate_limits_of_anthropic_also_on_answers() {
    let server = failing(ApiError::rate_limited().retry_after(Duration::from_secs(2))).await;
    let answer = post_message(&server.url(), &message("m", "hi")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (429, Some("2")));
    assert_eq!(
        json_of(answer).await["error"],
        json!({"type": "rate_limit_error",
        "message": "This request would exceed your account's rate limit. Please try again later."})
    );
    let server = failing(ApiError::overloaded()).await;
    let answer = post_message(&server.url(), &message("m", "hi")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "x-should-retry")), (529, Some("true")));
    assert_eq!(json_of(answer).await["error"], json!({"type": "overloaded_error", "message": "Overloaded"}));
    let server = failing(ApiError::out_of_quota()).await;
    let (status, body) = sent(post_message(&server.url(), &message("m", "hi"))).await;
    assert_eq!((status, &body["error"]["type"]), (402, &json!("billing_error")));

    let limits = RateLimits {
        requests: Quota::new(50, 49, Duration::ZERO),
        tokens: Quota::new(1_000, 10, Duration::from_millis(1_200)),
    };
    let fixture = Fixture::new().reply(Reply::from("Hi").rate_limits(limits));
    let server = builder().fixture(fixture).build().await.unwrap();
    for body in [message("m", "hi"), streamed(message("m", "hi"))] {
        let answer = post_message(&server.url(), &body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        check_anthropic_limits(&answer);
    }
    let answer = post_chat(&server.url(), &chat("m", "hi")).send().await.unwrap();
    assert_eq!(header(&answer, "x-ratelimit-reset-tokens"), Some("1.2s"));
}

#[tokio::test]
async fn google_says_in_the_body_when_to_come_back() {
    let wait = Duration::from_nanos(47_434_392_449);
    let server = failing(ApiError::rate_limited().retry_after(wait)).await;
    let answer = post(&server.url(), GEMINI, &contents("hi")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (429, None));
    let error = json_of(answer).await["error"].clone();
    assert_eq!((&error["code"], &error["status"]), (&json!(429), &json!("RESOURCE_EXHAUSTED")));
    assert!(error["message"].as_str().unwrap().ends_with("\nPlease retry in 47.434392449s."));
    assert_eq!(
        error["details"],
        json!([
            {"@type": "type.googleapis.com/google.rpc.Help", "links": [{
                "description": "Learn more about Gemini API quotas",
                "url": "https://ai.google.dev/gemini-api/docs/rate-limits"}]},
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_paid_tier_input_token_count",
                "quotaId": "GenerateContentPaidTierInputTokensPerModelPerMinute",
                "quotaDimensions": {"location": "global", "model": "gemini-2.0-flash"},
                "quotaValue": "4000000"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "48s"},
        ])
    );
    let bare = json!({"error": {"code": 429, "message": "Resource has been exhausted (e.g. check quota).", "status": "RESOURCE_EXHAUSTED"}});
    let server = failing(ApiError::out_of_quota()).await;
    assert_eq!(sent(post(&server.url(), GEMINI, &contents("hi"))).await, (429, bare.clone()));
    // Where a stream would be an array, the error is in one.
    let stream = "/v1beta/models/m:streamGenerateContent";
    assert_eq!(sent(post(&server.url(), stream, &contents("hi"))).await, (429, json!([bare])));
    assert_eq!(sent(post(&server.url(), &format!("{stream}?alt=sse"), &contents("hi"))).await, (429, bare));
}

#[tokio::test]
async fn statuses_of_google_and_bedrock() {
    for (status, google, bedrock) in [
        (400, "INVALID_ARGUMENT", "ValidationException"),
        (403, "PERMISSION_DENIED", "AccessDeniedException"),
        (404, "NOT_FOUND", "ResourceNotFoundException"),
        (429, "RESOURCE_EXHAUSTED", "ThrottlingException"),
        (500, "INTERNAL", "InternalServerException"),
        (503, "UNAVAILABLE", "ServiceUnavailableException"),
        (504, "DEADLINE_EXCEEDED", "ModelTimeoutException"),
    ] {
        let server = failing(ApiError::new(status, "x")).await;
        let expected = json!({"error": {"code": status, "message": "x", "status": google}});
        assert_eq!(sent(post(&server.url(), GEMINI, &contents("hi"))).await, (status, expected));
        let answer = post(&server.url(), "/model/m/converse", &converse("hi")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "x-amzn-errortype")), (status, Some(bedrock)));
        assert_eq!(json_of(answer).await, json!({"message": "x"}));
    }
}

#[tokio::test]
async fn a_stream_breaks_off_with_the_providers_error() {
    let reply = Reply::from("Hi").fail_after_frames(2, ApiError::overloaded());
    let server = builder().faithful().fixture(Fixture::new().reply(reply)).build().await.unwrap();
    let stream = post_message(&server.url(), &streamed(message("m", "hi"))).send().await.unwrap();
    let text = stream.text().await.unwrap();
    let mut frames = events(&text);
    assert_eq!(frames.len(), 3);
    let (name, data) = frames.pop().unwrap();
    assert_eq!(name.as_deref(), Some("error"));
    assert_eq!(
        serde_json::from_str::<Value>(&data).unwrap(),
        json!({"type": "error", "error": {"details": null, "type": "overloaded_error", "message": "Overloaded"}})
    );

    let stream = post_chat(&server.url(), &streamed(chat("m", "hi"))).send().await.unwrap();
    let (name, data) = events(&stream.text().await.unwrap()).pop().unwrap();
    assert_eq!(name, None);
    assert_eq!(
        serde_json::from_str::<Value>(&data).unwrap(),
        json!({"error": {
        "message": "The server is currently overloaded with other requests.", "type": "server_error", "param": null, "code": null}})
    );
}
