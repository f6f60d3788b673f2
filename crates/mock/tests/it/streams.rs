//! Streams: the order of events, and that any text comes through whatever it is cut into.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portunus_auth_core::clock::ManualClock;
use portunus_mock::{Fixture, MockServer, ServerBuilder};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{
    aws_messages, chat, client, contents, converse, events, header, invoke, message, post_chat, post_message,
    response, streamed,
};

async fn serve(fixture: Fixture) -> MockServer {
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    ServerBuilder::new().clock(clock).fixture(fixture).build().await.unwrap()
}

/// The data of OpenAI's events, which have no names, without what all chunks have in common.
fn chunks(stream: &str) -> Vec<Value> {
    let mut events = events(stream);
    assert_eq!(events.pop(), Some((None, "[DONE]".to_owned())));
    let chunk = |(name, data): (Option<String>, String)| {
        assert_eq!(name, None);
        let mut chunk: Value = serde_json::from_str(&data).unwrap();
        let common = ["id", "object", "created", "model", "service_tier", "system_fingerprint"];
        let values = common.map(|name| chunk.as_object_mut().unwrap().remove(name).unwrap());
        let (id, object) = ("chatcmpl-mock-1", "chat.completion.chunk");
        assert_eq!(json!(values), json!([id, object, 1_700_000_000, "m", "default", "fp_mock"]));
        chunk
    };
    events.into_iter().map(chunk).collect()
}

/// A chunk with one choice.
fn choice(delta: Value, finish_reason: Option<&str>) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]})
}

async fn stream_of(request: reqwest::RequestBuilder) -> String {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(header(&answer, "cache-control"), Some("no-cache"));
    assert_eq!(header(&answer, "content-length"), None);
    answer.text().await.unwrap()
}

#[tokio::test]
async fn openai_text() {
    let server = serve(Fixture::new().respond_with_content("Hi you").chunks(2)).await;
    let stream = stream_of(post_chat(&server.url(), &streamed(chat("m", "hi")))).await;
    assert_eq!(
        chunks(&stream),
        [
            choice(json!({"role": "assistant", "content": "", "refusal": null}), None),
            choice(json!({"content": "Hi "}), None),
            choice(json!({"content": "you"}), None),
            choice(json!({}), Some("stop")),
        ]
    );
}

#[tokio::test]
async fn openai_states_the_usage_last_when_asked() {
    let server = serve(Fixture::new().respond_with_content("Hi").chunks(1)).await;
    let mut body = streamed(chat("m", "hi"));
    body["stream_options"] = json!({"include_usage": true});
    let mut chunks = chunks(&stream_of(post_chat(&server.url(), &body)).await);
    let last = chunks.pop().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["total_tokens"], 2);
    assert_eq!(chunks.len(), 3);
    for chunk in chunks {
        assert_eq!(chunk.get("usage"), Some(&Value::Null));
    }
}

