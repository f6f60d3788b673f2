//! Embeddings, and the lists of models of OpenAI.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portunus_mock::{Fixture, Reply};
use serde_json::{Value, json};

use crate::support::{client, frozen, json_of, post};

fn floats(vector: &Value) -> Vec<f64> {
    vector.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[tokio::test]
async fn as_many_vectors_as_inputs_and_the_same_for_the_same_text() {
    let server = frozen([]).await;
    let asked = async |input: Value| {
        let body = json!({"model": "text-embedding-3-small", "input": input});
        json_of(post(&server.url(), "/v1/embeddings", &body).send().await.unwrap()).await
    };
    let one = asked(json!("12345678")).await;
    let vector = one["data"][0]["embedding"].clone();
    assert_eq!(
        one,
        json!({"object": "list", "model": "text-embedding-3-small",
            "data": [{"object": "embedding", "index": 0, "embedding": vector}],
            "usage": {"prompt_tokens": 2, "total_tokens": 2}})
    );
    let length: f64 = floats(&vector).iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-5, "{length}");

    let three = asked(json!(["a", "12345678", "b"])).await;
    assert_eq!(three["data"].as_array().unwrap().len(), 3);
    assert_eq!(three["data"][1], json!({"object": "embedding", "index": 1, "embedding": vector}));
    assert_ne!(three["data"][0]["embedding"], three["data"][2]["embedding"]);
    assert_eq!(asked(json!([1, 2])).await["data"].as_array().unwrap().len(), 1);
    assert_eq!(asked(json!([[1, 2], [3]])).await["data"].as_array().unwrap().len(), 2);
    assert_eq!(asked(json!([])).await["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn base64_is_little_endian_floats_of_the_same_values() {
    let server = frozen([]).await;
    let asked = async |format: &str| {
        let body = json!({"model": "m", "input": "hi", "dimensions": 3, "encoding_format": format});
        let answer = json_of(post(&server.url(), "/v1/embeddings", &body).send().await.unwrap()).await;
        answer["data"][0]["embedding"].clone()
    };
    let plain = asked("float").await;
    let bytes = STANDARD.decode(asked("base64").await.as_str().unwrap()).unwrap();
    let values: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let expected: Vec<f32> = serde_json::from_value(plain).unwrap();
    assert_eq!((values.len(), values), (3, expected));
    let bad = json!({"model": "m", "input": "hi", "encoding_format": "hex"});
    assert_eq!(post(&server.url(), "/v1/embeddings", &bad).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_fixture_chooses_the_vector() {
    let reply = Reply::new().embedding([0.5, -0.25]).usage(7, 0);
    let server = frozen([Fixture::new().user_contains("cat").reply(reply)]).await;
    let body = json!({"model": "m", "input": ["dog", "cat"]});
    let answer = json_of(post(&server.url(), "/v1/embeddings", &body).send().await.unwrap()).await;
    assert_eq!(answer["data"][1]["embedding"], json!([0.5, -0.25]));
    assert_eq!(answer["usage"]["total_tokens"], 7);
    let body = json!({"model": "m", "input": "dog"});
    assert_eq!(post(&server.url(), "/v1/embeddings", &body).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn google_embeds_one_and_many() {
    let server = frozen([]).await;
    let content = |text: &str| json!({"content": {"parts": [{"text": text}]}, "outputDimensionality": 2});
    let path = "/v1beta/models/gemini-embedding-001";
    let one = post(&server.url(), &format!("{path}:embedContent"), &content("a")).send().await.unwrap();
    let one = json_of(one).await;
    assert_eq!(floats(&one["embedding"]["values"]).len(), 2);
    let body = json!({"requests": [content("b"), content("a")]});
    let many = post(&server.url(), &format!("{path}:batchEmbedContents"), &body).send().await.unwrap();
    let many = json_of(many).await;
    assert_eq!(many["embeddings"].as_array().unwrap().len(), 2);
    assert_eq!(many["embeddings"][1], one["embedding"]);
}

#[tokio::test]
async fn one_model_is_shown_in_the_callers_dialect() {
    let server = frozen([]).await;
    let get = |path: &str| client().get(server.url() + path);
    let openai = json_of(get("/v1/models/ft:gpt-4o:acme").send().await.unwrap()).await;
    assert_eq!(
        openai,
        json!({"id": "ft:gpt-4o:acme", "object": "model", "created": 1_700_000_000, "owned_by": "mock"})
    );
    let request = get("/v1/models/claude-x").header("anthropic-version", "2023-06-01");
    assert_eq!(json_of(request.send().await.unwrap()).await["type"], "model");
    let request = get("/v1/models/gemini-x").header("x-goog-api-key", "k");
    assert_eq!(json_of(request.send().await.unwrap()).await["name"], "models/gemini-x");
    let missing = get("/v1/models/no-such-model").send().await.unwrap();
    assert_eq!(missing.status(), 404);
    assert_eq!(json_of(missing).await["error"]["type"], "not_found_error");
}
