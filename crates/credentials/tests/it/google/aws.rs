//! A workload on AWS: what Google gets is a signed request to AWS.

use http::{HeaderMap, HeaderName, Method, Uri};
use portunus_credentials::{Credential, CredentialError, CredentialProvider, PayloadHash, Signer};
use portunus_mock::{GoogleCloud, GooglePool};
use serde_json::json;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::support::{clock, text};

const AUDIENCE: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x";
const AWS4: &str = "urn:ietf:params:aws:token-type:aws4_request";
const STS: &str = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";

fn file(cloud: &MockCloud, metadata: &str) -> Value {
    json!({
        "type": "external_account", "audience": AUDIENCE, "subject_token_type": AWS4,
        "token_url": format!("{}/v1/token", cloud.url()),
        "credential_source": {
            "environment_id": "aws1", "regional_cred_verification_url": STS,
            "region_url": format!("{metadata}/latest/meta-data/placement/availability-zone"),
            "url": format!("{metadata}/latest/meta-data/iam/security-credentials"),
        },
    })
}

fn google() -> GoogleCloud {
    GoogleCloud::new().pool(GooglePool::new(AUDIENCE, AWS4, "any").trusting_any())
}

/// The request that Google got to send, which is signed with these keys, in that region, now.
fn check(cloud: &MockCloud, clock: &ManualClock, region: &str, keys: [&str; 3]) {
    let sent = form(cloud.requests().last().unwrap().body());
    let subject = &sent.iter().find(|(name, _)| name == "subject_token").unwrap().1;
    assert!(!subject.contains(['+', ' ', '"']), "percent-encoded once more than the form: {subject}");
    let decoded = form(format!("s={subject}").as_bytes()).remove(0).1;
    let request: Value = serde_json::from_str(&decoded).unwrap();
    let url = STS.replace("{region}", region);
    assert_eq!((&request["url"], &request["method"]), (&json!(url), &json!("POST")));
    let mut headers = HeaderMap::new();
    for header in request["headers"].as_array().unwrap() {
        let name = HeaderName::try_from(header["key"].as_str().unwrap()).unwrap();
        headers.insert(name, header["value"].as_str().unwrap().parse().unwrap());
    }
    assert_eq!(headers["x-goog-cloud-target-resource"], AUDIENCE);
    assert_eq!(headers["host"], format!("sts.{region}.amazonaws.com"));
    let signature = headers["authorization"].clone();
    assert!(signature.to_str().unwrap().contains("x-goog-cloud-target-resource"), "it is signed");
    let [id, secret, token] = keys;
    let credential = Credential::AwsCredentials {
        access_key_id: id.into(),
        secret_access_key: secret.into(),
        session_token: (!token.is_empty()).then(|| token.into()),
    };
    let now = portunus_auth_core::Clock::now(clock);
    let (uri, none): (Uri, _) = (url.parse().unwrap(), PayloadHash::of(b""));
    Signer::new(region, "sts").sign(&credential, &Method::POST, &uri, &mut headers, &none, now).unwrap();
    assert_eq!(headers["authorization"], signature);
}

#[tokio::test]
async fn keys_and_region_of_the_environment_ask_nobody() {
    let clock = clock();
    let cloud = serve(&clock, google());
    let env = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "canary-secret"),
        ("AWS_SESSION_TOKEN", "canary-session+/="),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
    ];
    let provider = provider_with(&file(&cloud, "http://127.0.0.1:1"), &env, &clock).unwrap();
    assert!(!format!("{provider:?}").contains("canary"));
    assert!(text(&provider.resolve().await.unwrap()).starts_with("ya29."));
    check(&cloud, &clock, "eu-west-1", ["AKIDEXAMPLE", "canary-secret", "canary-session+/="]);
}

