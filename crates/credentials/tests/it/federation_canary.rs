//! Secrets planted in every input of the federations, and in every answer.

use std::time::Duration;

use portunus_credentials::http::Http;
use portunus_credentials::{
    AnthropicCredentialProvider, AnthropicSource, Cached, CredentialSource, GitHubActionsSource,
    IdentityTokenFile, OpenAiCredentialProvider, OpenAiSource, StaticTokenProvider,
};
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::canary::exercise;
use crate::support::{Env, clock, everything, jwt, seconds};

pub(crate) async fn every_flow() -> String {
    let echo = json!({
        "type": "error",
        "error": { "type": "canary-1", "message": "canary-signature" },
        "error_description": "canary-signature", "value": ["canary-signature"],
    });
    let granted = json!({
        "access_token": "canary-token", "value": jwt(&json!({ "sub": "me", "exp": 1_700_000_300 })),
        "expires_in": 3600, "token_type": "Bearer",
    });
    let mut seen = String::new();
    for status in [200, 302, 400, 401, 429, 503] {
        let answer = ResponseTemplate::new(status).insert_header("location", "https://canary.invalid/");
        seen += &with_answer(answer.clone().set_body_json(&echo)).await;
        seen += &with_answer(answer.set_body_string("<html>canary-signature</html>")).await;
    }
    seen += &with_answer(ResponseTemplate::new(200).set_body_json(&granted)).await;
    seen += &with_answer(ResponseTemplate::new(200).set_body_string("canary".repeat(200_000))).await;
    seen += &with_answer(ResponseTemplate::new(200).set_delay(seconds(60))).await;
    seen + &environments()
}

async fn with_answer(answer: ResponseTemplate) -> String {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let (clock, url) = (clock(), server.uri());
    let http = Http::with_timeouts(Duration::from_millis(100), Duration::from_millis(100))
        .with_attempts(1, Duration::ZERO);
    let job = Env::of(&[
        ("ACTIONS_ID_TOKEN_REQUEST_URL", &*format!("{url}/?canary=canary-in-url")),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary-request-token"),
    ]);
    let job = GitHubActionsSource::from_secrets(&job, "aud", clock.clone()).unwrap().with_http(http.clone());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, jwt(&json!({ "sub": "me" }))).unwrap();
    let identities: [Box<dyn CredentialSource>; 4] = [
        Box::new(job.clone()),
        Box::new(IdentityTokenFile::new(&file, clock.clone())),
        Box::new(StaticTokenProvider::new("canary-no-jwt".into())),
        Box::new(StaticTokenProvider::new(jwt(&json!({ "sub": "me", "exp": 1 })).into())),
    ];
    let mut seen = exercise(&Cached::new(job, clock.clone())).await;
    for identity in identities {
        let identity = std::sync::Arc::new(identity);
        let anthropic = AnthropicSource::new("fdrl_1", "org", identity.clone(), clock.clone())
            .with_base_url(url.parse().unwrap())
            .with_http(http.clone());
        seen += &exercise(&AnthropicCredentialProvider::new(anthropic)).await;
        let openai = OpenAiSource::new("idp", "svc", identity, clock.clone())
            .with_token_url(url.parse().unwrap())
            .with_http(http.clone());
        seen += &exercise(&OpenAiCredentialProvider::new(openai)).await;
    }
    seen
}

/// What is planted where the environment is wrong.
fn environments() -> String {
    let wrong = [
        &[("ANTHROPIC_FEDERATION_RULE_ID", "fdrl_1"), ("ANTHROPIC_IDENTITY_TOKEN", "canary")][..],
        &[
            ("ANTHROPIC_FEDERATION_RULE_ID", "fdrl_1"),
            ("ANTHROPIC_ORGANIZATION_ID", "org"),
            ("ANTHROPIC_IDENTITY_TOKEN", "canary"),
            ("ANTHROPIC_BASE_URL", "http://u:canary@example.com"),
        ],
        &[
            ("HOME", "/h"),
            ("ANTHROPIC_PROFILE", "p"),
            ("/h/.config/anthropic/configs/p.json", "{\"authentication\": \"canary\"}"),
        ],
    ];
    let mut seen = String::new();
    for values in wrong {
        let error = AnthropicCredentialProvider::from_secrets(&Env::of(values), clock()).unwrap_err();
        seen += &everything(&error);
    }
    seen
}
