//! A service account's key: exchanged, or signing its tokens itself.

use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_credentials::http::Http;
use portunus_credentials::{CredentialError, CredentialProvider, VertexOAuthCredentialProvider};
use portunus_mock::{Fault, GoogleAccount, GoogleCloud};
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::support::{clock, seconds, text};

#[tokio::test]
async fn an_assertion_becomes_a_token_which_is_kept_and_renewed_five_minutes_before_its_end() {
    let clock = clock();
    let cloud = serve(&clock, GoogleCloud::new().account(account()));
    let provider = provider(&key_file(&format!("{}/token", cloud.url())), &clock);
    assert_eq!(text(&provider.resolve().await.unwrap()), "ya29.google-mock-token-1");
    clock.advance(seconds(3_599 - 301));
    assert_eq!(text(&provider.resolve().await.unwrap()), "ya29.google-mock-token-1");
    assert_eq!(cloud.count("/token"), 1);
    clock.advance(seconds(31));
    while provider.held().is_none() {
        let token = provider.resolve().await.unwrap();
        assert!(text(&token).starts_with("ya29.google-mock-token-"), "nobody waits");
        tokio::task::yield_now().await;
    }
    assert_eq!(text(&provider.resolve().await.unwrap()), "ya29.google-mock-token-2");
    assert_eq!(cloud.count("/token"), 2);
}

#[tokio::test]
async fn a_clock_may_be_ten_seconds_ahead() {
    let theirs = clock();
    let cloud = serve(&theirs, GoogleCloud::new().account(account()));
    let ahead = |seconds: u64| Arc::new(ManualClock::at_unix(1_700_000_000 + seconds));
    let file = key_file(&format!("{}/token", cloud.url()));
    assert!(provider(&file, &ahead(10)).resolve().await.is_ok());
    let error = provider(&file, &ahead(11)).resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    assert!(everything(&error).contains("400 invalid_grant"), "{error:?}");
}

#[tokio::test]
async fn what_google_refuses_is_told_apart() {
    let clock = clock();
    let other = GoogleAccount::new(EMAIL, "another-key", cases()["public_key_pem"].as_str().unwrap());
    let unknown = serve(&clock, GoogleCloud::new());
    let other = serve(&clock, GoogleCloud::new().account(other));
    for cloud in [&unknown, &other] {
        let file = key_file(&format!("{}/token", cloud.url()));
        let error = provider(&file, &clock).resolve().await.unwrap_err();
        assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    }
    let cloud = serve(&clock, GoogleCloud::new().account(account()));
    let file = key_file(&format!("{}/token", cloud.url()));
    let error = provider(&file, &clock).with_scope("none").resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(everything(&error).contains("invalid_scope"), "{error:?}");
    let error = provider(&key_file(&format!("{}/nowhere", cloud.url())), &clock).resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
}

#[tokio::test]
async fn every_fault_is_unavailable_and_passes() {
    let clock = clock();
    let cloud = serve(&clock, GoogleCloud::new().account(account()));
    let file = key_file(&format!("{}/token", cloud.url()));
    let status = |status, retry_after| Fault::Status { status, retry_after };
    for (fault, waits) in [
        (Fault::Hang, 5),
        (Fault::Malformed, 5),
        (Fault::Oversized, 5),
        (status(408, None), 5),
        (status(503, None), 5),
        (status(429, Some(seconds(30))), 30),
    ] {
        let http =
            Http::with_timeouts(seconds(5), Duration::from_millis(500)).with_attempts(1, Duration::ZERO);
        let provider = provider(&file, &clock).with_http(http);
        cloud.fail_next(1, fault.clone());
        let before = cloud.count("/token");
        for _ in 0..10 {
            let error = provider.resolve().await.unwrap_err();
            assert!(matches!(error, CredentialError::Unavailable { .. }), "{fault:?}: {error:?}");
        }
        assert_eq!(cloud.count("/token"), before + 1, "{fault:?}");
        clock.advance(seconds(waits));
        provider.resolve().await.unwrap();
    }
}

#[tokio::test]
async fn an_assertion_may_be_sent_again() {
    let clock = clock();
    let cloud = serve(&clock, GoogleCloud::new().account(account()));
    let http = Http::default().with_attempts(3, Duration::ZERO);
    let provider = provider(&key_file(&format!("{}/token", cloud.url())), &clock).with_http(http);
    cloud.fail_next(2, Fault::status(500));
    provider.resolve().await.unwrap();
    assert_eq!(cloud.count("/token"), 3);
}

#[tokio::test]
async fn answers_of_every_kind_are_judged() {
    let clock = clock();
    for (status, body, kind) in [
        (400, json!({ "error": "internal_failure" }), "unavailable"),
        (400, json!({ "error": "invalid_grant", "error_description": "canary" }), "rejected"),
        (401, json!({ "error": "invalid_client" }), "rejected"),
        (403, json!({ "error": "canary-1" }), "rejected"),
        (400, json!({ "error": "invalid_scope" }), "invalid"),
        (302, json!({}), "invalid"),
        (200, json!({ "id_token": "canary" }), "unavailable"),
        (200, json!({ "access_token": "canary", "expires_in": 1e30 }), "unavailable"),
        (200, json!({ "access_token": "canary", "expires_in": -1 }), "unavailable"),
        (200, json!({ "access_token": "canary", "expires_in": 0 }), "unavailable"),
        (200, json!({ "access_token": "canary", "expires_in": "3599" }), "fine"),
        (200, json!({ "access_token": "canary" }), "fine"),
    ] {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(status).set_body_json(&body);
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let http = Http::default().with_attempts(1, Duration::ZERO);
        let provider = provider(&key_file(&format!("{}/token", server.uri())), &clock).with_http(http);
        let found = match provider.resolve().await {
            Ok(_) => "fine",
            Err(error) => {
                assert!(!everything(&error).contains("canary"), "{error:?}");
                match error {
                    CredentialError::Unavailable { .. } => "unavailable",
                    CredentialError::Rejected(_) => "rejected",
                    CredentialError::Invalid(_) => "invalid",
                    other => panic!("{other:?}"),
                }
            }
        };
        assert_eq!(found, kind, "{status} {body}");
    }
}

