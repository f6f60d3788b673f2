//! Which requests a fixture matches, in every dialect, and how often.

use portunus_mock::{ApiError, Dialect, Fixture, MockServer, Reply, ServerBuilder, StartError, Step, Text};
use serde_json::{Value, json};

use crate::support::{chat, contents, converse, invoke, json_of, message, post, post_chat, response};

const GEMINI: &str = "/v1beta/models/m:generateContent";

/// Every dialect's path and a body that says "hi".
fn everywhere() -> Vec<(&'static str, Value)> {
    vec![
        ("/v1/chat/completions", chat("m", "hi")),
        ("/v1/responses", response("m", "hi")),
        ("/v1/messages", message("m", "hi")),
        (GEMINI, contents("hi")),
        ("/model/m/converse", converse("hi")),
        ("/model/m/invoke", invoke("hi")),
    ]
}

async fn serve(fixture: Fixture) -> MockServer {
    ServerBuilder::new().fixture(fixture).build().await.unwrap()
}

async fn status(server: &MockServer, path: &str, body: &Value) -> u16 {
    post(&server.url(), path, body).send().await.unwrap().status().as_u16()
}

/// The text of a chat's answer; of an error, its status.
async fn said(server: &MockServer, body: &Value) -> String {
    let answer = post_chat(&server.url(), body).send().await.unwrap();
    let status = answer.status().to_string();
    let body: Value = answer.json().await.unwrap();
    body.pointer("/choices/0/message/content").and_then(Value::as_str).map_or(status, str::to_owned)
}

#[tokio::test]
async fn the_users_text_and_the_dialect() {
    let exact = serve(Fixture::new().user("hi")).await;
    let gemini = serve(Fixture::new().on_dialect(Dialect::Gemini)).await;
    for (path, mut body) in everywhere() {
        assert_eq!(status(&exact, path, &body).await, 200, "{path}");
        assert_eq!(status(&gemini, path, &body).await == 200, path == GEMINI, "{path}");
        let longer = body.to_string().replace("\"hi\"", "\"hi there\"");
        body = serde_json::from_str(&longer).unwrap();
        assert_eq!(status(&exact, path, &body).await, 404, "{path}");
    }
}