#[tokio::test]
async fn openai_tool_calls_after_text_and_alone() {
    let call = |index: u64, id: &str, name: &str| json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}});
    let more = |index: u64, arguments: &str| {
        let call = json!([{"index": index, "function": {"arguments": arguments}}]);
        choice(json!({"tool_calls": call}), None)
    };
    let alone = Fixture::new()
        .respond_with_tool_call("f", json!({"a": 1}))
        .respond_with_tool_call("g", json!({}))
        .chunks(2);
    let server = serve(alone).await;
    let stream = stream_of(post_chat(&server.url(), &streamed(chat("m", "hi")))).await;
    let first = json!({"role": "assistant", "content": null, "refusal": null,
        "tool_calls": [call(0, "call_mock_1", "f")]});
    assert_eq!(
        chunks(&stream),
        [
            choice(first, None),
            more(0, r#"{"a"#),
            more(0, r#"":1}"#),
            choice(json!({"tool_calls": [call(1, "call_mock_2", "g")]}), None),
            more(1, "{"),
            more(1, "}"),
            choice(json!({}), Some("tool_calls")),
        ]
    );

    let both = Fixture::new().respond_with_content("So").respond_with_tool_call("f", json!({})).chunks(1);
    let server = serve(both).await;
    let stream = stream_of(post_chat(&server.url(), &streamed(chat("m", "hi")))).await;
    assert_eq!(
        chunks(&stream),
        [
            choice(json!({"role": "assistant", "content": "", "refusal": null}), None),
            choice(json!({"content": "So"}), None),
            choice(json!({"tool_calls": [call(0, "call_mock_1", "f")]}), None),
            more(0, "{}"),
            choice(json!({}), Some("tool_calls")),
        ]
    );
}

#[tokio::test]
async fn anthropic_text_and_tool() {
    let fixture =
        Fixture::new().respond_with_content("Hi").respond_with_tool_call("f", json!({"a": 1})).chunks(2);
    let server = serve(fixture).await;
    let stream = stream_of(post_message(&server.url(), &streamed(message("m", "hi")))).await;
    let events: Vec<Value> = events(&stream)
        .into_iter()
        .map(|(name, data)| {
            let data: Value = serde_json::from_str(&data).unwrap();
            assert_eq!(name.as_deref(), data["type"].as_str());
            data
        })
        .collect();
    let usage = json!({"input_tokens": 1, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0, "output_tokens": 1, "service_tier": "standard"});
    let delta =
        |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let text = |text: &str| delta(0, json!({"type": "text_delta", "text": text}));
    let input = |part: &str| delta(1, json!({"type": "input_json_delta", "partial_json": part}));
    let tool = json!({"type": "tool_use", "id": "toolu_mock_1", "name": "f", "input": {}});
    assert_eq!(
        events,
        [
            json!({"type": "message_start", "message": {"id": "msg_mock_1", "type": "message",
                "role": "assistant", "model": "m", "content": [], "stop_reason": null,
                "stop_sequence": null, "usage": usage}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "ping"}),
            text("H"),
            text("i"),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1, "content_block": tool}),
            input(r#"{"a"#),
            input(r#"":1}"#),
            json!({"type": "content_block_stop", "index": 1}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
                "usage": {"output_tokens": 3}}),
            json!({"type": "message_stop"}),
        ]
    );
}

#[tokio::test]
async fn a_truncated_stream_ends_cleanly_and_too_early() {
    let server = serve(Fixture::new().respond_with_content("a b c").truncate_after_frames(2)).await;
    let stream = stream_of(post_chat(&server.url(), &streamed(chat("m", "hi")))).await;
    assert_eq!(events(&stream).len(), 2);
    assert!(!stream.contains("[DONE]"));
    // A whole answer is not a stream.
    let whole = post_chat(&server.url(), &chat("m", "hi")).send().await.unwrap();
    assert_eq!(whole.status(), 200);
}

#[tokio::test]
async fn a_reset_comes_after_its_frames_and_is_no_clean_end() {
    for frames in [0, 2, 4] {
        let server = serve(Fixture::new().respond_with_content("a b c").reset_after_frames(frames)).await;
        let mut answer = post_chat(&server.url(), &streamed(chat("m", "hi"))).send().await.unwrap();
        let mut arrived = String::new();
        let error = loop {
            match answer.chunk().await {
                Ok(Some(bytes)) => arrived += std::str::from_utf8(&bytes).unwrap(),
                Ok(None) => panic!("a clean end"),
                Err(error) => break error,
            }
        };
        assert_eq!(arrived.matches("data: ").count(), frames);
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        assert_eq!(io, Some(std::io::ErrorKind::ConnectionReset), "{error:?}");
    }
}

#[tokio::test]
async fn some_models_break_a_stream_off() {
    let server = ServerBuilder::new().build().await.unwrap();
    let stream = async |model| {
        let answer = post_message(&server.url(), &streamed(message(model, "hi"))).send().await.unwrap();
        answer.text().await
    };
    assert!(stream("mock-cut").await.is_err());
    let frames = events(&stream("mock-midstream").await.unwrap());
    assert_eq!(frames.len(), 4);
    assert_eq!(frames[3].0.as_deref(), Some("error"));
    assert!(frames[3].1.contains("overloaded_error"));
}

#[tokio::test]
async fn a_frame_is_sent_when_it_is_due_and_not_kept_until_the_last() {
    let server = serve(Fixture::new().latency(Duration::from_secs(3_600))).await;
    let mut answer = post_message(&server.url(), &streamed(message("m", "hi"))).send().await.unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: message_start\n"));
    assert!(first.ends_with(b"\n\n"));
}