#[tokio::test]
async fn a_self_signed_token_needs_no_network() {
    let clock = clock();
    let file = key_file("https://oauth2.googleapis.com/token");
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "kid-0123456789abcdef" });
    let claims = |at: u64, more: (&str, &str)| {
        let mut claims = json!({ "iss": EMAIL, "sub": EMAIL, "iat": at - 10, "exp": at + 3_590 });
        claims[more.0] = more.1.into();
        claims
    };
    let scoped = provider(&file, &clock).with_self_signed_jwt(None).unwrap();
    let token = scoped.resolve().await.unwrap();
    assert_eq!(opened(text(&token)), (header.clone(), claims(1_700_000_000, ("scope", CLOUD_PLATFORM))));

    let service = "https://aiplatform.googleapis.com/";
    let bound = provider(&file, &clock).with_self_signed_jwt(Some(service)).unwrap();
    assert_eq!(
        opened(text(&bound.resolve().await.unwrap())),
        (header, claims(1_700_000_000, ("aud", service)))
    );

    clock.advance(seconds(3_590));
    let next = scoped.resolve().await.unwrap();
    assert_eq!(opened(text(&next)).1, claims(1_700_003_590, ("scope", CLOUD_PLATFORM)));
}

#[tokio::test]
async fn another_universe_exchanges_nothing() {
    let clock = clock();
    let mut file = key_file("https://evil.test/token");
    file["universe_domain"] = "example.goog".into();
    let token = provider(&file, &clock).resolve().await.unwrap();
    assert_eq!(opened(text(&token)).1["scope"], CLOUD_PLATFORM);
}

#[tokio::test]
async fn a_key_without_an_id_has_none_in_its_header() {
    let clock = clock();
    let mut file = key_file("https://oauth2.googleapis.com/token");
    file["private_key_id"] = "".into();
    let token = provider(&file, &clock).with_self_signed_jwt(None).unwrap().resolve().await.unwrap();
    assert_eq!(opened(text(&token)).0, json!({ "alg": "RS256", "typ": "JWT" }));
}

#[tokio::test]
async fn a_key_file_is_a_service_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    let missing = VertexOAuthCredentialProvider::from_key_file(&path).unwrap_err();
    assert!(matches!(missing, CredentialError::Invalid(_)) && everything(&missing).contains("key.json"));

    let file = key_file("https://oauth2.googleapis.com/token");
    std::fs::write(&path, file.to_string()).unwrap();
    for provider in [
        VertexOAuthCredentialProvider::from_key_file(&path).unwrap(),
        VertexOAuthCredentialProvider::from_service_account_json(&file).unwrap(),
    ] {
        let provider = provider.with_self_signed_jwt(None).unwrap().with_scope("https://a https://b");
        let token = provider.resolve().await.unwrap();
        assert_eq!(opened(text(&token)).1["scope"], "https://a https://b");
    }

    let user =
        json!({ "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r" });
    std::fs::write(&path, user.to_string()).unwrap();
    for result in [
        VertexOAuthCredentialProvider::from_key_file(&path),
        VertexOAuthCredentialProvider::from_service_account_json(&user),
        VertexOAuthCredentialProvider::from_service_account_json(&json!([])),
        provider(&user, &clock()).with_self_signed_jwt(None),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    }
}

#[test]
fn a_file_that_is_not_right_says_what_is_wrong() {
    let clock = clock();
    let good = || key_file("https://oauth2.googleapis.com/token");
    for (key, value, says) in [
        ("client_email", json!(null), "lacks `client_email`"),
        ("client_email", json!(7), "`client_email`"),
        ("client_email", json!("a@b\r\nX: canary"), "`client_email`"),
        ("private_key", json!(""), "lacks `private_key`"),
        ("private_key", json!("canary"), "`private_key` in the credentials file is not usable"),
        ("token_uri", json!("https://evil.test/canary"), "`token_uri`"),
        ("token_uri", json!("canary"), "`token_uri`"),
        ("type", json!("gdch_service_account"), "gdch_service_account` are recognised, but not supported"),
        ("type", json!("external_account_authorized_user"), "not supported"),
        ("type", json!("canary"), "known are service_account"),
        ("type", json!(null), "lacks `type`"),
        ("quota_project_id", json!("a\nb"), "quota project"),
    ] {
        let mut file = good();
        file[key] = value;
        let all = refusal(&file, &[], &clock);
        assert!(all.contains(says), "{key}: {all}");
    }
    let ec = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n\
        OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n\
        1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n\
        -----END PRIVATE KEY-----\n";
    let mut file = good();
    file["private_key"] = ec.into();
    assert!(refusal(&file, &[], &clock).contains("not an RSA key"));
    assert!(refusal(&unsigned(EMAIL), &[], &clock).contains("lacks `private_key`"));
    assert!(refusal(&json!("canary"), &[], &clock).contains("JSON object"));
}
