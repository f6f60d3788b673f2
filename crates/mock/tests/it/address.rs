//! Where clients of all kinds find a server.

use portunus_mock::{Dialect, MockServer};
use serde_json::json;

use crate::support::{chat, client, contents, converse, invoke, message};

#[tokio::test]
async fn each_variable_leads_a_client_that_adds_its_own_paths_to_the_server() {
    let server = MockServer::start().await;
    server.add_token("sk-1");
    let vertex = "/projects/p/locations/l/publishers";
    let paths = [
        ("OPENAI_BASE_URL", "/chat/completions".to_owned(), chat("m", "hi")),
        ("AZURE_OPENAI_ENDPOINT", "/openai/deployments/m/chat/completions".to_owned(), chat("m", "hi")),
        ("ANTHROPIC_BASE_URL", "/v1/messages".to_owned(), message("m", "hi")),
        ("ANTHROPIC_BEDROCK_BASE_URL", "/model/m/invoke".to_owned(), invoke("hi")),
        ("ANTHROPIC_VERTEX_BASE_URL", format!("{vertex}/anthropic/models/m:rawPredict"), invoke("hi")),
        ("GOOGLE_GEMINI_BASE_URL", "/v1beta/models/m:generateContent".to_owned(), contents("hi")),
        (
            "GOOGLE_VERTEX_BASE_URL",
            format!("/v1beta1{vertex}/google/models/m:generateContent"),
            contents("hi"),
        ),
        ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "/model/m/converse".to_owned(), converse("hi")),
    ];
    let env = server.env();
    assert_eq!(
        env.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        paths.each_ref().map(|(name, ..)| *name)
    );
    for ((_, base), (name, path, body)) in env.iter().zip(&paths) {
        let answer =
            client().post(format!("{base}{path}")).bearer_auth("sk-1").json(body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{name}");
    }
    assert!(!json!(env).to_string().contains("sk-1"));
    let keys = server.env_with_key("sk-1");
    let keys: Vec<_> = keys.iter().filter(|(_, value)| value == "sk-1").map(|(name, _)| *name).collect();
    assert_eq!(
        keys,
        [
            "OPENAI_API_KEY",
            "AZURE_OPENAI_API_KEY",
            "ANTHROPIC_API_KEY",
            "GOOGLE_API_KEY",
            "AWS_BEARER_TOKEN_BEDROCK"
        ]
    );
}

#[tokio::test]
async fn a_base_is_what_stands_before_a_clients_own_paths() {
    let server = MockServer::start().await;
    let url = server.url();
    assert_eq!(server.base_url(Dialect::OpenAi), format!("{url}/v1"));
    for dialect in [Dialect::Anthropic, Dialect::Gemini, Dialect::Azure, Dialect::Vertex, Dialect::Bedrock] {
        assert_eq!(server.base_url(dialect), url);
    }
}

#[tokio::test]
async fn a_server_that_is_just_started_is_faithful_and_asks_for_nothing() {
    let server = MockServer::start().await;
    let open = client().post(server.url() + "/v1/messages").json(&message("m", "hi")).send().await.unwrap();
    assert_eq!(open.status(), 200);
    server.add_token("sk-1");
    let closed = client().post(server.url() + "/v1/messages").json(&message("m", "hi")).send().await.unwrap();
    assert_eq!(closed.status(), 401);
    assert!(closed.text().await.unwrap().contains("x-api-key header is required"));
}