async fn instance() -> MockServer {
    let server = MockServer::start().await;
    let answers = [
        ("/latest/meta-data/placement/availability-zone", "us-east-2b".to_owned()),
        ("/latest/meta-data/iam/security-credentials", "my-role\n".to_owned()),
        (
            "/latest/meta-data/iam/security-credentials/my-role",
            json!({
                "Code": "Success", "AccessKeyId": "ASIA", "SecretAccessKey": "canary-secret",
                "Token": "canary-session", "Expiration": "2099-01-01T00:00:00Z",
            })
            .to_string(),
        ),
    ];
    Mock::given(method("PUT"))
        .and(path("/latest/api/token"))
        .and(header("x-aws-ec2-metadata-token-ttl-seconds", "300"))
        .respond_with(ResponseTemplate::new(200).set_body_string("imds-session"))
        .mount(&server)
        .await;
    for (at, body) in answers {
        Mock::given(method("GET"))
            .and(path(at))
            .and(header("x-aws-ec2-metadata-token", "imds-session"))
            .respond_with(ResponseTemplate::new(200).set_body_string(body))
            .mount(&server)
            .await;
    }
    server
}

#[tokio::test]
async fn an_instance_is_asked_for_keys_and_region_in_a_session() {
    let (clock, server) = (clock(), instance().await);
    let cloud = serve(&clock, google());
    let mut file = file(&cloud, &server.uri());
    for session_url in [json!(null), json!(format!("{}/latest/api/token", server.uri()))] {
        file["credential_source"]["imdsv2_session_token_url"] = session_url;
        provider(&file, &clock).resolve().await.unwrap();
        check(&cloud, &clock, "us-east-2", ["ASIA", "canary-secret", "canary-session"]);
    }
}

#[tokio::test]
async fn an_instance_that_cannot_answer_is_told_apart() {
    let clock = clock();
    let cloud = serve(&clock, google());
    for (status, body, kind) in [
        (404, "canary", "invalid"),
        (403, "canary", "rejected"),
        (200, "", "unavailable"),
        (200, "canary<\n>", "unavailable"),
    ] {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(status).set_body_string(body);
        Mock::given(method("PUT")).respond_with(answer).mount(&server).await;
        let error = provider(&file(&cloud, &server.uri()), &clock).resolve().await.unwrap_err();
        assert!(!everything(&error).contains("canary"), "{error:?}");
        let found = match error {
            CredentialError::Unavailable { .. } => "unavailable",
            CredentialError::Rejected(_) => "rejected",
            CredentialError::Invalid(_) => "invalid",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, kind, "{status} {body}");
    }
    assert_eq!(cloud.count("/v1/token"), 0);
}

#[test]
fn a_file_that_leads_elsewhere_or_says_too_little_is_refused() {
    let clock = clock();
    let cloud = serve(&clock, GoogleCloud::new());
    for (key, value) in [
        ("environment_id", json!("aws2")),
        ("environment_id", json!("azure1")),
        ("regional_cred_verification_url", json!(null)),
        ("regional_cred_verification_url", json!("https://sts.evil.test?Action=GetCallerIdentity")),
        ("regional_cred_verification_url", json!("http://sts.{region}.amazonaws.com")),
        ("regional_cred_verification_url", json!("https://sts.amazonaws.com@evil.test")),
        ("regional_cred_verification_url", json!("https://s3.{region}.amazonaws.com")),
        ("region_url", json!("https://evil.test/canary")),
        ("region_url", json!(null)),
        ("url", json!("https://evil.test/canary")),
        ("url", json!(null)),
        ("imdsv2_session_token_url", json!("http://10.0.0.1/canary")),
    ] {
        let mut file = file(&cloud, "http://169.254.169.254");
        file["credential_source"][key] = value.clone();
        let all = refusal(&file, &[], &clock);
        assert!(all.contains(key), "{key} {value}: {all}");
    }
    let half = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_REGION", "eu-west-1")];
    assert!(
        refusal(&file(&cloud, "http://169.254.169.254"), &half, &clock).contains("AWS_SECRET_ACCESS_KEY")
    );
}
