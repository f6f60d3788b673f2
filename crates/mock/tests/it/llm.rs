//! The LLM routes without fixtures: shapes, errors and the names of models that fail.

use std::sync::Arc;

use portunus_auth_core::clock::ManualClock;
use portunus_mock::{MockServer, ServerBuilder};
use serde_json::{Value, json};

use crate::support::{
    chat, client, converse, header, invoke, json_of, message, post, post_chat, post_message, response, vertex,
};

async fn server() -> MockServer {
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    ServerBuilder::new().clock(clock).build().await.unwrap()
}

fn weather() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

#[tokio::test]
async fn an_openai_answer_has_every_member() {
    let server = server().await;
    let answer = post_chat(&server.url(), &chat("gpt-4o", "Hi there, you")).send().await.unwrap();
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    assert_eq!(
        json_of(answer).await,
        json!({
            "id": "chatcmpl-mock-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "gpt-4o",
            "choices": [{
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello from the mock.",
                    "refusal": null,
                    "annotations": [],
                },
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": 4,
                "completion_tokens": 5,
                "total_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            "service_tier": "default",
            "system_fingerprint": "fp_mock",
        })
    );
}

#[tokio::test]
async fn an_anthropic_answer_has_every_member() {
    let server = server().await;
    let mut body = message("claude-sonnet-4-5", "Hi");
    body["system"] = json!([{"type": "text", "text": "Be kind."}]);
    let answer = post_message(&server.url(), &body).send().await.unwrap();
    assert_eq!(
        json_of(answer).await,
        json!({
            "id": "msg_mock_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": "Hello from the mock."}],
            "stop_reason": "end_turn",
            "stop_sequence": null,
            "usage": {
                "input_tokens": 3,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 5,
                "service_tier": "standard",
            },
        })
    );
}

#[tokio::test]
async fn the_first_offered_tool_is_called_until_its_result_is_there() {
    let server = server().await;
    let mut body = chat("gpt-4o", "weather?");
    body["tools"] = json!([
        {"type": "custom", "custom": {"name": "not_ours"}},
        {"type": "function", "function": {"name": "get_weather", "parameters": weather()}},
    ]);
    let answer = json_of(post_chat(&server.url(), &body).send().await.unwrap()).await;
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    assert_eq!(
        choice["message"]["tool_calls"],
        json!([{
            "id": "call_mock_1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": r#"{"city":"Paris"}"#},
        }])
    );
    let turns = body["messages"].as_array_mut().unwrap();
    turns.push(choice["message"].clone());
    turns.push(json!({"role": "tool", "tool_call_id": "call_mock_1", "content": "sunny"}));
    let answer = json_of(post_chat(&server.url(), &body).send().await.unwrap()).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");

    let mut body = message("claude", "weather?");
    body["tools"] = json!([
        {"type": "web_search_20250305", "name": "web_search"},
        {"name": "get_weather", "input_schema": weather()},
    ]);
    let answer = json_of(post_message(&server.url(), &body).send().await.unwrap()).await;
    assert_eq!(answer["stop_reason"], "tool_use");
    let called = json!([{"type": "tool_use", "id": "toolu_mock_1", "name": "get_weather", "input": {"city": "Paris"}}]);
    assert_eq!(answer["content"], called);
    let turns = body["messages"].as_array_mut().unwrap();
    turns.push(json!({"role": "assistant", "content": answer["content"]}));
    let result = json!([{"type": "tool_result", "tool_use_id": "toolu_mock_1", "content": "sunny"}]);
    turns.push(json!({"role": "user", "content": result}));
    let answer = json_of(post_message(&server.url(), &body).send().await.unwrap()).await;
    assert_eq!(answer["stop_reason"], "end_turn");
}

