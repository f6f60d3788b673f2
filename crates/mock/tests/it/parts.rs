//! Replies of several parts, and what they say about themselves, in every dialect.

use portunus_mock::{Fixture, MockServer, Reply, StartError, Stop};
use serde_json::{Value, json};

use crate::support::{
    chat, contents, converse, events, frozen, json_of, message, post, post_chat, post_message, response,
    streamed,
};

const GEMINI: &str = "/v1beta/models/m:generateContent";
const GEMINI_STREAM: &str = "/v1beta/models/m:streamGenerateContent?alt=sse";
const SIGNATURE: &str = "bW9jay1zaWduYXR1cmU=";

/// Thought, text, a call, and text again.
fn mixed() -> Reply {
    Reply::new().thinking("Hm").text("So").tool_call("f", json!({"a": 1})).text("Well").chunks(1)
}

async fn whole(server: &MockServer, path: &str, body: &Value) -> Value {
    json_of(post(&server.url(), path, body).send().await.unwrap()).await
}

async fn streamed_data(server: &MockServer, path: &str, body: &Value) -> Vec<Value> {
    let stream = post(&server.url(), path, body).send().await.unwrap().text().await.unwrap();
    let data = events(&stream).into_iter().filter(|(_, data)| data != "[DONE]");
    data.map(|(_, data)| serde_json::from_str(&data).unwrap()).collect()
}

