//! Every one of Google's flows with secrets in all that is put in and in all that is answered.

use std::time::Duration;

use portunus_credentials::http::Http;
use portunus_credentials::{Cached, GoogleIdentityTokenSource, VertexOAuthCredentialProvider};
use serde_json::json;
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::canary::exercise;
use crate::support::{clock, seconds};

/// Files of every kind, which all lead to that server.
fn files(server: &str, folder: &tempfile::TempDir) -> Vec<Value> {
    let subject = folder.path().join("subject");
    std::fs::write(&subject, "canary-subject").unwrap();
    let user = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "canary-client-secret",
        "refresh_token": "canary-refresh", "token_uri": format!("{server}/token"),
    });
    let external = |source: Value| {
        json!({
            "type": "external_account", "audience": "//a", "subject_token_type": "t", "credential_source": source,
            "token_url": format!("{server}/answer"), "client_id": "c", "client_secret": "canary-client-secret",
        })
    };
    let mut direct = user.clone();
    direct["token_uri"] = format!("{server}/answer").into();
    let executable = json!({ "executable": { "command": "/bin/echo canary-printed canary-argument" } });
    vec![
        key_file(&format!("{server}/answer")),
        direct,
        external(json!({ "file": subject })),
        external(json!({ "url": format!("{server}/answer"), "headers": { "a": "canary-header" } })),
        external(executable),
        json!({
            "type": "impersonated_service_account", "source_credentials": user,
            "service_account_impersonation_url": format!("{server}/a@b:generateAccessToken"),
        }),
    ]
}

async fn all(answer: ResponseTemplate, folder: &tempfile::TempDir) -> String {
    let server = MockServer::start().await;
    let granted = json!({ "access_token": "canary-first", "expires_in": 3600, "token_type": "Bearer" });
    Mock::given(path("/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(granted))
        .mount(&server)
        .await;
    let answer = answer.insert_header("metadata-flavor", "Google");
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let quick = |http: Http| http.with_attempts(1, Duration::ZERO);
    let http = quick(Http::with_timeouts(Duration::from_millis(300), Duration::from_millis(300)));
    let run = async |provider: VertexOAuthCredentialProvider| {
        exercise(&provider.with_http(http.clone()).with_metadata_http(http.clone())).await
    };
    let allowed = [("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")];
    let mut seen = String::new();
    for file in files(&server.uri(), folder) {
        seen += &run(provider_with(&file, &allowed, &clock()).unwrap()).await;
    }
    let env = Env::of(&[("GCE_METADATA_HOST", &server.uri().replace("http://", ""))]);
    let identity = GoogleIdentityTokenSource::new("a", &env, clock()).unwrap().with_http(http.clone());
    seen += &exercise(&Cached::new(identity, clock())).await;
    seen + &run(VertexOAuthCredentialProvider::from_secrets(&env, clock()).unwrap()).await
}

/// What all of that showed.
pub(crate) async fn every_flow() -> String {
    let folder = tempfile::tempdir().unwrap();
    let echo = json!({
        "error": "canary-1", "error_description": "canary-client-secret", "access_token": "canary-token",
        "accessToken": "canary-token", "expireTime": "canary",
    });
    let google = json!({ "error": { "status": "canary", "message": "canary-token" } });
    let granted = json!({
        "access_token": "canary-token", "expires_in": 3600, "accessToken": "canary-token",
        "expireTime": "2099-01-01T00:00:00Z",
    });
    let mut seen = all(ResponseTemplate::new(200).set_body_json(&granted), &folder).await;
    for status in [200, 302, 400, 401, 403, 404, 500] {
        let answer = ResponseTemplate::new(status).insert_header("location", "https://canary.invalid/");
        seen += &all(answer.clone().set_body_json(&echo), &folder).await;
        seen += &all(answer.clone().set_body_json(&google), &folder).await;
        seen += &all(answer.set_body_string("<html>canary</html>"), &folder).await;
    }
    let large = ResponseTemplate::new(200).set_body_string("canary".repeat(200_000));
    seen += &all(large, &folder).await;
    seen += &all(ResponseTemplate::new(200).set_delay(seconds(60)), &folder).await;
    for file in [
        "{\"canary\":",
        "[\"canary\"]",
        "{\"type\":\"canary\"}",
        "{\"type\":\"service_account\",\"private_key\":\"canary\"}",
    ] {
        let env = Env::of(&[("GOOGLE_APPLICATION_CREDENTIALS", "/f"), ("/f", file)]);
        seen += &everything(&VertexOAuthCredentialProvider::from_secrets(&env, clock()).unwrap_err());
    }
    seen
}
