//! Every one of AWS's flows, and a program's, with secrets in all that is put in and in all that is answered.

use std::time::Duration;

use portunus_credentials::http::Http;
use portunus_credentials::{
    AwsKeysSource, BedrockApiKeySource, Cached, ContainerSource, InstanceMetadataSource, PayloadHash, Signer,
    WebIdentitySource,
};
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::canary::exercise;
use crate::support::{Env, clock, seconds};

async fn all(answer: ResponseTemplate) -> String {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let url = server.uri();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "canary-token-file").unwrap();
    let env = Env::of(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "canary-pod"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", &url),
    ]);
    let short = Duration::from_millis(300);
    let http = Http::with_timeouts(short, short).with_attempts(1, Duration::ZERO);
    let container = ContainerSource::from_secrets(&env, clock()).unwrap().with_http(http.clone());
    let instance = InstanceMetadataSource::from_secrets(&env, clock()).unwrap().with_http(http.clone());
    let role = WebIdentitySource::from_secrets(&env, clock()).unwrap().with_http(http);
    exercise(&Cached::new(container, clock())).await
        + &exercise(&Cached::new(role, clock())).await
        + &exercise(&Cached::new(instance, clock())).await
}

/// All that was shown.
pub(crate) async fn every_flow() -> String {
    let keys = AwsKeysSource::new("canary-id".into(), "canary-key".into(), Some("canary-session".into()));
    let mut seen = exercise(&Cached::new(keys.clone(), clock())).await;
    seen += &exercise(&Cached::new(BedrockApiKeySource::new("canary-bedrock".into()), clock())).await;
    seen += &signed(&keys).await;
    let document = json!({
        "AccessKeyId": "canary-id", "SecretAccessKey": "canary-key", "Token": "canary-session",
        "Expiration": "2023-11-14T23:13:20Z", "Code": "canary", "code": "canary-1", "message": "canary-message",
    });
    let xml =
        "<ErrorResponse><Error><Code>canary-code</Code><Message>canary</Message></Error></ErrorResponse>";
    for status in [200, 302, 400, 401, 403, 404, 429, 500] {
        let answer = ResponseTemplate::new(status).insert_header("location", "https://canary.invalid/");
        seen += &all(answer.clone().set_body_json(&document)).await;
        seen += &all(answer.clone().set_body_string(xml)).await;
        seen += &all(answer.set_body_string("canary-text")).await;
    }
    seen + &all(ResponseTemplate::new(200).set_delay(seconds(60))).await
}

async fn signed(keys: &AwsKeysSource) -> String {
    use portunus_credentials::CredentialSource as _;

    let credential = keys.fetch().await.unwrap().credential;
    let (signer, hash) = (Signer::new("us-east-1", "bedrock"), PayloadHash::of(b"{}"));
    let uri = http::Uri::from_static("https://bedrock.example/model/a%3A0/invoke");
    let mut headers = http::HeaderMap::new();
    let now = std::time::SystemTime::UNIX_EPOCH;
    signer.sign(&credential, &http::Method::POST, &uri, &mut headers, &hash, now).unwrap();
    let (parts, ()) = http::Request::post(&uri).body(()).unwrap().into_parts();
    let presigned = signer.presign(&credential, &parts, &hash, seconds(60), now).unwrap();
    format!("{headers:?} {presigned:?} {signer:?}")
}

/// All that was shown.
#[cfg(all(unix, feature = "command"))]
pub(crate) async fn programs() -> String {
    use portunus_credentials::CommandSource;

    let mut seen = String::new();
    for script in [
        "echo canary-token",
        "echo canary; echo canary >&2; exit 1",
        r#"echo '{"token": "canary", "expires_at": "canary"}'"#,
        r#"echo '{"AccessKeyId": "canary", "SecretAccessKey": "canary"}'"#,
    ] {
        let source = CommandSource::new("sh", ["-c", script], clock());
        seen += &exercise(&Cached::new(source, clock())).await;
    }
    seen
}
