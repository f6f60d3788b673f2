//! `async-openai`, which parses every answer into a type.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::chat::{ChatCompletionMessageToolCalls, CreateChatCompletionRequest, FinishReason};
use async_openai::types::embeddings::CreateEmbeddingRequest;
use async_openai::types::responses::{CreateResponse, OutputItem, ResponseStreamEvent};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use crate::{Result, equal};

const TEXT: &str = "Hello from the mock.";

fn client(url: &str, key: &str) -> Client<OpenAIConfig> {
    Client::with_config(OpenAIConfig::new().with_api_base(format!("{url}/v1")).with_api_key(key))
}

fn paris(arguments: &str) -> Result {
    equal("arguments", serde_json::from_str::<Value>(arguments)?, json!({"city": "Paris"}))
}

fn city() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

fn asked(model: &str, more: Value) -> Result<CreateChatCompletionRequest> {
    let mut request = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    if let (Some(request), Value::Object(more)) = (request.as_object_mut(), more) {
        request.extend(more);
    }
    Ok(serde_json::from_value(request)?)
}

pub(crate) async fn chat(url: &str) -> Result {
    let client = client(url, "test-key");
    let said = client.chat().create(asked("m", json!({}))?).await?;
    equal("text", said.choices[0].message.content.as_deref(), Some(TEXT))?;
    let usage = said.usage.ok_or("no usage")?;

    let stream =
        client.chat().create_stream(asked("m", json!({"stream_options": {"include_usage": true}}))?).await?;
    let chunks: Vec<_> = stream.try_collect().await?;
    let text =
        chunks.iter().flat_map(|chunk| &chunk.choices).filter_map(|choice| choice.delta.content.as_deref());
    equal("text", text.collect::<String>().as_str(), TEXT)?;
    equal("usage", chunks.last().and_then(|chunk| chunk.usage.as_ref()), Some(&usage))?;

    let tools =
        json!({"tools": [{"type": "function", "function": {"name": "get_weather", "parameters": city()}}]});
    let called = client.chat().create(asked("m", tools.clone())?).await?;
    equal("end", called.choices[0].finish_reason, Some(FinishReason::ToolCalls))?;
    match called.choices[0].message.tool_calls.as_deref() {
        Some([ChatCompletionMessageToolCalls::Function(call)]) => paris(&call.function.arguments)?,
        other => return Err(format!("tool calls: {other:?}").into()),
    }
    let chunks: Vec<_> = client.chat().create_stream(asked("m", tools)?).await?.try_collect().await?;
    let calls = chunks
        .iter()
        .flat_map(|chunk| &chunk.choices)
        .flat_map(|choice| choice.delta.tool_calls.iter().flatten());
    let pieces = calls.filter_map(|call| call.function.as_ref()?.arguments.as_deref());
    paris(&pieces.collect::<String>())
}

pub(crate) async fn responses(url: &str) -> Result {
    let client = client(url, "test-key");
    let asked = |more: Value| -> Result<CreateResponse> {
        let mut request = json!({"model": "m", "input": "hi"});
        request["tools"] = more;
        Ok(serde_json::from_value(request)?)
    };
    let said = client.responses().create(asked(Value::Null)?).await?;
    equal("text", said.output_text().as_deref(), Some(TEXT))?;

    let events: Vec<_> = client.responses().create_stream(asked(Value::Null)?).await?.try_collect().await?;
    let text = events.iter().filter_map(|event| match event {
        ResponseStreamEvent::ResponseOutputTextDelta(event) => Some(event.delta.as_str()),
        _ => None,
    });
    equal("text", text.collect::<String>().as_str(), TEXT)?;
    match events.last() {
        Some(ResponseStreamEvent::ResponseCompleted(last)) => {
            equal("text", last.response.output_text().as_deref(), Some(TEXT))?;
        }
        other => return Err(format!("the last event: {other:?}").into()),
    }

    let tools = json!([{"type": "function", "name": "get_weather", "parameters": city(), "strict": true}]);
    match &client.responses().create(asked(tools)?).await?.output[..] {
        [OutputItem::FunctionCall(call)] => paris(&call.arguments),
        other => Err(format!("output: {other:?}").into()),
    }
}

pub(crate) async fn embeddings(url: &str) -> Result {
    let client = client(url, "test-key");
    let asked = |format: &str| -> Result<CreateEmbeddingRequest> {
        let request = json!({"model": "m", "input": ["a", "b"], "encoding_format": format});
        Ok(serde_json::from_value(request)?)
    };
    let plain = client.embeddings().create(asked("float")?).await?.data;
    let packed = client.embeddings().create_base64(asked("base64")?).await?.data;
    equal("vectors", plain.len(), 2)?;
    for (plain, packed) in plain.into_iter().zip(packed) {
        equal("vector", Vec::from(packed.embedding), plain.embedding)?;
    }
    let models = client.models().list().await?.data;
    equal("mock-model", models.iter().any(|model| model.id == "mock-model"), true)?;
    equal("model", client.models().retrieve("m").await?.id.as_str(), "m")
}

pub(crate) async fn failures(url: &str) -> Result {
    let known = client(url, "test-key");
    // The client asks again by itself, after the second that it is told to wait.
    for (client, model, status, code) in [
        (&client(url, "x"), "m", 401, Some("invalid_api_key")),
        (&known, "no-such-model", 404, Some("model_not_found")),
        (&known, "mock-429", 429, Some("rate_limit_exceeded")),
    ] {
        match client.chat().create(asked(model, json!({}))?).await {
            Err(OpenAIError::ApiError(error)) => {
                equal("status", error.status_code.as_u16(), status)?;
                equal("code", error.api_error.code.as_deref(), code)?;
            }
            other => return Err(format!("{status}: {other:?}").into()),
        }
    }
    let said = known.chat().create(asked("mock-503-once-async-openai", json!({}))?).await?;
    equal("text", said.choices[0].message.content.as_deref(), Some(TEXT))?;
    // The client has no type for an error in a stream, but hands on what came.
    for (model, is) in [("mock-midstream", is_overloaded as fn(&OpenAIError) -> bool), ("mock-cut", is_cut)] {
        let chunks = known.chat().create_stream(asked(model, json!({}))?).await?;
        equal(model, chunks.try_collect::<Vec<_>>().await.is_err_and(|error| is(&error)), true)?;
        let request: CreateResponse = serde_json::from_value(json!({"model": model, "input": "hi"}))?;
        let events = known.responses().create_stream(request).await?;
        equal(model, events.try_collect::<Vec<_>>().await.is_err_and(|error| is(&error)), true)?;
    }
    Ok(())
}

fn is_overloaded(error: &OpenAIError) -> bool {
    matches!(error, OpenAIError::JSONDeserialize(_, content) if content.contains("overloaded"))
}

fn is_cut(error: &OpenAIError) -> bool {
    matches!(error, OpenAIError::StreamError(_))
}
