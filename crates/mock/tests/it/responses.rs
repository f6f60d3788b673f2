//! OpenAI's Responses: the object, the events and the failures.

use portunus_mock::{ApiError, Fixture, Reply, Stop};
use serde_json::{Value, json};

use crate::support::{events, frozen, json_of, post, response, streamed};

const PATH: &str = "/v1/responses";

/// The response object, but for its status, its output and its usage.
fn object(status: &str, output: &Value, usage: &Value) -> Value {
    json!({
        "id": "resp_mock_1", "object": "response", "created_at": 1_700_000_000, "status": status,
        "background": false, "error": null, "incomplete_details": null, "instructions": null,
        "max_output_tokens": null, "metadata": {}, "model": "gpt-4o", "output": output,
        "parallel_tool_calls": true, "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null}, "service_tier": "default", "store": true,
        "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "truncation": "disabled", "usage": usage, "user": null,
    })
}

fn usage(input: u64, output: u64) -> Value {
    json!({"input_tokens": input, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": input + output})
}

fn message(status: &str, content: &Value) -> Value {
    json!({"type": "message", "id": "msg_mock_1", "status": status, "role": "assistant", "content": content})
}

fn text(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// The events of a stream; their names and numbers are checked on the way.
async fn streamed_by(fixture: Fixture) -> Vec<Value> {
    let server = frozen([fixture]).await;
    let body = streamed(response("gpt-4o", "hi"));
    let stream = post(&server.url(), PATH, &body).send().await.unwrap().text().await.unwrap();
    let event = |(number, (name, data)): (usize, (Option<String>, String))| {
        let mut data: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(name.as_deref(), data["type"].as_str());
        assert_eq!(data.as_object_mut().unwrap().remove("sequence_number"), Some(json!(number)));
        data
    };
    events(&stream).into_iter().enumerate().map(event).collect()
}

#[tokio::test]
async fn an_answer_has_every_member() {
    let server = frozen([Fixture::new().respond_with_content("Hi")]).await;
    let answer = post(&server.url(), PATH, &response("gpt-4o", "Hi there, you")).send().await.unwrap();
    assert_eq!(
        json_of(answer).await,
        object("completed", &json!([message("completed", &json!([text("Hi")]))]), &usage(4, 1))
    );
}

#[tokio::test]
async fn a_text_comes_in_nine_kinds_of_events() {
    let events = streamed_by(Fixture::new().respond_with_content("Hi you").chunks(2)).await;
    let at = |kind: &str, mut more: Value| {
        let place = json!({"type": kind, "item_id": "msg_mock_1", "output_index": 0, "content_index": 0});
        more.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        more
    };
    let begun = object("in_progress", &json!([]), &Value::Null);
    let item = |kind: &str, item: Value| json!({"type": kind, "output_index": 0, "item": item});
    let whole = message("completed", &json!([text("Hi you")]));
    assert_eq!(
        events,
        [
            json!({"type": "response.created", "response": begun}),
            json!({"type": "response.in_progress", "response": begun}),
            item("response.output_item.added", message("in_progress", &json!([]))),
            at("response.content_part.added", json!({"part": text("")})),
            at("response.output_text.delta", json!({"delta": "Hi ", "logprobs": []})),
            at("response.output_text.delta", json!({"delta": "you", "logprobs": []})),
            at("response.output_text.done", json!({"text": "Hi you", "logprobs": []})),
            at("response.content_part.done", json!({"part": text("Hi you")})),
            item("response.output_item.done", whole.clone()),
            json!({"type": "response.completed",
                "response": object("completed", &json!([whole]), &usage(1, 2))}),
        ]
    );
}

#[tokio::test]
async fn arguments_of_a_call_are_in_deltas_only() {
    let fixture = Fixture::new().respond_with_tool_call("f", json!({"a": 1})).chunks(2);
    let events = streamed_by(fixture).await;
    let call = |status: &str, arguments: &str| {
        json!({"type": "function_call", "id": "fc_mock_1", "call_id": "call_mock_1", "status": status,
            "name": "f", "arguments": arguments})
    };
    let place = |kind: &str| json!({"type": kind, "item_id": "fc_mock_1", "output_index": 0});
    let mut expected = ["{\"a", "\":1}"].map(|delta| {
        let mut event = place("response.function_call_arguments.delta");
        event["delta"] = delta.into();
        event
    });
    let mut done = place("response.function_call_arguments.done");
    done["arguments"] = r#"{"a":1}"#.into();
    assert_eq!(events[2]["item"], call("in_progress", ""));
    assert_eq!(events[3..5], expected.each_mut().map(Value::take));
    assert_eq!(events[5], done);
    assert_eq!(events[6]["item"], call("completed", r#"{"a":1}"#));
    assert_eq!(events[7]["response"]["output"], json!([call("completed", r#"{"a":1}"#)]));
    assert_eq!(events.len(), 8);
}

#[tokio::test]
async fn a_refusal_is_a_part_of_its_own() {
    let events = streamed_by(Fixture::new().reply(Reply::new().refusal("No.").chunks(1))).await;
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds[3..7],
        [
            "response.content_part.added",
            "response.refusal.delta",
            "response.refusal.done",
            "response.content_part.done"
        ]
    );
    assert_eq!(events[3]["part"], json!({"type": "refusal", "refusal": ""}));
    assert_eq!((&events[4]["delta"], &events[5]["refusal"]), (&json!("No."), &json!("No.")));
    assert_eq!(events[8]["response"]["output"][0]["content"], json!([{"type": "refusal", "refusal": "No."}]));
    assert_eq!(events[8]["response"]["status"], "completed");
}

#[tokio::test]
async fn a_reply_that_was_cut_off_is_incomplete() {
    for (stop, reason) in [(Stop::MaxTokens, "max_output_tokens"), (Stop::ContentFilter, "content_filter")] {
        let events = streamed_by(Fixture::new().reply(Reply::new().text("Hi").stop(stop))).await;
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.incomplete");
        assert_eq!(last["response"]["status"], "incomplete");
        assert_eq!(last["response"]["incomplete_details"], json!({"reason": reason}));
    }
}

#[tokio::test]
async fn a_stream_breaks_off_with_an_error_or_as_failed() {
    let overloaded = ApiError::overloaded().message("Our servers are currently overloaded.");
    let server = frozen([Fixture::new().reply(Reply::from("Hi").fail_after_frames(3, overloaded))]).await;
    let body = streamed(response("gpt-4o", "hi"));
    let stream = post(&server.url(), PATH, &body).send().await.unwrap().text().await.unwrap();
    let (name, data) = events(&stream).pop().unwrap();
    assert_eq!(name.as_deref(), Some("error"));
    assert_eq!(
        serde_json::from_str::<Value>(&data).unwrap(),
        json!({"type": "error", "error": {"type": "service_unavailable_error",
            "code": "server_is_overloaded", "message": "Our servers are currently overloaded."}})
    );

    let failing = Reply::from("Hi").fail_after_frames(3, ApiError::new(500, "boom"));
    let events = streamed_by(Fixture::new().reply(failing)).await;
    assert_eq!(events.len(), 4);
    let failed = &events[3];
    assert_eq!(failed["type"], "response.failed");
    assert_eq!(failed["response"]["status"], "failed");
    assert_eq!(failed["response"]["id"], events[0]["response"]["id"]);
    assert_eq!(failed["response"]["error"], json!({"code": "server_error", "message": "boom"}));
}

#[tokio::test]
async fn items_of_every_kind_are_read() {
    let server = frozen([]).await;
    let tools = json!([{"type": "web_search"}, {"type": "function", "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]);
    let mut body = json!({"model": "gpt-4o", "instructions": "Be kind.", "tools": tools, "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "weather?"}, {"type": "input_image"}]}]});
    let answer = json_of(post(&server.url(), PATH, &body).send().await.unwrap()).await;
    let call = &answer["output"][0];
    assert_eq!((&call["name"], &call["arguments"]), (&json!("get_weather"), &json!(r#"{"city":"Paris"}"#)));
    assert_eq!(answer["usage"]["input_tokens"], 4);

    let turns = body["input"].as_array_mut().unwrap();
    turns.push(json!({"type": "reasoning", "id": "rs_1", "summary": []}));
    let screen = json!({"type": "computer_screenshot", "image_url": "data:,"});
    turns.push(json!({"type": "computer_call_output", "call_id": "c", "output": screen}));
    turns.push(call.clone());
    turns.push(json!({"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}));
    let answer = json_of(post(&server.url(), PATH, &body).send().await.unwrap()).await;
    assert_eq!(answer["output"][0]["content"][0]["text"], "Hello from the mock.");

    for bad in [
        json!({"model": "m"}),
        json!({"model": "m", "input": []}),
        json!({"input": "hi"}),
        json!({"model": "m", "input": 1}),
        json!({"model": "m", "input": "hi", "stream": "true"}),
    ] {
        assert_eq!(post(&server.url(), PATH, &bad).send().await.unwrap().status(), 400, "{bad}");
    }
}
