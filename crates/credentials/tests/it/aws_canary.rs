//! Every one of AWS's flows, and a program's, with secrets in all that is put in and in all that is answered.

use std::time::Duration;

use portunus_credentials::http::Http;
use portunus_credentials::{
    AwsKeysSource, BedrockApiKeySource, BedrockMintedKeySource, Cached, ContainerSource,
    InstanceMetadataSource, PayloadHash, Signer, WebIdentitySource,
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
    let minted = BedrockMintedKeySource::new(keys.clone(), "eu-central-1", clock());
    seen += &exercise(&Cached::new(minted, clock())).await;
    seen += &signed(&keys).await;
    #[cfg(feature = "aws-chain")]
    {
        seen += &profiles().await;
    }
    let document = json!({
        "AccessKeyId": "canary-id", "SecretAccessKey": "canary-key", "Token": "canary-session",
        "Expiration": "2023-11-14T23:13:20Z", "Code": "canary", "code": "canary-1", "message": "canary-message",
        "RoleArn": "canary-arn",
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

/// Through AWS's own crate: a role, and a program that fails and shows all it knows.
#[cfg(feature = "aws-chain")]
async fn profiles() -> String {
    use portunus_credentials::AwsProfileSource;

    let base = "[profile base]\naws_access_key_id = canary-id\naws_secret_access_key = canary-key\n";
    let role = "role_arn = arn:aws:iam::1:role/r\nexternal_id = canary-external\nsource_profile = base\n";
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let mut seen = String::new();
    let xml =
        "<ErrorResponse><Error><Code>canary-code</Code><Message>canary</Message></Error></ErrorResponse>";
    let wrong = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>canary</AccessKeyId></Credentials>\
        </AssumeRoleResult></AssumeRoleResponse>";
    for (status, body) in [(403, xml), (200, wrong), (200, "canary")] {
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(status).set_body_string(body))
            .mount(&server)
            .await;
        let text = format!("[default]\n{role}endpoint_url = {}\n{base}", server.uri());
        std::fs::write(&config, text).unwrap();
        let source = AwsProfileSource::new(Some("default".to_owned())).with_files(&config, "/none");
        seen += &exercise(&Cached::new(source, clock())).await;
    }
    for program in ["sh -c 'echo canary; echo canary >&2; exit 1'", "echo canary", "canary-no-such-program"] {
        std::fs::write(&config, format!("[default]\ncredential_process = {program}\n")).unwrap();
        let source = AwsProfileSource::new(Some("default".to_owned())).with_files(&config, "/none");
        seen += &exercise(&Cached::new(source, clock())).await;
    }
    seen
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
