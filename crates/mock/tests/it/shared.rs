//! Azure and Vertex, which serve the formats of others under paths of their own.

use portunus_mock::{Fixture, Reply};
use serde_json::{Value, json};

use crate::support::{
    chat, client, contents, events, frozen, header, invoke, json_of, post, response, streamed, vertex,
};

#[tokio::test]
async fn azure_names_the_deployment_in_the_path_and_the_request_in_its_own_header() {
    let server = frozen([Fixture::new().on_model("my-gpt").respond_with_content("Hi")]).await;
    let url = server.url();
    let by_path = json!({"messages": [{"role": "user", "content": "hi"}]});
    let path = "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21";
    let answer = post(&url, path, &by_path).send().await.unwrap();
    assert!(header(&answer, "apim-request-id").is_some());
    let answer = json_of(answer).await;
    assert_eq!(
        (&answer["model"], &answer["choices"][0]["message"]["content"]),
        (&json!("my-gpt"), &json!("Hi"))
    );
    // What the body says does not matter there.
    let answer = post(&url, path, &chat("other", "hi")).send().await.unwrap();
    assert_eq!(json_of(answer).await["model"], "my-gpt");

    for (path, body) in [
        ("/openai/v1/chat/completions", chat("my-gpt", "hi")),
        ("/openai/v1/responses", response("my-gpt", "hi")),
        ("/openai/responses?api-version=2025-03-01-preview", response("my-gpt", "hi")),
        ("/openai/deployments/my-gpt/embeddings", json!({"input": "hi"})),
    ] {
        assert_eq!(post(&url, path, &body).send().await.unwrap().status(), 200, "{path}");
    }
    let stream = post(&url, path, &streamed(by_path)).send().await.unwrap().text().await.unwrap();
    assert!(stream.ends_with("data: [DONE]\n\n"));
    for path in ["/openai/models", "/openai/v1/models"] {
        let list = json_of(client().get(url.clone() + path).send().await.unwrap()).await;
        assert_eq!(list["object"], "list", "{path}");
    }
}

#[tokio::test]
async fn vertex_serves_google_and_anthropic() {
    let server = frozen([Fixture::new().respond_with_content("Hi")]).await;
    let url = server.url();
    let google =
        post(&url, &vertex("google/models/g:generateContent"), &contents("hi")).send().await.unwrap();
    assert_eq!(json_of(google).await["candidates"][0]["content"]["parts"][0]["text"], "Hi");
    let path = vertex("anthropic/models/claude-sonnet-4-5@20250929:rawPredict");
    let answer = json_of(post(&url, &path, &invoke("hi")).send().await.unwrap()).await;
    assert_eq!(
        (&answer["model"], &answer["content"][0]["text"]),
        (&json!("claude-sonnet-4-5@20250929"), &json!("Hi"))
    );

    let path = vertex("anthropic/models/claude@1:streamRawPredict");
    let stream = post(&url, &path, &invoke("hi")).send().await.unwrap().text().await.unwrap();
    let events = events(&stream);
    assert_eq!(events[0].0.as_deref(), Some("message_start"));
    assert_eq!(events.last().unwrap().0.as_deref(), Some("message_stop"));

    let mut body = invoke("12345678");
    body["model"] = "claude@1".into();
    let count = post(&url, &vertex("anthropic/models/count-tokens:rawPredict"), &body).send().await.unwrap();
    assert_eq!(json_of(count).await, json!({"input_tokens": 2}));
    let google =
        post(&url, &vertex("google/models/g:countTokens"), &contents("12345678")).send().await.unwrap();
    assert_eq!(json_of(google).await, json!({"totalTokens": 2}));
}

#[tokio::test]
async fn what_is_nowhere_is_said_in_the_dialect_of_the_path() {
    let server = frozen([Fixture::new().reply(Reply::from("Hi"))]).await;
    let said = async |path: &str| {
        let answer = post(&server.url(), path, &json!({})).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        json_of(answer).await
    };
    assert_eq!(said("/v1/audio/speech").await["error"]["code"], "not_found");
    assert_eq!(said("/v1/messages/batches").await["type"], "error");
    assert_eq!(said("/v1beta/models/m:nothing").await["error"]["status"], "NOT_FOUND");
    assert_eq!(said("/openai/deployments/d/nothing").await["error"]["code"], "not_found");
    assert_eq!(said("/v1/projects/p/nothing").await["error"]["status"], "NOT_FOUND");
    let bedrock: Value = said("/model/m/nothing").await;
    assert_eq!(bedrock, json!({"message": "there is no such route"}));
}