#[tokio::test]
async fn every_answer_names_its_request_in_the_dialects_own_header() {
    let server = server().await;
    let url = server.url();
    let get = |path: &str| client().get(format!("{url}{path}"));
    for (request, name) in [
        (post_chat(&url, &chat("gpt-4o", "hi")), "x-request-id"),
        (post_chat(&url, &chat("mock-429", "hi")), "x-request-id"),
        (post_chat(&url, &json!([])), "x-request-id"),
        (get("/v1/models"), "x-request-id"),
        (get("/nowhere"), "x-request-id"),
        (post_message(&url, &message("claude", "hi")), "request-id"),
        (post_message(&url, &json!({})), "request-id"),
        (post_chat(&url, &chat("gpt-4o", "hi")).header("anthropic-version", "x"), "x-request-id"),
        (get("/v1/messages/nowhere"), "request-id"),
        (get("/v1/models").header("x-api-key", "k"), "request-id"),
    ] {
        let answer = request.send().await.unwrap();
        let id = header(&answer, name).map(str::to_owned);
        assert!(id.as_deref().is_some_and(|id| id.starts_with("req_mock_")), "{answer:?}");
        if let Some(inside) = json_of(answer).await["request_id"].as_str() {
            assert_eq!(Some(inside), id.as_deref());
        }
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_in_the_dialects_own_words_without_repeating_them() {
    let server = server().await;
    let url = server.url();
    let bodies = [
        "",
        "{",
        "[]",
        "canary",
        r#""canary""#,
        r#"{"model":"m"}"#,
        r#"{"model":"m","messages":[]}"#,
        r#"{"model":"","messages":[{"role":"user","content":"hi"}],"max_tokens":1}"#,
        r#"{"model":1,"messages":[{"role":"user","content":"canary"}]}"#,
        r#"{"model":"m","stream":"canary","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"model":"m","model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"model":"m","max_tokens":1,"messages":"canary"}"#,
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":{"canary":1}}]}"#,
    ];
    for body in bodies {
        for (path, kind) in [("/v1/chat/completions", "openai"), ("/v1/messages", "anthropic")] {
            let answer = client().post(format!("{url}{path}")).body(body).send().await.unwrap();
            assert_eq!(answer.status(), 400, "{path} {body}");
            let text = answer.text().await.unwrap();
            assert!(!text.contains("canary"), "{text}");
            let said: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(said["error"]["type"], "invalid_request_error", "{kind}");
            assert_eq!(said["type"] == "error", kind == "anthropic");
        }
    }
    let mut no_limit = message("claude", "hi");
    no_limit.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(post_message(&url, &no_limit).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn unusual_but_lawful_contents_reach_a_reply() {
    let server = server().await;
    let image = json!([{"type": "image_url", "image_url": {"url": "data:,"}}]);
    for content in
        [json!(null), json!(""), json!(" "), json!([]), image, json!([{"type": "text", "text": "a"}])]
    {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": content}], "x": {"y": [1]}});
        assert_eq!(post_chat(&server.url(), &body).send().await.unwrap().status(), 200, "{body}");
    }
    let missing = json!({"model": "m", "stream": null, "tools": null, "messages": [
        {"role": "assistant", "tool_calls": [{"id": "c"}]}, {"role": "tool", "content": "x"}]});
    assert_eq!(post_chat(&server.url(), &missing).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn unknown_routes_methods_and_sizes_are_refused_per_dialect() {
    let server = ServerBuilder::new().body_limit(200).build().await.unwrap();
    let url = server.url();
    let unknown = client().post(format!("{url}/v1/audio")).send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    assert_eq!(json_of(unknown).await["error"]["code"], "not_found");
    let unknown = client().post(format!("{url}/v1/messages/batches")).send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    assert_eq!(json_of(unknown).await["error"]["type"], "not_found_error");
    let wrong = client().get(format!("{url}/v1/messages")).send().await.unwrap();
    assert_eq!((wrong.status().as_u16(), header(&wrong, "allow")), (405, Some("POST")));

    let long = "x".repeat(1 << 20);
    let large = post_message(&url, &message("claude", &long)).send().await.unwrap();
    assert_eq!(large.status(), 413);
    assert_eq!(json_of(large).await["error"]["type"], "request_too_large");
    assert_eq!(post_chat(&url, &chat("gpt-4o", &long)).send().await.unwrap().status(), 413);
    assert_eq!(post_chat(&url, &chat("gpt-4o", "short")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn names_of_models_trigger_the_usual_errors() {
    let server = server().await;
    let url = server.url();
    let asked = async |model: &str| post_message(&url, &message(model, "hi")).send().await.unwrap();

    assert_eq!(json_of(asked("no-such-model").await).await["error"]["type"], "not_found_error");
    for _ in 0..2 {
        let limited = asked("mock-429").await;
        assert_eq!((limited.status().as_u16(), header(&limited, "retry-after")), (429, Some("1")));
        assert_eq!(json_of(limited).await["error"]["type"], "rate_limit_error");
    }
    let overloaded = asked("mock-529").await;
    assert_eq!((overloaded.status().as_u16(), header(&overloaded, "x-should-retry")), (529, Some("true")));
    assert_eq!(json_of(overloaded).await["error"]["type"], "overloaded_error");

    for (model, first) in [("mock-429-once-a", 429), ("mock-503-once-a", 503), ("mock-429-once-b", 429)] {
        let refused = asked(model).await;
        assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (first, Some("1")));
        assert_eq!(asked(model).await.status(), 200);
    }
    assert_eq!(asked("mock-200-once-a").await.status(), 200);

    let chatted = async |model: &str| post_chat(&url, &chat(model, "hi")).send().await.unwrap().status();
    assert_eq!(chatted("no-such-model").await, 404);
    assert_eq!(chatted("mock-429").await, 429);
}

#[tokio::test]
async fn models_health_and_token_counts_are_served() {
    let server = server().await;
    let url = server.url();
    let get = async |path: &str, header: &'static str| {
        json_of(client().get(format!("{url}{path}")).header(header, "x").send().await.unwrap()).await
    };
    let openai = get("/v1/models", "accept").await;
    assert_eq!(openai["object"], "list");
    let first = json!({"id": "mock-model", "object": "model", "created": 1_700_000_000, "owned_by": "mock"});
    assert_eq!(openai["data"][0], first);
    for header in ["anthropic-version", "x-api-key"] {
        let anthropic = get("/v1/models", header).await;
        assert_eq!(anthropic["data"][0]["type"], "model");
        assert_eq!(anthropic["has_more"], false);
        assert_eq!(anthropic["first_id"], anthropic["data"][0]["id"]);
        assert_eq!(anthropic["last_id"], anthropic["data"][1]["id"]);
    }
    assert_eq!(get("/health", "accept").await, json!({"status": "ok"}));

    let count = json!({"model": "claude", "messages": [{"role": "user", "content": "12345678"}]});
    let counted = client().post(format!("{url}/v1/messages/count_tokens")).json(&count).send().await.unwrap();
    assert_eq!(json_of(counted).await, json!({"input_tokens": 2}));
}

#[tokio::test]
async fn a_longer_history_costs_more_tokens() {
    let server = server().await;
    let used = async |body: &Value| {
        let answer = json_of(post_chat(&server.url(), body).send().await.unwrap()).await;
        answer["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let mut body = chat("gpt-4o", "how do you do?");
    let short = used(&body).await;
    body["messages"].as_array_mut().unwrap().insert(0, json!({"role": "system", "content": "x".repeat(400)}));
    assert_eq!(used(&body).await, short + 100);
}

#[tokio::test]
async fn a_stream_that_is_asked_for_in_text_is_an_error_and_never_no_stream() {
    let server = server().await;
    for (path, mut body) in [
        ("/v1/chat/completions", chat("m", "hi")),
        ("/openai/deployments/d/chat/completions", chat("m", "hi")),
        ("/v1/responses", response("m", "hi")),
        ("/v1/messages", message("m", "hi")),
        (&vertex("anthropic/models/m:rawPredict"), invoke("hi")),
    ] {
        for said in ["true", "false", ""] {
            body["stream"] = said.into();
            assert_eq!(post(&server.url(), path, &body).send().await.unwrap().status(), 400, "{path} {said}");
        }
    }
}

#[tokio::test]
async fn what_is_too_large_has_an_id_too() {
    let server = ServerBuilder::new().body_limit(100).build().await.unwrap();
    let long = "x".repeat(200);
    for (path, body, name) in [
        ("/v1/chat/completions", chat("m", &long), "x-request-id"),
        ("/v1/messages", message("m", &long), "request-id"),
        ("/openai/deployments/d/chat/completions", chat("m", &long), "apim-request-id"),
        ("/model/m/converse", converse(&long), "x-amzn-requestid"),
    ] {
        let answer = post(&server.url(), path, &body).send().await.unwrap();
        assert_eq!(answer.status(), 413, "{path}");
        assert!(header(&answer, name).is_some(), "{path}");
    }
}