/// The data of a stream, whatever frames it.
fn data_of(path: &str, bytes: &[u8]) -> Vec<Value> {
    let inside = |payload: &Value| match payload["bytes"].as_str() {
        Some(chunk) => serde_json::from_slice(&STANDARD.decode(chunk).unwrap()).unwrap(),
        None => payload.clone(),
    };
    if path.starts_with("/model/") {
        return aws_messages(bytes).iter().map(|(_, _, payload)| inside(payload)).collect();
    }
    let text = std::str::from_utf8(bytes).unwrap();
    if path.ends_with("Content") {
        return serde_json::from_str(text).unwrap();
    }
    let events = events(text).into_iter().filter(|(_, data)| data != "[DONE]");
    events.map(|(_, data)| serde_json::from_str(&data).unwrap()).collect()
}

/// A way to ask for a stream, and where in its data the pieces of a text and of a call's arguments are.
struct Streamed {
    path: &'static str,
    body: fn() -> Value,
    text: &'static str,
    arguments: &'static str,
}

const STREAMS: [Streamed; 7] = [
    Streamed {
        path: "/v1/chat/completions",
        body: || streamed(chat("m", "hi")),
        text: "/choices/0/delta/content",
        arguments: "/choices/0/delta/tool_calls/0/function/arguments",
    },
    Streamed {
        path: "/v1/messages",
        body: || streamed(message("m", "hi")),
        text: "/delta/text",
        arguments: "/delta/partial_json",
    },
    // Deltas of arguments are told apart by their type.
    Streamed { path: "/v1/responses", body: || streamed(response("m", "hi")), text: "/delta", arguments: "" },
    Streamed {
        path: "/v1beta/models/m:streamGenerateContent?alt=sse",
        body: || contents("hi"),
        text: "/candidates/0/content/parts/0/text",
        arguments: "/candidates/0/content/parts/0/functionCall/args",
    },
    Streamed {
        path: "/v1beta/models/m:streamGenerateContent",
        body: || contents("hi"),
        text: "/candidates/0/content/parts/0/text",
        arguments: "/candidates/0/content/parts/0/functionCall/args",
    },
    Streamed {
        path: "/model/m/converse-stream",
        body: || converse("hi"),
        text: "/delta/text",
        arguments: "/delta/toolUse/input",
    },
    Streamed {
        path: "/model/m/invoke-with-response-stream",
        body: || invoke("hi"),
        text: "/delta/text",
        arguments: "/delta/partial_json",
    },
];

/// What a client puts together again: the texts, and the arguments of the tool call.
fn reassembled(stream: &Streamed, bytes: &[u8]) -> (String, String) {
    let (mut text, mut arguments) = (String::new(), String::new());
    for data in data_of(stream.path, bytes) {
        let is_arguments = data["type"] == "response.function_call_arguments.delta";
        let said = data.pointer(stream.text).and_then(Value::as_str).unwrap_or_default();
        if is_arguments { &mut arguments } else { &mut text }.push_str(said);
        match data.pointer(stream.arguments) {
            Some(Value::String(piece)) => arguments += piece,
            Some(args @ Value::Object(_)) if !stream.arguments.is_empty() => arguments += &args.to_string(),
            _ => {}
        }
    }
    (text, arguments)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_text_in_any_number_of_pieces_comes_through_in_every_dialect(
        text in any::<String>(),
        argument in any::<String>(),
        pieces in 1_usize..40,
    ) {
        let arguments = json!({"x": argument});
        let fixture = Fixture::new()
            .respond_with_content(text.clone())
            .respond_with_tool_call("f", arguments.clone())
            .chunks(pieces);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let streams = runtime.block_on(async {
            let server = serve(fixture).await;
            let client = client();
            let mut streams = Vec::new();
            for stream in &STREAMS {
                let url = format!("{}{}", server.url(), stream.path);
                let sent = client.post(url).json(&(stream.body)()).send().await.unwrap();
                streams.push((stream, sent.bytes().await.unwrap()));
            }
            streams
        });
        for (stream, bytes) in streams {
            let (said, called) = reassembled(stream, &bytes);
            prop_assert_eq!(&said, &text, "{}", stream.path);
            prop_assert_eq!(serde_json::from_str::<Value>(&called).unwrap(), arguments.clone(), "{}", stream.path);
        }
    }
}
