use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_credentials::http::Http;
use portunus_credentials::{AzureAdCredentialProvider, CredentialError, CredentialProvider};
use serde_json::json;
use wiremock::matchers::{body_string, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{Env, clock, everything, seconds, text};

const CONFIGURED: [(&str, &str); 3] =
    [("AZURE_TENANT_ID", "contoso"), ("AZURE_CLIENT_ID", "app"), ("AZURE_CLIENT_SECRET", "canary-secret")];

fn with(more: &[(&str, &str)]) -> Env {
    Env::of(&[&CONFIGURED[..], more].concat())
}

/// A provider whose authority is this server, as the environment says.
fn provider(server: &MockServer, clock: &Arc<ManualClock>) -> AzureAdCredentialProvider {
    let env = with(&[("AZURE_AUTHORITY_HOST", &server.uri())]);
    AzureAdCredentialProvider::from_secrets(&env, clock.clone()).unwrap()
}

async fn answering(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    server
}

fn token(token: &str, expires_in: serde_json::Value) -> ResponseTemplate {
    ResponseTemplate::new(200)
        .set_body_json(json!({ "token_type": "Bearer", "expires_in": expires_in, "access_token": token }))
}

#[tokio::test]
async fn the_request_is_the_documented_one_and_the_token_is_kept() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/contoso/oauth2/v2.0/token"))
        .and(body_string(
            "client_id=app&client_secret=canary-secret&grant_type=client_credentials\
             &scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default",
        ))
        .respond_with(token("t-1", json!(3599)))
        .expect(2)
        .mount(&server)
        .await;
    let clock = clock();
    let provider = provider(&server, &clock);
    for _ in 0..3 {
        assert_eq!(text(&provider.resolve().await.unwrap()), "t-1");
    }
    clock.advance(seconds(3599));
    provider.resolve().await.unwrap();
}

#[tokio::test]
async fn the_builder_changes_scope_authority_and_client() {
    let server = MockServer::start().await;
    Mock::given(path("/gov/contoso/oauth2/v2.0/token"))
        .and(body_string(
            "client_id=app&client_secret=s&grant_type=client_credentials&scope=https%3A%2F%2Fx%2F.default",
        ))
        .respond_with(token("t-2", json!("3599")))
        .mount(&server)
        .await;
    let provider = AzureAdCredentialProvider::new("contoso", "app", "s".into())
        .with_scope("https://x/.default")
        .with_authority(format!("{}/gov/", server.uri()).parse().unwrap())
        .with_http(Http::default());
    assert_eq!(text(&provider.resolve().await.unwrap()), "t-2");
}

#[tokio::test]
async fn a_given_token_comes_first_and_nothing_else_is_read() {
    let env = with(&[("AZURE_AD_TOKEN", "given\n")]);
    let provider = AzureAdCredentialProvider::from_secrets(&env, clock()).unwrap();
    assert_eq!(*env.asked.lock().unwrap(), ["AZURE_AD_TOKEN"]);
    assert_eq!(text(&provider.with_scope("ignored").held().unwrap()), "given");
}

#[tokio::test]
async fn the_environment_scope_is_used() {
    let server = MockServer::start().await;
    Mock::given(body_string(
        "client_id=app&client_secret=canary-secret&grant_type=client_credentials&scope=mine",
    ))
    .respond_with(token("t-3", json!(60)))
    .mount(&server)
    .await;
    let env = with(&[("AZURE_AUTHORITY_HOST", &server.uri()), ("AZURE_AD_SCOPE", "mine")]);
    let provider = AzureAdCredentialProvider::from_secrets(&env, clock()).unwrap();
    assert_eq!(text(&provider.resolve().await.unwrap()), "t-3");
}

#[test]
fn nothing_set_is_not_configured_and_half_of_it_invalid() {
    let from = |values: &[(&str, &str)]| {
        AzureAdCredentialProvider::from_secrets(&Env::of(values), clock()).unwrap_err()
    };
    assert!(matches!(from(&[]), CredentialError::NotConfigured));
    assert!(matches!(
        from(&[("AZURE_CLIENT_ID", " "), ("AZURE_AD_TOKEN", "")]),
        CredentialError::NotConfigured
    ));
    // It may be that of a managed identity.
    assert!(matches!(from(&[("AZURE_CLIENT_ID", "app")]), CredentialError::NotConfigured));
    let unproved = everything(&from(&CONFIGURED[..2]));
    for way in ["AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE"] {
        assert!(unproved.contains(way), "{unproved}");
    }
    let half = from(&[("AZURE_CLIENT_SECRET", "canary")]);
    assert!(matches!(half, CredentialError::Invalid(_)));
    let all = everything(&half);
    assert!(all.contains("AZURE_TENANT_ID") && all.contains("AZURE_CLIENT_ID"), "{all}");
    assert!(!all.contains("AZURE_CLIENT_SECRET") && !all.contains("canary"), "{all}");
}

