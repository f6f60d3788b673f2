//! A client, the two requests that most tests send, and a reader of events.

use std::sync::Arc;

use portunus_auth_core::clock::ManualClock;
use portunus_mock::{Fixture, MockServer, ServerBuilder};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

/// A client that follows no redirect and keeps no proxy.
#[expect(clippy::disallowed_methods, reason = "the mock is called as any program would call it")]
pub(crate) fn client() -> Client {
    let builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.build().unwrap()
}

/// A body of OpenAI's, for a model and with one user message.
pub(crate) fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

/// A body of Anthropic's, for a model and with one user message.
pub(crate) fn message(model: &str, text: &str) -> Value {
    json!({"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": text}]})
}

/// `POST /v1/chat/completions`.
pub(crate) fn post_chat(url: &str, body: &Value) -> RequestBuilder {
    client().post(format!("{url}/v1/chat/completions")).json(body)
}

/// `POST /v1/messages`.
pub(crate) fn post_message(url: &str, body: &Value) -> RequestBuilder {
    client().post(format!("{url}/v1/messages")).json(body)
}

/// A body of OpenAI's Responses.
pub(crate) fn response(model: &str, text: &str) -> Value {
    json!({"model": model, "input": text})
}

/// A body of Google's.
pub(crate) fn contents(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

/// A body of Bedrock's Converse.
pub(crate) fn converse(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": text}]}]})
}

/// A body of Anthropic's as Bedrock and Vertex take it.
pub(crate) fn invoke(text: &str) -> Value {
    json!({"anthropic_version": "x", "max_tokens": 64, "messages": [{"role": "user", "content": text}]})
}

/// `POST` of JSON.
pub(crate) fn post(url: &str, path: &str, body: &Value) -> RequestBuilder {
    client().post(format!("{url}{path}")).json(body)
}

/// A path of Vertex's: what comes after the publishers.
pub(crate) fn vertex(rest: &str) -> String {
    format!("/v1/projects/p/locations/us-east5/publishers/{rest}")
}

/// The messages of an AWS event stream, each as its kind, its name and its payload, read by AWS's own
/// decoder.
pub(crate) fn aws_messages(mut stream: &[u8]) -> Vec<(String, String, Value)> {
    let mut messages = Vec::new();
    while !stream.is_empty() {
        let message = aws_smithy_eventstream::frame::read_message_from(&mut stream).unwrap();
        let header = |name: &str| {
            let found = message.headers().iter().find(|header| header.name().as_str() == name);
            found.map(|header| header.value().as_string().unwrap().as_str().to_owned())
        };
        let kind = header(":message-type").unwrap();
        assert_eq!(header(":content-type").as_deref(), Some("application/json"));
        let name = header(":event-type").or_else(|| header(":exception-type")).unwrap();
        messages.push((kind, name, serde_json::from_slice(message.payload()).unwrap()));
    }
    messages
}

/// A server whose clock stands still, with these fixtures.
pub(crate) async fn frozen(fixtures: impl IntoIterator<Item = Fixture>) -> MockServer {
    let builder = ServerBuilder::new().clock(Arc::new(ManualClock::at_unix(1_700_000_000)));
    fixtures.into_iter().fold(builder, ServerBuilder::fixture).build().await.unwrap()
}

/// Sends a chat request with that bearer token and says how it went.
pub(crate) async fn status_with(url: &str, token: &str) -> u16 {
    let sent = post_chat(url, &chat("gpt-4o", "hi")).bearer_auth(token).send().await.unwrap();
    sent.status().as_u16()
}

/// Makes a request a streaming one.
pub(crate) fn streamed(mut body: Value) -> Value {
    body["stream"] = true.into();
    body
}

/// The events of a stream: name (if any) and data.
pub(crate) fn events(stream: &str) -> Vec<(Option<String>, String)> {
    assert!(stream.ends_with("\n\n"), "a stream ends with a whole event: {stream:?}");
    let event = |frame: &str| {
        let line = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        (line("event: "), line("data: ").unwrap_or_default())
    };
    stream.split_terminator("\n\n").map(event).collect()
}

/// The body as JSON.
pub(crate) async fn json_of(response: Response) -> Value {
    response.json().await.unwrap()
}

/// The value of a header.
pub(crate) fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}
