//! The same script gives the same bytes.

use std::sync::Arc;

use portunus_auth_core::clock::ManualClock;
use portunus_mock::{ApiError, Fixture, MockServer, Reply, ServerBuilder};
use serde_json::{Value, json};

use crate::raw;
use crate::support::{chat, contents, converse, invoke, message, response, streamed};

fn server(clock: &Arc<ManualClock>, ports: (u16, u16)) -> MockServer {
    let reply = Reply::new().thinking("Let me see.").text("Grüße").tool_call("f", json!({"a": [1, "x"]}));
    let builder = ServerBuilder::new()
        .faithful()
        .clock(clock.clone())
        .port(ports.0)
        .with_bearer_token("sk-1")
        .fixture(Fixture::new().user_contains("busy").respond_with(ApiError::rate_limited()))
        .fixture(
            Fixture::new().user_contains("cut").reply(Reply::from("Half an answer").reset_after_frames(2)),
        )
        .fixture(Fixture::new().user_contains("odd").reply(Reply::from("Hi").odd_framing().corrupt_frame(1)))
        .fixture(Fixture::new().user_contains("hi").reply(reply));
    #[cfg(feature = "oauth")]
    let builder = builder.oauth_port(ports.1).with_oauth(portunus_mock::OAuthConfig {
        redirect_uris: vec![BACK.to_owned()],
        ..Default::default()
    });
    builder.build_blocking().unwrap()
}

#[cfg(feature = "oauth")]
const BACK: &str = "https://app.example/cb";

/// Every dialect whole and streamed, with text, tools, errors and faults.
fn models(server: &MockServer) -> String {
    let mut said = String::new();
    let mut ask = |path: &str, body: &Value| {
        let headers = "authorization: Bearer sk-1\r\ncontent-type: application/json\r\n";
        said += &raw::send("POST", &(server.url() + path), headers, &body.to_string());
    };
    for text in ["hi", "busy", "cut", "odd", "no fixture has this"] {
        for body in [chat("m", text), streamed(chat("m", text))] {
            ask("/v1/chat/completions", &body);
            ask("/openai/deployments/d/chat/completions", &body);
        }
        for body in [message("m", text), streamed(message("m", text))] {
            ask("/v1/messages", &body);
        }
        for body in [response("m", text), streamed(response("m", text))] {
            ask("/v1/responses", &body);
        }
        for verb in ["generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"] {
            ask(&format!("/v1beta/models/m:{verb}"), &contents(text));
        }
        for verb in ["converse", "converse-stream"] {
            ask(&format!("/model/m/{verb}"), &converse(text));
        }
        for verb in ["invoke", "invoke-with-response-stream"] {
            ask(&format!("/model/m/{verb}"), &invoke(text));
        }
        ask("/v1/embeddings", &json!({"model": "m", "input": [text, "b"]}));
    }
    ask("/v1/chat/completions", &json!("no object"));
    ask("/nowhere", &json!({}));
    said += &raw::send("GET", &(server.url() + "/v1/models"), "", "");
    said
}

/// A code, tokens for it, and tokens for the refresh token.
#[cfg(feature = "oauth")]
fn tokens(server: &MockServer, clock: &ManualClock) -> String {
    let oauth = server.oauth_url().unwrap();
    let (id, secret) = server.idp().unwrap().client_credentials().unwrap();
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let mut said = raw::send(
        "GET",
        &format!(
            "{oauth}/authorize?response_type=code&client_id={id}&redirect_uri={BACK}&scope=openid\
             &code_challenge={challenge}&code_challenge_method=S256&state=s&nonce=n"
        ),
        "",
        "",
    );
    let code = said.split("code=").nth(1).unwrap_or_else(|| panic!("{said}"));
    let code = code.split(['&', '\r']).next().unwrap().to_owned();
    let mut redeem = |grant: &str| {
        let form = format!("{grant}&client_id={id}&client_secret={secret}");
        let headers = "content-type: application/x-www-form-urlencoded\r\n";
        let answer = raw::send("POST", &format!("{oauth}/token"), headers, &form);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        said += &answer;
        serde_json::from_str::<Value>(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    };
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let granted = redeem(&format!(
        "grant_type=authorization_code&code={code}&redirect_uri={BACK}&code_verifier={verifier}"
    ));
    clock.advance(std::time::Duration::from_secs(60));
    let refresh = granted["refresh_token"].as_str().unwrap();
    redeem(&format!("grant_type=refresh_token&refresh_token={refresh}"));
    for path in ["/.well-known/openid-configuration", "/jwks.json", "/userinfo", "/nowhere"] {
        said += &raw::send("GET", &format!("{oauth}{path}"), "", "");
    }
    said
}

/// What the script leads to, and at which ports.
fn transcript(ports: (u16, u16)) -> (String, (u16, u16)) {
    let port = |url: &str| url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    let server = server(&clock, ports);
    let said = models(&server);
    #[cfg(feature = "oauth")]
    let (said, oauth) = (said + &tokens(&server, &clock), port(&server.oauth_url().unwrap()));
    #[cfg(not(feature = "oauth"))]
    let oauth = 0;
    (said, (port(&server.url()), oauth))
}

#[test]
fn the_same_script_gives_the_same_bytes() {
    // Addresses are in what an identity provider says, so the second run has those of the first.
    let (first, ports) = transcript((0, 0));
    let (second, _) = transcript(ports);
    assert_eq!(first, second);
    assert!(first.contains("\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"), "the mock's own time");
}