#[tokio::test]
async fn a_tenant_that_would_change_the_address_is_refused() {
    for tenant in ["", ".", "..", "a/b", "a?b", "a#b", "a%2fb", "a b", "ä", "a\\b", "-a", "@evil.example"] {
        let provider = AzureAdCredentialProvider::new(tenant, "app", "canary".into());
        let error = provider.resolve().await.unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{tenant}: {error:?}");
    }
}

#[tokio::test]
async fn plain_http_elsewhere_than_on_loopback_is_refused() {
    let provider = AzureAdCredentialProvider::new("contoso", "app", "canary".into())
        .with_authority("http://login.example.com".parse().unwrap());
    assert!(matches!(provider.resolve().await.unwrap_err(), CredentialError::Invalid(_)));
}

#[test]
fn sovereign_authorities_are_taken_and_plain_ones_are_not() {
    let from = |authority: &str| {
        let env = with(&[("AZURE_AUTHORITY_HOST", authority)]);
        AzureAdCredentialProvider::from_secrets(&env, clock())
    };
    for authority in [
        "https://login.microsoftonline.us",
        "https://login.microsoftonline.us/",
        "https://login.chinacloudapi.cn",
        "https://login.partner.microsoftonline.cn",
        "https://adfs.example.com/adfs",
        "http://127.0.0.1:1",
    ] {
        from(authority).unwrap();
    }
    for authority in [
        "http://login.microsoftonline.us",
        "login.microsoftonline.us",
        "https://u:canary@login.microsoftonline.us",
        "https://login.microsoftonline.us/?canary",
        "https://login.microsoftonline.us/#canary",
        "ftp://login.microsoftonline.us",
        "data:,canary",
    ] {
        let error = from(authority).unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{authority}: {error:?}");
        assert!(!everything(&error).contains("canary"), "{authority}");
    }
}

#[tokio::test]
async fn refusals_are_classified() {
    for (status, error, code, expected) in [
        (401, "invalid_client", 7_000_215, "rejected"),
        (401, "invalid_client", 7_000_222, "rejected"),
        (400, "invalid_request", 90_002, "rejected"),
        (400, "unauthorized_client", 700_016, "rejected"),
        (400, "invalid_scope", 70_011, "invalid"),
        (400, "invalid_request", 900_144, "invalid"),
        (404, "", 0, "invalid"),
        (408, "", 0, "unavailable"),
        (429, "invalid_request", 90_002, "unavailable"),
        (500, "", 0, "unavailable"),
        (503, "temporarily_unavailable", 90_033, "unavailable"),
    ] {
        let body = json!({
            "error": error,
            "error_description": "AADSTS: the secret 'canary-secret' is wrong. Trace ID: canary",
            "error_codes": [code],
            "trace_id": "canary",
        });
        let answer = ResponseTemplate::new(status).insert_header("retry-after", "9").set_body_json(body);
        let server = answering(answer).await;
        let got = provider(&server, &clock()).resolve().await.unwrap_err();
        let kind = match &got {
            CredentialError::Rejected(_) => "rejected",
            CredentialError::Invalid(_) => "invalid",
            CredentialError::Unavailable { retry_after, .. } => {
                assert_eq!(*retry_after, Some(Duration::from_secs(9)));
                "unavailable"
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(kind, expected, "{status} {error} {code}");
        let all = everything(&got);
        assert!(all.contains(&status.to_string()), "{all}");
        assert!(code == 0 || all.contains(&code.to_string()), "{all}");
        assert!(!all.contains("canary"), "{all}");
    }
}

#[tokio::test]
async fn lifetimes_that_are_none_do_not_make_a_token() {
    for bad in [json!(0), json!(-1), json!("0"), json!(1.5), json!(true), json!("soon")] {
        let server = answering(token("canary", bad.clone())).await;
        let provider = provider(&server, &clock());
        for _ in 0..5 {
            let error = provider.resolve().await.unwrap_err();
            assert!(matches!(error, CredentialError::Unavailable { .. }), "{bad}: {error:?}");
        }
        assert_eq!(server.received_requests().await.unwrap().len(), 1, "{bad}");
    }
}

#[tokio::test]
async fn a_lifetime_beyond_all_bounds_ends_within_a_day() {
    let server = answering(token("t", json!(u64::MAX))).await;
    let clock = clock();
    let provider = provider(&server, &clock);
    provider.resolve().await.unwrap();
    clock.advance(seconds(24 * 3600));
    provider.resolve().await.unwrap();
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
}
