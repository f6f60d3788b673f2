//! A machine's identity token.

use std::time::Duration;

use portunus_credentials::http::Http;
use portunus_credentials::{
    Cached, CredentialError, CredentialProvider, CredentialSource, GoogleIdentityTokenSource, ProviderConfig,
};
use portunus_mock::{Fault, GoogleCloud, GoogleMetadata};
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::support::{clock, seconds, text};

const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";

fn source(url: &str, clock: &Arc<ManualClock>) -> GoogleIdentityTokenSource {
    let host = url.replace("http://", "");
    let env = Env::of(&[("GCE_METADATA_HOST", &host)]);
    let source = GoogleIdentityTokenSource::new("https://a/?b=c&d", &env, clock.clone()).unwrap();
    source.with_http(Http::for_metadata().with_attempts(1, Duration::ZERO))
}

#[tokio::test]
async fn the_token_is_for_the_audience_and_ends_when_it_says() {
    let clock = clock();
    let cloud = serve(&clock, GoogleCloud::new().metadata(GoogleMetadata::new(EMAIL)));
    let source = source(&cloud.url(), &clock);
    let issued = source.fetch().await.unwrap();
    let claims = opened(text(&issued.credential)).1;
    assert_eq!((&claims["aud"], &claims["email"]), (&json!("https://a/?b=c&d"), &json!(EMAIL)));
    assert_eq!(issued.expires_at, Some(std::time::UNIX_EPOCH + seconds(1_700_003_599)));
    assert_eq!(issued.subject.as_deref(), Some(EMAIL));
    assert!(issued.refresh_margin.unwrap() < seconds(240));

    let provider = Cached::new(source, clock.clone());
    provider.resolve().await.unwrap();
    clock.advance(seconds(3_599 - 226));
    provider.resolve().await.unwrap();
    assert_eq!(cloud.count(PATH), 2);
    clock.advance(seconds(226));
    provider.resolve().await.unwrap();
    assert_eq!(cloud.count(PATH), 3);
}

#[tokio::test]
async fn what_is_no_token_is_none() {
    let clock = clock();
    let claims = |claims: &str| format!("e30.{}.e30", BASE64_URL_SAFE_NO_PAD.encode(claims));
    for body in [
        "",
        "canary",
        "canary.canary.canary",
        "<html>canary</html>",
        &claims("{}"),
        &claims(r#"{"exp":"canary"}"#),
        &claims(r#"{"exp":1e30}"#),
        &claims(r#"{"exp":18446744073709551615}"#),
        &format!("{}.canary", claims(r#"{"exp":1700003599}"#)),
    ] {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(200).insert_header("metadata-flavor", "Google");
        Mock::given(any()).respond_with(answer.set_body_string(body)).mount(&server).await;
        let error = source(&server.uri(), &clock).fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{body}: {error:?}");
        assert!(!everything(&error).contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_answer_is_unavailable_and_one_without_account_invalid() {
    let clock = clock();
    let cloud = serve(&clock, GoogleCloud::new().metadata(GoogleMetadata::new(EMAIL)));
    cloud.fail_next(1, Fault::status(503));
    let error = source(&cloud.url(), &clock).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { .. }), "{error:?}");
    let cloud = serve(&clock, GoogleCloud::new().metadata(GoogleMetadata::without_account()));
    let error = source(&cloud.url(), &clock).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
}

#[tokio::test]
async fn a_configuration_names_the_audience() {
    let clock = clock();
    let cloud = serve(&clock, GoogleCloud::new().metadata(GoogleMetadata::new(EMAIL)));
    let env = Env::of(&[("GCE_METADATA_HOST", &cloud.url().replace("http://", ""))]);
    let toml = "source = \"google-identity-token\"\naudience = \"https://api.example.com\"";
    let config: ProviderConfig = toml::from_str(toml).unwrap();
    assert_eq!(config.name(), "google-identity-token");
    let token = config.build(&env, clock.clone()).unwrap().resolve().await.unwrap();
    assert_eq!(opened(text(&token)).1["aud"], "https://api.example.com");
    let env = Env::of(&[("GCE_METADATA_HOST", "evil.test")]);
    assert_eq!(config.build(&env, clock.clone()).unwrap_err().at, "source");
    let empty: ProviderConfig =
        toml::from_str("source = \"google-identity-token\"\naudience = \" \"").unwrap();
    assert_eq!(empty.build(&env, clock).unwrap_err().at, "audience");
}
