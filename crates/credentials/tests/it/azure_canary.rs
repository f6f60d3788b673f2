//! The flows of Azure beside the client secret, with secrets in all that is put in and in all that is answered.

use std::time::Duration;

use portunus_credentials::http::Http;
use portunus_credentials::{
    AzureAdSource, AzureManagedIdentitySource, Cached, ClientCertificate, StaticTokenProvider,
};
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::canary::exercise;
use crate::support::{Env, clock, seconds};

const PEM: &str = include_str!("../data/azure/client.pem");

async fn applications(http: &Http, server: &MockServer, certificate: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let [token, pem] = ["token", "pem"].map(|name| folder.path().join(name));
    std::fs::write(&token, "canary-federated").unwrap();
    std::fs::write(&pem, certificate).unwrap();
    let other = StaticTokenProvider::new("canary-assertion".into());
    let mut sources = vec![
        AzureAdSource::with_token_file("contoso", "app", token, clock()),
        AzureAdSource::with_assertion("contoso", "app", other, clock()),
        AzureAdSource::with_certificate_file("contoso", "app", pem, clock()),
    ];
    if let Ok(certificate) = ClientCertificate::from_pem(&certificate.into()) {
        let certificate = certificate.with_rs256().sending_chain();
        sources.push(AzureAdSource::with_certificate("contoso", "app", certificate, clock()));
    }
    let mut seen = String::new();
    for source in sources {
        let source = source.with_authority(&server.uri().parse().unwrap()).with_http(http.clone());
        seen += &exercise(&Cached::new(source, clock())).await;
    }
    seen
}

async fn machines(http: &Http, answer: ResponseTemplate) -> String {
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("agent.key");
    std::fs::write(&key, "canary-arc-key").unwrap();
    let server = MockServer::start().await;
    let challenge = format!("Basic realm={}", key.display());
    let answer = answer.insert_header("www-authenticate", &*challenge);
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let url = server.uri();
    let mut seen = String::new();
    for env in [
        &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*url)][..],
        &[("IDENTITY_ENDPOINT", &*url), ("IDENTITY_HEADER", "canary-header")],
        &[("IDENTITY_ENDPOINT", &*url), ("IMDS_ENDPOINT", "x")],
    ] {
        let source = AzureManagedIdentitySource::from_secrets("scope", &Env::of(env), clock()).unwrap();
        let source = source.with_http(http.clone()).with_arc_keys(keys.path());
        seen += &exercise(&Cached::new(source, clock())).await;
    }
    seen
}

/// All that was shown.
pub(crate) async fn every_flow() -> String {
    let reply = json!({
        "access_token": "canary-token", "expires_on": "1700003600", "expires_in": 3600, "client_id": "canary id",
        "error": "canary-1", "error_description": "Identity not found: canary", "error_codes": ["canary"],
    });
    let mut granted = reply.clone();
    granted["error"] = json!(null);
    // A text may explain a key before it begins (RFC 7468 section 2).
    let certificate = format!("canary-explanation\n{PEM}");
    let broken = format!("canary-explanation\n{}", PEM.replace("-----END", "canary-broken"));
    let short = Duration::from_millis(300);
    // Shared, because setting a client up takes longer than all that it is asked here.
    let outside = Http::with_timeouts(short, short).with_attempts(1, Duration::ZERO);
    let near = Http::for_metadata().with_attempts(1, Duration::ZERO);
    let mut seen = String::new();
    for status in [200, 302, 400, 401, 403, 404, 500] {
        for body in [reply.to_string(), granted.to_string(), "canary-text".to_owned()] {
            let answer = ResponseTemplate::new(status).set_body_raw(body, "application/json");
            let answer = answer.insert_header("location", "https://canary.invalid/");
            let server = MockServer::start().await;
            Mock::given(any()).respond_with(answer.clone()).mount(&server).await;
            seen += &applications(&outside, &server, &certificate).await;
            seen += &machines(&near, answer).await;
        }
    }
    let late = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_delay(seconds(60))).mount(&late).await;
    seen += &applications(&outside, &late, &certificate).await;
    seen += &applications(&outside, &late, &broken).await;
    for line in PEM.lines().filter(|line| line.len() == 64) {
        assert!(!seen.contains(line), "a part of the key or the certificate is shown");
    }
    seen
}
