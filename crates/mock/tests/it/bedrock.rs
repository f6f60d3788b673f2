//! Bedrock: Converse, models' own formats, event streams and signatures.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portunus_auth_core::clock::ManualClock;
use portunus_mock::{ApiError, Fixture, Key, MockServer, Reply, ServerBuilder};
use reqwest::{RequestBuilder, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{aws_messages, client, converse, frozen, header, invoke, json_of, post};

fn event(name: &str, payload: Value) -> (String, String, Value) {
    ("event".to_owned(), name.to_owned(), payload)
}

async fn messages(request: RequestBuilder) -> Vec<(String, String, Value)> {
    let answer = request.send().await.unwrap();
    assert_eq!(header(&answer, "content-type"), Some("application/vnd.amazon.eventstream"));
    aws_messages(&answer.bytes().await.unwrap())
}

#[tokio::test]
async fn converse_answers_whole() {
    let reply = Reply::new().text("Hi").tool_call("f", json!({"a": 1})).usage(10, 4).cached_tokens(3, 2);
    let server = frozen([Fixture::new().on_model("anthropic.claude-v1:0").reply(reply)]).await;
    let answer =
        post(&server.url(), "/model/anthropic.claude-v1%3A0/converse", &converse("hi")).send().await.unwrap();
    assert!(header(&answer, "x-amzn-requestid").is_some());
    let tool = json!({"toolUse": {"toolUseId": "tooluse_mock_1", "name": "f", "input": {"a": 1}}});
    assert_eq!(
        json_of(answer).await,
        json!({
            "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}, tool]}},
            "stopReason": "tool_use",
            "usage": {"inputTokens": 5, "outputTokens": 4, "totalTokens": 14,
                "cacheReadInputTokens": 3, "cacheWriteInputTokens": 2},
            "metrics": {"latencyMs": 1},
        })
    );
}

#[tokio::test]
async fn converse_streams_typed_messages() {
    let reply = Reply::new().thinking("Hm").text("Hi you").tool_call("f", json!({"a": 1})).chunks(2);
    let server = frozen([Fixture::new().reply(reply)]).await;
    let delta = |index: u64, delta: Value| {
        event("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}))
    };
    let thought = |text: &str| delta(0, json!({"reasoningContent": {"text": text}}));
    let stop = |index: u64| event("contentBlockStop", json!({"contentBlockIndex": index}));
    let usage = json!({"inputTokens": 1, "outputTokens": 4, "totalTokens": 5,
        "cacheReadInputTokens": 0, "cacheWriteInputTokens": 0});
    assert_eq!(
        messages(post(&server.url(), "/model/m/converse-stream", &converse("hi"))).await,
        [
            event("messageStart", json!({"role": "assistant"})),
            thought("H"),
            thought("m"),
            delta(0, json!({"reasoningContent": {"signature": "bW9jay1zaWduYXR1cmU="}})),
            stop(0),
            delta(1, json!({"text": "Hi "})),
            delta(1, json!({"text": "you"})),
            stop(1),
            event(
                "contentBlockStart",
                json!({"contentBlockIndex": 2,
                "start": {"toolUse": {"toolUseId": "tooluse_mock_1", "name": "f"}}})
            ),
            delta(2, json!({"toolUse": {"input": r#"{"a"#}})),
            delta(2, json!({"toolUse": {"input": r#"":1}"#}})),
            stop(2),
            event("messageStop", json!({"stopReason": "tool_use"})),
            event("metadata", json!({"usage": usage, "metrics": {"latencyMs": 1}})),
        ]
    );
}

#[tokio::test]
async fn a_model_is_invoked_in_anthropics_format() {
    let server = frozen([Fixture::new().respond_with_content("Hi").chunks(1)]).await;
    let url = server.url();
    let answer =
        json_of(post(&url, "/model/anthropic.claude/invoke", &invoke("hi")).send().await.unwrap()).await;
    assert_eq!((&answer["model"], &answer["content"][0]["text"]), (&json!("anthropic.claude"), &json!("Hi")));

    let chunks =
        messages(post(&url, "/model/anthropic.claude/invoke-with-response-stream", &invoke("hi"))).await;
    let kinds: Vec<String> = chunks
        .iter()
        .map(|(kind, name, payload)| {
            assert_eq!((kind.as_str(), name.as_str()), ("event", "chunk"));
            let inside = STANDARD.decode(payload["bytes"].as_str().unwrap()).unwrap();
            let inside: Value = serde_json::from_slice(&inside).unwrap();
            inside["type"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
}

#[tokio::test]
async fn a_stream_breaks_off_with_an_exception() {
    let reply = Reply::from("Hi").fail_after_frames(1, ApiError::rate_limited().message("slow down"));
    let server = frozen([Fixture::new().reply(reply)]).await;
    for (path, body) in
        [("/model/m/converse-stream", converse("hi")), ("/model/m/invoke-with-response-stream", invoke("hi"))]
    {
        let last = messages(post(&server.url(), path, &body)).await.pop().unwrap();
        let expected =
            ("exception".to_owned(), "throttlingException".to_owned(), json!({"message": "slow down"}));
        assert_eq!(last, expected, "{path}");
    }
}

#[tokio::test]
async fn tools_are_called_until_their_result_is_there() {
    let server = frozen([]).await;
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let mut body = converse("weather?");
    body["toolConfig"] = json!({"tools": [{"cachePoint": {"type": "default"}},
        {"toolSpec": {"name": "get_weather", "inputSchema": {"json": schema}}}]});
    body["system"] = json!([{"text": "Be kind."}]);
    let answer = json_of(post(&server.url(), "/model/m/converse", &body).send().await.unwrap()).await;
    let said = answer["output"]["message"].clone();
    assert_eq!(said["content"][0]["toolUse"]["input"], json!({"city": "Paris"}));
    assert_eq!(answer["usage"]["inputTokens"], 4);
    let turns = body["messages"].as_array_mut().unwrap();
    turns.push(said);
    let result = json!({"toolUseId": "tooluse_mock_1", "content": [{"text": "sunny"}]});
    turns.push(json!({"role": "user", "content": [{"toolResult": result}]}));
    let answer = json_of(post(&server.url(), "/model/m/converse", &body).send().await.unwrap()).await;
    assert_eq!(answer["stopReason"], "end_turn");
}

/// A request that a real client of AWS's signed.
#[derive(Clone, Deserialize)]
struct Signed {
    path: String,
    timestamp: String,
    region: String,
    credentials: Credentials,
    headers: std::collections::BTreeMap<String, String>,
    authorization: String,
    body_base64: String,
}

#[derive(Clone, Deserialize)]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl Signed {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../data/bedrock-signed.json")).unwrap()
    }

    fn at(&self) -> SystemTime {
        humantime::parse_rfc3339(&self.timestamp).unwrap()
    }

    fn key(&self) -> Key {
        let Credentials { access_key_id, secret_access_key, session_token } = self.credentials.clone();
        let key = Key::aws(access_key_id, secret_access_key);
        session_token.into_iter().fold(key, Key::session_token)
    }

    /// A server that admits the key, `seconds` after the request was signed.
    async fn server(&self, key: Key, seconds: i64) -> MockServer {
        let at = SystemTime::UNIX_EPOCH
            + Duration::from_secs(
                self.at()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap()
                    .as_secs()
                    .checked_add_signed(seconds)
                    .unwrap(),
            );
        let builder = ServerBuilder::new().clock(Arc::new(ManualClock::at(at))).with_key(key);
        builder.build().await.unwrap()
    }

    async fn send(&self, server: &MockServer) -> Response {
        let body = STANDARD.decode(&self.body_base64).unwrap();
        let request = client().post(server.url() + &self.path).body(body);
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.header("authorization", &self.authorization).send().await.unwrap()
    }
}

async fn refused(answer: Response) -> (u16, String, String) {
    let kind = header(&answer, "x-amzn-errortype").unwrap().to_owned();
    let status = answer.status().as_u16();
    (status, kind, json_of(answer).await["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_a_client_of_aws_signed_is_admitted() {
    for signed in Signed::all() {
        let server = signed.server(signed.key(), 0).await;
        let answer = signed.send(&server).await;
        assert_eq!(answer.status(), 200, "{}", signed.path);
    }
}

#[tokio::test]
async fn whatever_was_changed_after_signing_is_refused() {
    let signed = Signed::all().into_iter().find(|signed| signed.credentials.session_token.is_some()).unwrap();
    let server = signed.server(signed.key(), 0).await;
    let mismatch = |mut changed: Signed, how: fn(&mut Signed)| {
        how(&mut changed);
        changed
    };
    let changes: [fn(&mut Signed); 5] = [
        |signed| signed.body_base64 = STANDARD.encode(converse("other").to_string()),
        |signed| signed.path = "/model/other/converse".to_owned(),
        |signed| signed.path += "?a=b",
        |signed| drop(signed.headers.insert("content-type".to_owned(), "text/plain".to_owned())),
        |signed| signed.authorization.replace_range(signed.authorization.len() - 1.., "0"),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let changed = mismatch(signed.clone(), change);
        let unchanged = changed.authorization == signed.authorization && number == 4;
        let (status, kind, _) = refused(changed.send(&server).await).await;
        assert!(!unchanged && status == 403 && kind == "InvalidSignatureException", "{number}: {kind}");
    }
    let mut unsigned = signed.clone();
    unsigned.headers.insert("x-amz-new".to_owned(), "1".to_owned());
    assert_eq!(refused(unsigned.send(&server).await).await.1, "IncompleteSignatureException");
    let mut other_token = signed.clone();
    other_token.headers.insert("x-amz-security-token".to_owned(), "canary".to_owned());
    let (status, kind, says) = refused(other_token.send(&server).await).await;
    assert_eq!((status, &*kind), (403, "UnrecognizedClientException"));
    assert_eq!(says, "The security token included in the request is invalid.");
}

#[tokio::test]
async fn key_time_region_and_service_are_checked() {
    let signed = &Signed::all()[0];
    let says = async |key: Key, seconds: i64| {
        let server = signed.server(key, seconds).await;
        refused(signed.send(&server).await).await
    };
    let other = Key::aws("AKIAOTHER", "secret");
    assert_eq!(says(other, 0).await.1, "UnrecognizedClientException");
    // A bearer token of the same text is no AWS key.
    assert_eq!(says(Key::new(&signed.credentials.access_key_id), 0).await.1, "UnrecognizedClientException");
    let wrong = Key::aws(&signed.credentials.access_key_id, "wrong")
        .session_token(signed.credentials.session_token.clone().unwrap());
    let (status, kind, text) = says(wrong, 0).await;
    assert_eq!((status, &*kind), (403, "InvalidSignatureException"));
    assert!(text.starts_with("The request signature we calculated does not match"), "{text}");

    for (seconds, admitted) in [(-300, true), (300, true), (-301, false), (301, false)] {
        let server = signed.server(signed.key(), seconds).await;
        let answer = signed.send(&server).await;
        assert_eq!(answer.status() == 200, admitted, "{seconds}");
        if !admitted {
            let (status, kind, text) = refused(answer).await;
            assert_eq!((status, &*kind), (403, "InvalidSignatureException"));
            let begins =
                if seconds < 0 { "Signature not yet current: 2026" } else { "Signature expired: 2026" };
            assert!(text.starts_with(begins), "{text}");
        }
    }
    let (_, kind, text) = says(signed.key().region("eu-north-7"), 0).await;
    assert_eq!(
        (&*kind, &*text),
        ("InvalidSignatureException", "Credential should be scoped to a valid region. ")
    );
    assert_ne!(signed.region, "eu-north-7");
    let mut for_sts = signed.clone();
    for_sts.authorization = signed.authorization.replace("/bedrock/", "/sts/");
    let server = signed.server(signed.key(), 0).await;
    let (_, _, text) = refused(for_sts.send(&server).await).await;
    assert!(text.contains("correct service: 'bedrock'"), "{text}");
    for (from, part) in
        [("Signature=", "Signature"), ("SignedHeaders=", "SignedHeaders"), ("aws4_request", "Credential")]
    {
        let mut broken = signed.clone();
        broken.authorization = signed.authorization.replace(from, "x");
        let (status, kind, text) = refused(broken.send(&server).await).await;
        assert_eq!((status, &*kind), (400, "IncompleteSignatureException"));
        assert_eq!(text, format!("Authorization header requires '{part}' parameter."));
    }
}

#[tokio::test]
async fn a_bearer_key_is_admitted_too_and_uses_are_spent() {
    let signed = &Signed::all()[0];
    let server = signed.server(signed.key().uses(1), 0).await;
    server.add_key(Key::new("bedrock-api-key-x"));
    assert_eq!(signed.send(&server).await.status(), 200);
    assert_eq!(refused(signed.send(&server).await).await.1, "AccessDeniedException");
    let post = || post(&server.url(), "/model/m/converse", &converse("hi"));
    assert_eq!(post().bearer_auth("bedrock-api-key-x").send().await.unwrap().status(), 200);
    let (status, kind, _) = refused(post().bearer_auth("wrong").send().await.unwrap()).await;
    assert_eq!((status, &*kind), (403, "AccessDeniedException"));
    let (status, kind, says) = refused(post().send().await.unwrap()).await;
    assert_eq!(
        (status, &*kind, &*says),
        (403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    );
    // A signature is for Bedrock only.
    let chat = crate::support::chat("m", "hi");
    let elsewhere =
        crate::support::post_chat(&server.url(), &chat).header("authorization", &signed.authorization);
    assert_eq!(elsewhere.send().await.unwrap().status(), 401);
}
