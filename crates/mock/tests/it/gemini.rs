//! Google's `generateContent`: whole, as events and as a JSON array.

use std::time::Duration;

use portunus_mock::{ApiError, Fixture, Reply, Stop};
use serde_json::{Value, json};

use crate::support::{client, contents, events, frozen, header, json_of, post, vertex};

const MODEL: &str = "/v1beta/models/gemini-2.5-flash";

fn generate() -> String {
    format!("{MODEL}:generateContent")
}

fn stream() -> String {
    format!("{MODEL}:streamGenerateContent")
}

fn chunk(parts: &Value, finish: Option<&str>, output: u64) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
    if let Some(reason) = finish {
        candidate["finishReason"] = reason.into();
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": output, "totalTokenCount": output + 1,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1}]},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "gemini_mock_1",
    })
}

#[tokio::test]
async fn a_whole_answer_under_every_path() {
    for path in [
        generate(),
        "/v1/models/gemini-2.5-flash:generateContent".to_owned(),
        vertex("google/models/gemini-2.5-flash:generateContent"),
    ] {
        let server = frozen([Fixture::new().respond_with_content("Hi")]).await;
        let answer = post(&server.url(), &path, &contents("hi")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(json_of(answer).await, chunk(&json!([{"text": "Hi"}]), Some("STOP"), 1));
    }
}

#[tokio::test]
async fn events_state_the_usage_each_time() {
    let server = frozen([Fixture::new().respond_with_content("Hi you, over there").chunks(2)]).await;
    let path = format!("{}?alt=sse", stream());
    let answer = post(&server.url(), &path, &contents("hi")).send().await.unwrap();
    assert_eq!(header(&answer, "content-type"), Some("text/event-stream; charset=utf-8"));
    let events = events(&answer.text().await.unwrap());
    assert!(events.iter().all(|(name, _)| name.is_none()));
    let data: Vec<Value> = events.iter().map(|(_, data)| serde_json::from_str(data).unwrap()).collect();
    assert_eq!(
        data,
        [
            chunk(&json!([{"text": "Hi you, o"}]), None, 2),
            chunk(&json!([{"text": "ver there"}]), Some("STOP"), 5),
        ]
    );
}

#[tokio::test]
async fn without_events_a_stream_is_an_array_sent_element_by_element() {
    let server = frozen([Fixture::new().respond_with_content("Hi").chunks(2)]).await;
    let answer = post(&server.url(), &stream(), &contents("hi")).send().await.unwrap();
    assert_eq!(header(&answer, "content-type"), Some("application/json; charset=UTF-8"));
    assert_eq!(header(&answer, "content-length"), None);
    let text = answer.text().await.unwrap();
    assert!(text.starts_with("[{") && text.contains("}\n,\n{") && text.ends_with("}]"), "{text}");
    let elements: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(
        elements,
        [chunk(&json!([{"text": "H"}]), None, 0), chunk(&json!([{"text": "i"}]), Some("STOP"), 1)]
    );

    // The first one comes long before the second is due.
    let slow = Fixture::new().respond_with_content("Hi").latency(Duration::from_secs(3_600));
    let server = frozen([slow]).await;
    let mut answer = post(&server.url(), &stream(), &contents("hi")).send().await.unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"[{") && first.ends_with(b"}"));
}

#[tokio::test]
async fn an_array_that_breaks_off_is_neither_json_nor_a_clean_end() {
    let cut = Fixture::new().on_model("cut").respond_with_content("Hi").truncate_after_frames(2);
    let reset = Fixture::new().on_model("reset").respond_with_content("Hi").reset_after_frames(1);
    let server = frozen([cut, reset]).await;
    let asked = async |model: &str| {
        let path = format!("/v1beta/models/{model}:streamGenerateContent");
        post(&server.url(), &path, &contents("hi")).send().await.unwrap().text().await
    };
    let text = asked("cut").await.unwrap();
    assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
    assert!(asked("reset").await.is_err());
}

#[tokio::test]
async fn a_call_has_its_arguments_as_an_object() {
    let server = frozen([Fixture::new().respond_with_tool_call("f", json!({"a": 1}))]).await;
    let part = json!([{"functionCall": {"name": "f", "args": {"a": 1}}}]);
    let answer = post(&server.url(), &generate(), &contents("hi")).send().await.unwrap();
    assert_eq!(json_of(answer).await["candidates"][0]["content"]["parts"], part);
    let answer = post(&server.url(), &format!("{}?alt=sse", stream()), &contents("hi")).send().await.unwrap();
    let events = events(&answer.text().await.unwrap());
    let last: Value = serde_json::from_str(&events[0].1).unwrap();
    assert_eq!((events.len(), &last["candidates"][0]["content"]["parts"]), (1, &part));
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
}

