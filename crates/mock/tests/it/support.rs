//! A client, the two requests that most tests send, and a reader of events.

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
