//! Every flow, traced at the finest level; the planted secrets must not be in what it says.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portunus_credentials::http::Http;
use portunus_credentials::{
    AzureAdCredentialProvider, Cached, Chain, CredentialProvider, EnvSource, FileSource, ProviderConfig,
    StaticTokenProvider, apply,
};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{Env, clock, everything, seconds};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Uses a provider in every way and collects all it shows.
pub(crate) async fn exercise(provider: &dyn CredentialProvider) -> String {
    let mut seen = format!("{provider:?}");
    for _ in 0..2 {
        match provider.resolve().await {
            Ok(credential) => {
                let mut headers = http::HeaderMap::new();
                // Keys to sign with are not applied.
                let _ = apply(&credential, &mut headers);
                seen += &format!("{credential:?} {headers:?}");
                provider.invalidate(&credential);
            }
            Err(error) => seen += &everything(&error),
        }
    }
    seen + &format!("{provider:?}")
}

async fn azure(answer: ResponseTemplate) -> String {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let http = Http::with_timeouts(Duration::from_millis(300), Duration::from_millis(300))
        .with_attempts(2, Duration::ZERO);
    let provider = AzureAdCredentialProvider::new("contoso", "app", "canary-client-secret".into())
        .with_authority(server.uri().parse().unwrap())
        .with_http(http);
    exercise(&provider).await
}

#[test]
fn no_secret_is_ever_shown() {
    let captured = Captured::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(captured.clone())
        .init();
    let seen = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(every_flow());
    let logged = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("credential refreshed"), "the log must have been captured");
    assert!(logged.contains("credential refresh failed"), "the log must have been captured");
    for (place, text) in [("log", &logged), ("output", &seen)] {
        let found = text.lines().find(|line| line.contains("canary") && !from_the_test_server(line));
        assert_eq!(found, None, "in the {place}");
    }
}

/// The server's side of the test traces what it received; the client's side must not.
fn from_the_test_server(line: &str) -> bool {
    line.contains("wiremock")
}

async fn every_flow() -> String {
    let env = Env::of(&[("CANARY", "canary-variable"), ("SECRET", "canary-config")]);
    let clock = clock();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "canary-file").unwrap();

    let mut seen = exercise(&StaticTokenProvider::new("canary-static".into())).await;
    let header = http::HeaderName::from_static("x-api-key");
    seen += &exercise(&StaticTokenProvider::api_key(header, "canary-key".into())).await;
    let config: ProviderConfig = toml::from_str("source = \"api-key\"\nkey = \"${SECRET}\"").unwrap();
    seen += &exercise(&*config.build(&env, clock.clone()).unwrap()).await;
    let chain = Chain::first("unset", EnvSource::new("UNSET", Arc::new(Env::default())))
        .then("variable", EnvSource::new("CANARY", Arc::new(env)));
    seen += &exercise(&Cached::new(chain, clock.clone())).await;
    seen += &exercise(&Cached::new(FileSource::new(file, clock.clone()), clock)).await;
    seen += &crate::azure_canary::every_flow().await;
    #[cfg(feature = "bedrock-auth")]
    {
        seen += &crate::aws_canary::every_flow().await;
    }
    #[cfg(all(unix, feature = "bedrock-auth", feature = "command"))]
    {
        seen += &crate::aws_canary::programs().await;
    }
    #[cfg(feature = "vertex-auth")]
    {
        seen += &crate::google::canary::every_flow().await;
    }

    #[cfg(all(feature = "anthropic-auth", feature = "openai-auth"))]
    {
        seen += &crate::federation_canary::every_flow().await;
    }

    let echo = json!({
        "error": "canary-1", "error_description": "canary-client-secret", "error_codes": ["canary"],
        "access_token": "canary-token",
    });
    for status in [200, 302, 400, 401, 403, 404, 429, 500, 503] {
        let answer = ResponseTemplate::new(status).insert_header("location", "https://canary.invalid/");
        seen += &azure(answer.clone().set_body_json(&echo)).await;
        seen += &azure(answer.set_body_string("<html>canary-client-secret</html>")).await;
    }
    let granted = json!({ "access_token": "canary-token", "expires_in": 3600, "token_type": "Bearer" });
    seen += &azure(ResponseTemplate::new(200).set_body_json(&granted)).await;
    let other = json!({ "access_token": "canary-token", "token_type": "canary" });
    seen += &azure(ResponseTemplate::new(200).set_body_json(&other)).await;
    let large = "canary".repeat(200_000);
    seen += &azure(ResponseTemplate::new(200).set_body_string(large)).await;
    seen + &azure(ResponseTemplate::new(200).set_delay(seconds(60))).await
}