#[tokio::test]
async fn a_refused_prompt_has_no_candidate() {
    let server = frozen([
        Fixture::new().on_model("blocked").reply(Reply::new().refusal("No.")),
        Fixture::new().on_model("late").reply(Reply::new().text("Well").refusal("No.")),
        Fixture::new().on_model("long").reply(Reply::new().text("Well").stop(Stop::MaxTokens)),
    ])
    .await;
    let asked = async |model: &str| {
        let path = format!("/v1beta/models/{model}:generateContent");
        json_of(post(&server.url(), &path, &contents("hi")).send().await.unwrap()).await
    };
    let blocked = asked("blocked").await;
    assert_eq!(blocked["promptFeedback"], json!({"blockReason": "SAFETY"}));
    assert_eq!(blocked.get("candidates"), None);
    assert_eq!(blocked["usageMetadata"]["candidatesTokenCount"], 0);
    assert_eq!(asked("late").await["candidates"][0]["finishReason"], "SAFETY");
    assert_eq!(asked("long").await["candidates"][0]["finishReason"], "MAX_TOKENS");
}

#[tokio::test]
async fn a_stream_breaks_off_with_the_error_as_it_is() {
    let reply = Reply::from("Hi you").fail_after_frames(1, ApiError::overloaded());
    let server = frozen([Fixture::new().reply(reply)]).await;
    let error = json!({"error": {"code": 503, "status": "UNAVAILABLE",
        "message": "The model is overloaded. Please try again later."}});
    let answer = post(&server.url(), &format!("{}?alt=sse", stream()), &contents("hi")).send().await.unwrap();
    let text = answer.text().await.unwrap();
    let (_, raw) = text.split_once("\n\n").unwrap();
    assert!(raw.starts_with("{\n  \"error\""), "{raw}");
    assert_eq!(serde_json::from_str::<Value>(raw).unwrap(), error);

    let answer = post(&server.url(), &stream(), &contents("hi")).send().await.unwrap();
    let elements: Vec<Value> = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((elements.len(), &elements[1]), (2, &error));
}

#[tokio::test]
async fn requests_in_both_spellings_with_rounds_of_tools_and_images() {
    let server = frozen([]).await;
    let schema = json!({"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]});
    let camel = json!({"tools": [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f", "parameters": schema}]}],
        "systemInstruction": {"parts": [{"text": "Be kind."}]}, "contents": [{"parts": [{"text": "hi"}]}]});
    let snake = json!({"tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": schema}]}],
        "system_instruction": {"parts": [{"text": "Be kind."}]}, "contents": [{"parts": [{"text": "hi"}]}]});
    for mut body in [camel, snake] {
        let answer = json_of(post(&server.url(), &generate(), &body).send().await.unwrap()).await;
        let called = answer["candidates"][0]["content"].clone();
        assert_eq!(called["parts"][0]["functionCall"], json!({"name": "f", "args": {"city": "Paris"}}));
        assert_eq!(answer["usageMetadata"]["promptTokenCount"], 3);
        for _ in 0..2 {
            let turns = body["contents"].as_array_mut().unwrap();
            turns.push(called.clone());
            let result = json!({"functionResponse": {"name": "f", "response": {"weather": "sunny"}}});
            turns.push(json!({"role": "user", "parts": [result]}));
            let answer = json_of(post(&server.url(), &generate(), &body).send().await.unwrap()).await;
            assert_eq!(answer["candidates"][0]["content"]["parts"][0]["text"], "Hello from the mock.");
        }
    }
    let image = json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]}]});
    assert_eq!(post(&server.url(), &generate(), &image).send().await.unwrap().status(), 200);
    for bad in [json!({}), json!({"contents": []}), json!({"contents": "hi"}), json!([])] {
        let answer = post(&server.url(), &generate(), &bad).send().await.unwrap();
        assert_eq!(answer.status(), 400);
        assert_eq!(json_of(answer).await["error"]["status"], "INVALID_ARGUMENT", "{bad}");
    }
}

#[tokio::test]
async fn the_last_text_of_the_user_decides_and_not_a_tools_result() {
    let server = frozen([Fixture::new().user_contains("rain").respond_with_content("yes")]).await;
    let body = json!({"contents": [
        {"role": "user", "parts": [{"text": "sun"}]},
        {"role": "model", "parts": [{"text": "sun"}]},
        {"role": "user", "parts": [{"text": "rain"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]});
    assert_eq!(post(&server.url(), &generate(), &body).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn tokens_are_counted_and_models_listed() {
    let server = frozen([]).await;
    let path = format!("{MODEL}:countTokens");
    let whole = json!({"generateContentRequest": {"contents": contents("12345678")["contents"]}});
    for body in [contents("12345678"), whole] {
        assert_eq!(
            json_of(post(&server.url(), &path, &body).send().await.unwrap()).await,
            json!({"totalTokens": 2})
        );
    }
    let get = async |path: &str| json_of(client().get(server.url() + path).send().await.unwrap()).await;
    let flash = json!({"name": "models/gemini-2.5-flash", "version": "001", "displayName": "gemini-2.5-flash",
        "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"]});
    assert_eq!(get("/v1beta/models").await["models"][1], flash);
    assert_eq!(get(MODEL).await, flash);
    assert_eq!(get("/v1beta/models/no-such-model").await["error"]["status"], "NOT_FOUND");
}
