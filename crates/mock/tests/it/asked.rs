//! What a test asks of the requests that came.

use std::panic::{AssertUnwindSafe, catch_unwind};

use portunus_mock::{Fixture, MockServer, Recorded};
use serde_json::json;

use crate::support::{
    chat, client, contents, converse, invoke, message, post, post_chat, post_message, response, streamed,
    vertex,
};

fn fails(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).expect_err("it held");
    panic.downcast_ref::<String>().unwrap().clone()
}

#[tokio::test]
async fn requests_are_told_apart_by_key_path_model_and_fixture() {
    let server = MockServer::start().await;
    server.mount(Fixture::new().named("four").on_model("gpt-4o"));
    server.mount(Fixture::new().catch_all());
    let url = server.url();
    post_chat(&url, &chat("gpt-4o", "hi")).bearer_auth("sk-test-1").send().await.unwrap();
    post_chat(&url, &chat("gpt-4o-mini", "hi")).bearer_auth("sk-test-2").send().await.unwrap();
    let asked = post_message(&url, &message("claude", "hi")).header("x-api-key", "sk-test-1");
    asked.header("anthropic-version", "2023-06-01").send().await.unwrap();

    let requests = server.requests();
    requests.assert_count(3).for_key("sk-test-1").assert_count(2).for_path("/v1/messages").assert_count(1);
    requests.for_model("gpt-4o").assert_count(1);
    requests.for_fixture("four").assert_count(1);
    requests.for_key("sk-test-3").assert_count(0).assert_count(..2);
    let last = requests.last().unwrap();
    last.assert_model("claude").assert_header("anthropic-version", "2023-06-01").assert_status(200);
    // A credential can be compared, and is not shown.
    last.assert_header("x-api-key", "sk-test-1");
    assert_eq!(last.redacted_credential().as_deref(), Some("sk-t…t-1"));

    let said = fails(|| {
        requests.for_model("gpt-4o").assert_count(2..);
    });
    assert_eq!(
        said,
        "a request was to come at least 2 times, and there were 1:\n  POST /v1/chat/completions for \"gpt-4o\" \
         with sk-t…t-1: 200, answered by `four`"
    );
    let said = fails(|| {
        last.assert_header("x-api-key", "sk-test-2");
    });
    assert!(
        said.starts_with("the header `x-api-key` is Some(\"***\") in") && !said.contains("sk-test"),
        "{said}"
    );
    assert!(
        fails(|| {
            last.assert_model("gpt-4o");
        })
        .contains("claude")
    );
    assert!(
        fails(|| {
            last.assert_status(500);
        })
        .contains("/v1/messages")
    );
}

#[tokio::test]
async fn every_dialect_is_read() {
    let server = MockServer::start().await;
    let url = server.url();
    let gemini = "/v1beta/models/m:streamGenerateContent";
    for (path, body) in [
        ("/v1/chat/completions", streamed(chat("m", "hi"))),
        ("/v1/messages", streamed(message("m", "hi"))),
        ("/v1/responses", streamed(response("m", "hi"))),
        (gemini, contents("hi")),
        ("/openai/deployments/m/chat/completions", streamed(chat("other", "hi"))),
        (&vertex("anthropic/models/m:streamRawPredict"), streamed(invoke("hi"))),
        ("/model/m/converse-stream", converse("hi")),
        ("/model/m/invoke-with-response-stream", invoke("hi")),
    ] {
        post(&url, path, &body).send().await.unwrap();
    }
    for request in &server.requests() {
        let read = (request.model(), request.user_text(), request.is_streamed());
        assert_eq!(read, (Some("m".to_owned()), Some("hi".to_owned()), true), "{request:?}");
    }
    server.forget_requests();
    post(&url, "/v1/embeddings", &json!({"model": "e", "input": "hi"})).send().await.unwrap();
    client().get(url.clone() + "/v1/models").send().await.unwrap();
    post(&url, "/v1/chat/completions", &json!([])).send().await.unwrap();
    let models: Vec<_> = server.requests().iter().map(Recorded::model).collect();
    assert_eq!(models, [Some("e".to_owned()), None, None]);
    assert!(server.requests().iter().all(|request| !request.is_streamed()));
}

#[tokio::test]
async fn a_signed_request_is_its_keys() {
    let server = MockServer::start().await;
    let signed = "AWS4-HMAC-SHA256 Credential=AKID/20250101/us-east-1/bedrock/aws4_request, Signature=0";
    let request = post(&server.url(), "/model/m/converse", &converse("hi")).header("authorization", signed);
    request.send().await.unwrap();
    server.requests().for_key("AKID").assert_count(1);
}
