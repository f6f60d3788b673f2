//! Which fixture answers, and which are refused.

use portunus_mock::{Fixture, MockServer, ServerBuilder, StartError};
use serde_json::{Value, json};

use crate::support::{chat, json_of, message, post_chat, post_message};

async fn asked(server: &MockServer, body: &Value) -> Value {
    let answer = json_of(post_chat(&server.url(), body).send().await.unwrap()).await;
    answer.pointer("/choices/0/message/content").cloned().unwrap_or(answer)
}

#[tokio::test]
async fn the_first_fixture_whose_conditions_all_hold_answers() {
    let server = ServerBuilder::new()
        .fixture(Fixture::new().on_model("gpt-4o").user_contains("rain").respond_with_content("both"))
        .fixture(Fixture::new().on_model("gpt-4o").respond_with_content("model"))
        .fixture(Fixture::new().user_contains("rain").respond_with_content("text"))
        .fixture(Fixture::new().with_key("sk-a").respond_with_content("key"))
        .build()
        .await
        .unwrap();
    assert_eq!(asked(&server, &chat("gpt-4o", "will it rain?")).await, "both");
    assert_eq!(asked(&server, &chat("gpt-4o", "hi")).await, "model");
    assert_eq!(asked(&server, &chat("gpt-4o-mini", "Rain and rain")).await, "text");
    for request in [
        post_chat(&server.url(), &chat("x", "hi")).bearer_auth("sk-a"),
        post_message(&server.url(), &message("x", "hi")).header("x-api-key", "sk-a"),
    ] {
        assert!(request.send().await.unwrap().text().await.unwrap().contains("\"key\""));
    }
    let other = post_chat(&server.url(), &chat("x", "hi")).bearer_auth("sk-b").send().await.unwrap();
    assert_eq!(other.status(), 404);
}

#[tokio::test]
async fn only_the_last_user_message_is_looked_at() {
    let fixture = Fixture::new().user_contains("rain").respond_with_content("yes");
    let server = ServerBuilder::new().fixture(fixture).build().await.unwrap();
    let turns = |last: &str| {
        json!({"model": "m", "messages": [
            {"role": "system", "content": "rain"},
            {"role": "user", "content": "rain"},
            {"role": "assistant", "content": "rain"},
            {"role": "user", "content": [{"type": "text", "text": last}, {"type": "image_url"}]},
            {"role": "assistant", "tool_calls": []},
            {"role": "tool", "content": "rain"},
        ]})
    };
    assert_eq!(asked(&server, &turns("more rain")).await, "yes");
    assert_eq!(asked(&server, &turns("sun")).await["error"]["code"], "not_found");
}

#[tokio::test]
async fn no_match_is_a_404_that_does_not_repeat_the_prompt() {
    let fixture = Fixture::new().on_model("canary-model").user_contains("canary-condition");
    let server = ServerBuilder::new().fixture(fixture).build().await.unwrap();
    for request in [
        post_chat(&server.url(), &chat("canary-asked", "canary-prompt")).bearer_auth("canary-key"),
        post_message(&server.url(), &message("canary-asked", "canary-prompt")),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 404);
        let text = answer.text().await.unwrap();
        assert!(text.contains("not_found") && !text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn fixtures_alone_decide() {
    let fixture = Fixture::new().on_model("mock-429").respond_with_content("fine");
    let server = ServerBuilder::new().fixture(fixture).build().await.unwrap();
    assert_eq!(asked(&server, &chat("mock-429", "hi")).await, "fine");
}

#[tokio::test]
async fn errors_have_the_providers_shape() {
    let server = ServerBuilder::new()
        .fixture(Fixture::new().on_model("busy").respond_with_error(503, "later"))
        .fixture(Fixture::new().on_model("full").respond_with_error(529, "full"))
        .build()
        .await
        .unwrap();
    let answer = post_chat(&server.url(), &chat("busy", "hi")).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let said = json!({"error": {"message": "later", "type": "server_error", "param": null,
        "code": "service_unavailable"}});
    assert_eq!(json_of(answer).await, said);
    let answer = post_message(&server.url(), &message("full", "hi")).send().await.unwrap();
    assert_eq!(answer.status(), 529);
    let said = json!({"type": "error", "error": {"type": "overloaded_error", "message": "full"},
        "request_id": "req_mock_2"});
    assert_eq!(json_of(answer).await, said);
}

#[tokio::test]
async fn what_can_never_do_what_it_says_is_refused() {
    let good = Fixture::new().respond_with_content("x");
    for bad in [
        Fixture::new().user_contains(""),
        Fixture::new().chunks(0),
        Fixture::new().respond_with_tool_call("", json!({})),
        Fixture::new().respond_with_tool_call("f", json!([])),
        Fixture::new().respond_with_error(200, "fine"),
        Fixture::new().respond_with_error(600, "what"),
        Fixture::new().respond_with_error(500, "no").respond_with_content("yes"),
    ] {
        let built = ServerBuilder::new().fixture(good.clone()).fixture(bad).build().await;
        assert!(matches!(built, Err(StartError::Fixture { index: 1, .. })), "{built:?}");
    }
    let built = ServerBuilder::new().with_bearer_token("").build().await;
    assert!(matches!(built, Err(StartError::Incomplete(_))));
}