#[tokio::test]
async fn parts_stay_in_their_order_where_the_dialect_has_one() {
    let server = frozen([Fixture::new().reply(mixed())]).await;
    let anthropic = whole(&server, "/v1/messages", &message("m", "hi")).await;
    assert_eq!(
        anthropic["content"],
        json!([
            {"type": "thinking", "thinking": "Hm", "signature": SIGNATURE},
            {"type": "text", "text": "So"},
            {"type": "tool_use", "id": "toolu_mock_1", "name": "f", "input": {"a": 1}},
            {"type": "text", "text": "Well"},
        ])
    );
    assert_eq!(anthropic["stop_reason"], "tool_use");
    assert_eq!(
        whole(&server, GEMINI, &contents("hi")).await["candidates"][0]["content"]["parts"],
        json!([
            {"text": "Hm", "thought": true, "thoughtSignature": SIGNATURE},
            {"text": "So"},
            {"functionCall": {"name": "f", "args": {"a": 1}}},
            {"text": "Well"},
        ])
    );
    assert_eq!(
        whole(&server, "/model/m/converse", &converse("hi")).await["output"]["message"]["content"],
        json!([
            {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": SIGNATURE}}},
            {"text": "So"},
            {"toolUse": {"toolUseId": "tooluse_mock_1", "name": "f", "input": {"a": 1}}},
            {"text": "Well"},
        ])
    );
    let output = whole(&server, "/v1/responses", &response("m", "hi")).await["output"].clone();
    let kinds: Vec<&str> =
        output.as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call", "message"]);
    let thought =
        json!({"type": "reasoning", "id": "rs_mock_1", "summary": [{"type": "summary_text", "text": "Hm"}]});
    assert_eq!(output[0], thought);

    // Chat completions have one text, and do not show what was thought.
    let openai = whole(&server, "/v1/chat/completions", &chat("m", "hi")).await;
    let said = &openai["choices"][0]["message"];
    assert_eq!(
        (&said["content"], &said["tool_calls"][0]["function"]["name"]),
        (&json!("SoWell"), &json!("f"))
    );
    assert_eq!(openai["usage"]["completion_tokens_details"]["reasoning_tokens"], 1);
    assert!(!openai.to_string().contains("Hm"));
}

#[tokio::test]
async fn thinking_is_streamed_before_its_signature() {
    let server = frozen([Fixture::new().reply(Reply::new().thinking("Hm").text("So").chunks(2))]).await;
    let anthropic = streamed_data(&server, "/v1/messages", &streamed(message("m", "hi"))).await;
    let delta = |delta: Value| json!({"type": "content_block_delta", "index": 0, "delta": delta});
    assert_eq!(
        anthropic[1],
        json!({"type": "content_block_start", "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""}})
    );
    assert_eq!(
        anthropic[3..6],
        [
            delta(json!({"type": "thinking_delta", "thinking": "H"})),
            delta(json!({"type": "thinking_delta", "thinking": "m"})),
            delta(json!({"type": "signature_delta", "signature": SIGNATURE})),
        ]
    );

    let kinds: Vec<Value> = streamed_data(&server, "/v1/responses", &streamed(response("m", "hi")))
        .await
        .into_iter()
        .map(|mut event| event["type"].take())
        .collect();
    assert_eq!(
        kinds[2..9],
        [
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
        ]
    );

    let gemini = streamed_data(&server, GEMINI_STREAM, &contents("hi")).await;
    let parts: Vec<&Value> =
        gemini.iter().map(|chunk| &chunk["candidates"][0]["content"]["parts"][0]).collect();
    assert_eq!(
        parts,
        [
            &json!({"text": "H", "thought": true}),
            &json!({"text": "m", "thought": true}),
            &json!({"text": "", "thoughtSignature": SIGNATURE}),
            &json!({"text": "S"}),
            &json!({"text": "o"}),
        ]
    );

    let chunks = streamed_data(&server, "/v1/chat/completions", &streamed(chat("m", "hi"))).await;
    let texts: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["content"]).collect();
    assert_eq!(texts, [&json!(""), &json!("S"), &json!("o"), &Value::Null]);
}

#[tokio::test]
async fn a_refusal_is_streamed_in_every_dialect() {
    let server = frozen([Fixture::new().reply(Reply::new().refusal("No.").chunks(1))]).await;
    let openai = whole(&server, "/v1/chat/completions", &chat("m", "hi")).await;
    let choice = &openai["choices"][0];
    assert_eq!(choice["message"]["content"], Value::Null);
    assert_eq!((&choice["message"]["refusal"], &choice["finish_reason"]), (&json!("No."), &json!("stop")));
    let chunks = streamed_data(&server, "/v1/chat/completions", &streamed(chat("m", "hi"))).await;
    assert_eq!(chunks[1]["choices"][0]["delta"], json!({"refusal": "No."}));
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "stop");

    let anthropic = whole(&server, "/v1/messages", &message("m", "hi")).await;
    assert_eq!(anthropic["stop_reason"], "refusal");
    let stream = streamed_data(&server, "/v1/messages", &streamed(message("m", "hi"))).await;
    assert_eq!(stream[3]["delta"]["text"], "No.");
    assert_eq!(stream[5]["delta"]["stop_reason"], "refusal");

    let gemini = streamed_data(&server, GEMINI_STREAM, &contents("hi")).await;
    assert_eq!(gemini[0]["promptFeedback"], json!({"blockReason": "SAFETY"}));
    assert_eq!(whole(&server, "/model/m/converse", &converse("hi")).await["stopReason"], "content_filtered");
}

#[tokio::test]
async fn a_reply_ends_early_in_every_dialect() {
    for (stop, reasons) in [
        (Stop::MaxTokens, ["length", "max_tokens", "MAX_TOKENS", "max_tokens"]),
        (Stop::ContentFilter, ["content_filter", "refusal", "SAFETY", "content_filtered"]),
    ] {
        let server = frozen([Fixture::new().reply(Reply::from("Hi").stop(stop))]).await;
        let openai = whole(&server, "/v1/chat/completions", &chat("m", "hi")).await;
        let anthropic = whole(&server, "/v1/messages", &message("m", "hi")).await;
        let gemini = whole(&server, GEMINI, &contents("hi")).await;
        let bedrock = whole(&server, "/model/m/converse", &converse("hi")).await;
        let said = [
            &openai["choices"][0]["finish_reason"],
            &anthropic["stop_reason"],
            &gemini["candidates"][0]["finishReason"],
            &bedrock["stopReason"],
        ];
        assert_eq!(said, reasons.map(Value::from).each_ref(), "{stop:?}");
    }
}

#[tokio::test]
async fn usage_is_said_as_each_dialect_counts() {
    let reply = Reply::from("Hi").usage(100, 40).cached_tokens(30, 20).reasoning_tokens(15);
    let server = frozen([Fixture::new().reply(reply)]).await;
    let openai = whole(&server, "/v1/chat/completions", &chat("m", "hi")).await["usage"].clone();
    assert_eq!(
        (&openai["prompt_tokens"], &openai["completion_tokens"], &openai["total_tokens"]),
        (&json!(100), &json!(40), &json!(140))
    );
    assert_eq!(openai["prompt_tokens_details"]["cached_tokens"], 30);
    assert_eq!(openai["completion_tokens_details"]["reasoning_tokens"], 15);
    assert_eq!(
        whole(&server, "/v1/responses", &response("m", "hi")).await["usage"],
        json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 30}, "output_tokens": 40,
            "output_tokens_details": {"reasoning_tokens": 15}, "total_tokens": 140})
    );
    assert_eq!(
        whole(&server, "/v1/messages", &message("m", "hi")).await["usage"],
        json!({"input_tokens": 50, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30,
            "output_tokens": 40, "service_tier": "standard"})
    );
    assert_eq!(
        whole(&server, GEMINI, &contents("hi")).await["usageMetadata"],
        json!({"promptTokenCount": 100, "cachedContentTokenCount": 30, "candidatesTokenCount": 25,
            "totalTokenCount": 140, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
            "thoughtsTokenCount": 15})
    );
    assert_eq!(
        whole(&server, "/model/m/converse", &converse("hi")).await["usage"],
        json!({"inputTokens": 50, "outputTokens": 40, "totalTokens": 140,
            "cacheReadInputTokens": 30, "cacheWriteInputTokens": 20})
    );
}