#[tokio::test]
async fn what_the_system_is_told_wherever_it_is() {
    let server = serve(Fixture::new().system(Text::contains("pirate"))).await;
    let with = |body: &Value, name: &str, value: Value| {
        let mut body = body.clone();
        body[name] = value;
        body
    };
    let block = json!([{"text": "Talk like "}, {"text": "a pirate."}]);
    for (path, body) in everywhere() {
        let told = match path {
            "/v1/chat/completions" => {
                let turns = json!([{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": "hi"}]);
                with(&body, "messages", turns)
            }
            "/v1/responses" => with(&body, "instructions", json!("You are a pirate.")),
            GEMINI => with(&body, "systemInstruction", json!({"parts": block})),
            _ => with(&body, "system", block.clone()),
        };
        assert_eq!(status(&server, path, &told).await, 200, "{path}");
        let by_user = serde_json::from_str(&body.to_string().replace("\"hi\"", "\"pirate\"")).unwrap();
        assert_eq!(status(&server, path, &by_user).await, 404, "{path}");
    }
}

#[tokio::test]
async fn offered_tools_in_every_dialect() {
    let server = serve(Fixture::new().offers_tool("f").respond_with_content("ok")).await;
    for (path, mut body) in everywhere() {
        assert_eq!(status(&server, path, &body).await, 404, "{path}");
        let (name, tools) = match path {
            "/v1/chat/completions" => ("tools", json!([{"type": "function", "function": {"name": "f"}}])),
            "/v1/responses" => ("tools", json!([{"type": "function", "name": "f"}])),
            GEMINI => ("tools", json!([{"functionDeclarations": [{"name": "e"}, {"name": "f"}]}])),
            "/model/m/converse" => ("toolConfig", json!({"tools": [{"toolSpec": {"name": "f"}}]})),
            _ => ("tools", json!([{"name": "f"}])),
        };
        body[name] = tools;
        assert_eq!(status(&server, path, &body).await, 200, "{path}");
    }
}

#[tokio::test]
async fn temperatures_are_compared_as_written() {
    let exact = serve(Fixture::new().temperature(0.3)).await;
    let range = serve(Fixture::new().temperature_in(0.0..=0.5)).await;
    for (path, mut body) in everywhere() {
        let mut at = |temperature: f64| {
            match path {
                GEMINI => body["generationConfig"] = json!({"temperature": temperature}),
                "/model/m/converse" => body["inferenceConfig"] = json!({"temperature": temperature}),
                _ => body["temperature"] = json!(temperature),
            }
            body.clone()
        };
        assert_eq!(status(&exact, path, &at(0.3)).await, 200, "{path}");
        // 0.1 + 0.2 is another number.
        assert_eq!(status(&exact, path, &at(0.1 + 0.2)).await, 404, "{path}");
        assert_eq!(status(&range, path, &at(0.5)).await, 200, "{path}");
        assert_eq!(status(&range, path, &at(0.51)).await, 404, "{path}");
    }
    assert_eq!(status(&range, "/v1/chat/completions", &chat("m", "hi")).await, 404);
}

#[tokio::test]
async fn headers_metadata_json_pointers_and_predicates() {
    let server = ServerBuilder::new()
        .fixture(Fixture::new().header("X-Team", Text::contains("red")).respond_with_content("header"))
        .fixture(Fixture::new().metadata("user", "alice").respond_with_content("metadata"))
        .fixture(Fixture::new().wants_json().respond_with_content("json"))
        .fixture(Fixture::new().pointer("/n/0", 7).respond_with_content("pointer"))
        .fixture(Fixture::new().has_pointer("/a~1b").respond_with_content("exists"))
        .fixture(Fixture::new().matching(|seen| seen.body().len() > 1_000).respond_with_content("long"))
        .build()
        .await
        .unwrap();
    let with = |name: &str, value: Value| {
        let mut body = chat("m", "hi");
        body[name] = value;
        body
    };
    for (body, expected) in [
        (with("metadata", json!({"user": "alice", "more": 1})), "metadata"),
        (with("response_format", json!({"type": "json_schema", "json_schema": {}})), "json"),
        (with("n", json!([7])), "pointer"),
        (with("n", json!([8])), "404 Not Found"),
        (with("a/b", json!(null)), "exists"),
        (with("padding", json!("x".repeat(1_000))), "long"),
        (chat("m", "hi"), "404 Not Found"),
    ] {
        assert_eq!(said(&server, &body).await, expected);
    }
    let request = post_chat(&server.url(), &chat("m", "hi")).header("x-team", "a red one");
    assert!(request.send().await.unwrap().text().await.unwrap().contains("\"header\""));
    let json = json!({"responseMimeType": "application/json"});
    let mut gemini = contents("hi");
    gemini["generationConfig"] = json;
    assert_eq!(status(&server, GEMINI, &gemini).await, 200);
}

#[tokio::test]
async fn tools_results_and_turns() {
    let server = ServerBuilder::new()
        .fixture(Fixture::new().tool_result(Text::contains("call_9")).respond_with_content("nine"))
        .fixture(Fixture::new().after_tool_result().turn(2).respond_with_content("second"))
        .fixture(Fixture::new().turn(1).respond_with_content("first"))
        .build()
        .await
        .unwrap();
    let mut body = chat("m", "weather?");
    assert_eq!(said(&server, &body).await, "first");
    let mut round = |id: &str| {
        let turns = body["messages"].as_array_mut().unwrap();
        turns.push(json!({"role": "assistant", "tool_calls": [{"id": id}]}));
        turns.push(json!({"role": "tool", "tool_call_id": id, "content": "22 °C"}));
        body.clone()
    };
    assert_eq!(said(&server, &round("call_1")).await, "second");
    // A turn that nobody foresaw falls back to none of them.
    assert_eq!(said(&server, &round("call_2")).await, "404 Not Found");
    assert_eq!(said(&server, &round("call_9")).await, "nine");
}

#[tokio::test]
async fn a_sequence_is_used_up_and_so_is_a_number_of_times() {
    let steps =
        [Step::from(ApiError::rate_limited()), ApiError::overloaded().into(), Reply::from("ok").into()];
    let server = ServerBuilder::new()
        .fixture(Fixture::new().on_model("s").sequence(steps))
        .fixture(Fixture::new().on_model("n").up_to(2).respond_with_content("twice"))
        .build()
        .await
        .unwrap();
    for _ in 0..2 {
        for expected in
            ["429 Too Many Requests", "503 Service Unavailable", "ok", "404 Not Found", "404 Not Found"]
        {
            assert_eq!(said(&server, &chat("s", "hi")).await, expected);
        }
        for expected in ["twice", "twice", "404 Not Found"] {
            assert_eq!(said(&server, &chat("n", "hi")).await, expected);
        }
        server.reset();
    }
}

#[tokio::test]
async fn priority_comes_before_order_and_catch_alls_come_last() {
    let say = |text: &str| Fixture::new().respond_with_content(text);
    let server = ServerBuilder::new()
        .fixture(say("catch-all").catch_all().priority(100))
        .fixture(say("low").on_model("a"))
        .fixture(say("high").on_model("a").priority(1).user_contains("urgent"))
        .fixture(say("later").on_model("a"))
        .build()
        .await
        .unwrap();
    assert_eq!(said(&server, &chat("a", "urgent")).await, "high");
    assert_eq!(said(&server, &chat("a", "hi")).await, "low");
    assert_eq!(said(&server, &chat("b", "hi")).await, "catch-all");
}

#[tokio::test]
async fn scenarios_are_state_machines() {
    let server = ServerBuilder::new()
        .fixture(
            Fixture::new()
                .in_state("door", "")
                .user("open")
                .sets_state("door", "open")
                .respond_with_content("opens"),
        )
        .fixture(Fixture::new().in_state("door", "open").user("open").respond_with_content("is open"))
        .fixture(Fixture::new().user("close").sets_state("door", "").respond_with_content("closes"))
        .build()
        .await
        .unwrap();
    let says = async |text: &str| said(&server, &chat("m", text)).await;
    for (text, expected) in
        [("open", "opens"), ("open", "is open"), ("close", "closes"), ("open", "opens"), ("open", "is open")]
    {
        assert_eq!(says(text).await, expected);
    }
    server.reset();
    assert_eq!(says("open").await, "opens");
}

#[tokio::test]
async fn a_reply_is_made_of_the_request() {
    let echo = Fixture::new().reply_with(|seen| {
        let body = seen.json().unwrap_or_default();
        Reply::from(body["messages"][0]["content"].as_str().unwrap_or_default()).chunks(1)
    });
    let server = serve(echo).await;
    assert_eq!(said(&server, &chat("m", "say this")).await, "say this");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_time_among_many_at_once_is_one_answer() {
    let server = std::sync::Arc::new(serve(Fixture::new().up_to(5)).await);
    let client = crate::support::client();
    let calls: Vec<_> = (0..48)
        .map(|_| {
            let request = client.post(format!("{}/v1/chat/completions", server.url())).json(&chat("m", "hi"));
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        })
        .collect();
    let mut answered = 0;
    for call in calls {
        answered += usize::from(call.await.unwrap() == 200);
    }
    assert_eq!(answered, 5);
}

#[tokio::test]
async fn conditions_that_can_never_hold_or_always_do_are_refused() {
    for bad in [
        Fixture::new().system(Text::contains("")),
        Fixture::new().header("x", Text::contains("")),
        Fixture::new().header("no name", Text::contains("x")),
        Fixture::new().tool_result(Text::contains("")),
        Fixture::new().offers_tool(Text::contains("")),
        Fixture::new().metadata("team", Text::matches("")),
        Fixture::new().temperature(f64::NAN),
        Fixture::new().temperature_in(1.0..=0.5),
        Fixture::new().has_pointer("a"),
        Fixture::new().turn(0),
        Fixture::new().up_to(0),
        Fixture::new().sequence([] as [Step; 0]),
        Fixture::new().sequence([Reply::new().chunks(0)]),
    ] {
        let built = ServerBuilder::new().fixture(bad).build().await;
        assert!(matches!(built, Err(StartError::Fixture { index: 0, .. })), "{built:?}");
    }
}

#[tokio::test]
async fn many_texts_that_overlap_are_all_found() {
    let texts = ["rain", "rainbow", "bow", "ain", "r", "x", "bows", "rain and rainbow", "ra", "é"];
    for text in texts {
        let far = ["q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8"];
        let others = texts.iter().chain(&far).filter(|other| !text.contains(**other));
        let wanted = Fixture::new().user_contains(text).respond_with_content(text);
        let builder = others.fold(ServerBuilder::new(), |builder, other| {
            builder.fixture(Fixture::new().user_contains(*other).respond_with_content("other"))
        });
        let server = builder.fixture(wanted).build().await.unwrap();
        let answer = json_of(post_chat(&server.url(), &chat("m", text)).send().await.unwrap()).await;
        assert_eq!(answer["choices"][0]["message"]["content"], text);
    }
}