#[tokio::test]
async fn id_model_and_fingerprint_are_the_replys_own() {
    let reply = Reply::from("Hi").id("id-x").model("model-x").fingerprint("fp-x");
    let server = frozen([Fixture::new().reply(reply)]).await;
    let openai = whole(&server, "/v1/chat/completions", &chat("m", "hi")).await;
    assert_eq!(openai["system_fingerprint"], "fp-x");
    for chunk in streamed_data(&server, "/v1/chat/completions", &streamed(chat("m", "hi"))).await {
        assert_eq!(
            (&chunk["id"], &chunk["model"], &chunk["system_fingerprint"]),
            (&json!("id-x"), &json!("model-x"), &json!("fp-x"))
        );
    }
    for (path, body, id, model) in [
        ("/v1/responses", response("m", "hi"), "id", "model"),
        ("/v1/messages", message("m", "hi"), "id", "model"),
        (GEMINI, contents("hi"), "responseId", "modelVersion"),
    ] {
        let said = whole(&server, path, &body).await;
        assert_eq!((&said[id], &said[model]), (&json!("id-x"), &json!("model-x")), "{path}");
    }
}

#[tokio::test]
async fn ids_of_calls_are_never_repeated() {
    let calls = Reply::new().tool_call("f", json!({})).tool_call("g", json!({}));
    let server = frozen([Fixture::new().reply(calls)]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let openai = json_of(post_chat(&server.url(), &chat("m", "hi")).send().await.unwrap()).await;
        let anthropic = json_of(post_message(&server.url(), &message("m", "hi")).send().await.unwrap()).await;
        for n in 0..2 {
            ids.push(openai["choices"][0]["message"]["tool_calls"][n]["id"].to_string());
            ids.push(anthropic["content"][n]["id"].to_string());
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[tokio::test]
async fn what_a_reply_cannot_be_is_refused() {
    for bad in [
        Reply::new().chunks(0),
        Reply::new().tool_call("f", json!(1)),
        Reply::new().embedding([]),
        Reply::new().embedding([f32::NAN]),
        Reply::new().fail_after_frames(1, portunus_mock::ApiError::new(200, "fine")),
    ] {
        let built = portunus_mock::ServerBuilder::new().fixture(Fixture::new().reply(bad)).build().await;
        assert!(matches!(built, Err(StartError::Fixture { .. })), "{built:?}");
    }
}

#[tokio::test]
async fn no_stream_has_an_event_that_its_dialect_does_not_know() {
    let anthropic = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    let responses = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.refusal.delta",
        "response.refusal.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
        "response.incomplete",
    ];
    for reply in [
        mixed(),
        Reply::new().refusal("No."),
        Reply::from("Hi").stop(Stop::MaxTokens),
        Reply::from("Hi").stop(Stop::ContentFilter),
    ] {
        let server = frozen([Fixture::new().reply(reply)]).await;
        for (path, body, known, last) in [
            ("/v1/messages", message("m", "hi"), anthropic.as_slice(), &["message_stop"][..]),
            (
                "/v1/responses",
                response("m", "hi"),
                &responses,
                &["response.completed", "response.incomplete"],
            ),
        ] {
            let stream = post(&server.url(), path, &streamed(body)).send().await.unwrap();
            let stream = events(&stream.text().await.unwrap());
            for (name, _) in &stream {
                assert!(known.contains(&name.as_deref().unwrap()), "{name:?}");
            }
            assert!(last.contains(&stream.last().unwrap().0.as_deref().unwrap()));
        }
    }
}
