//! A machine's metadata server.

use std::time::Duration;

use portunus_credentials::http::Http;
use portunus_credentials::{CredentialError, CredentialProvider, VertexOAuthCredentialProvider};
use portunus_mock::{Fault, GoogleCloud, GoogleMetadata};

use super::*;
use crate::support::{clock, seconds, text};

const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

fn machine(clock: &Arc<ManualClock>, metadata: GoogleMetadata) -> (MockCloud, VertexOAuthCredentialProvider) {
    let cloud = serve(clock, GoogleCloud::new().metadata(metadata));
    let host = cloud.url().replace("http://", "");
    let env = Env::of(&[("GCE_METADATA_HOST", &host), ("VERTEX_AI_SCOPE", "https://a https://b")]);
    let provider = VertexOAuthCredentialProvider::from_secrets(&env, clock.clone()).unwrap();
    let http = Http::with_timeouts(seconds(5), Duration::from_millis(500)).with_attempts(1, Duration::ZERO);
    (cloud, provider.with_metadata_http(http))
}

#[tokio::test]
async fn the_server_is_asked_for_the_scopes() {
    let clock = clock();
    let (cloud, provider) = machine(&clock, GoogleMetadata::new(EMAIL));
    assert_eq!(text(&provider.resolve().await.unwrap()), "ya29.google-mock-token-1");
    let asked = &cloud.requests()[0];
    assert_eq!((asked.path(), asked.header("metadata-flavor")), (TOKEN, Some("Google")));
    assert_eq!(asked.query(), Some("scopes=https%3A%2F%2Fa%2Chttps%3A%2F%2Fb"));
}

/// Advances second by second, as callers keep calling.
async fn use_for(lasting: u64, clock: &ManualClock, provider: &VertexOAuthCredentialProvider) {
    for _ in 0..lasting {
        clock.advance(seconds(1));
        provider.resolve().await.unwrap();
        while provider.held().is_none() {
            provider.resolve().await.unwrap();
            tokio::task::yield_now().await;
        }
    }
}

/// A server that re-serves the same token until four minutes before its end.
#[tokio::test]
async fn a_server_that_hands_out_the_same_token_again_is_not_flooded() {
    let clock = clock();
    let (cloud, provider) = machine(&clock, GoogleMetadata::new(EMAIL));
    provider.resolve().await.unwrap();
    use_for(2 * 3_599, &clock, &provider).await;
    let times: Vec<_> = cloud.requests().iter().map(|asked| asked.at()).collect();
    assert!((3..=4).contains(&times.len()), "one request for each token: {times:?}");
    assert!(times.windows(2).all(|two| two[1].duration_since(two[0]).unwrap() >= seconds(10)), "{times:?}");
}

#[tokio::test]
async fn a_token_that_was_half_used_when_it_came_is_asked_for_at_most_every_ten_seconds() {
    let clock = clock();
    let (cloud, provider) = machine(&clock, GoogleMetadata::new(EMAIL));
    cloud.set_token_lifetime(seconds(600));
    // Somebody else had asked first: what comes is the same token, near the end of its window.
    machine_asks(&cloud).await;
    clock.advance(seconds(355));
    provider.resolve().await.unwrap();
    use_for(900, &clock, &provider).await;
    let times: Vec<_> = cloud.requests()[1..].iter().map(|asked| asked.at()).collect();
    assert!(times.windows(2).all(|two| two[1].duration_since(two[0]).unwrap() >= seconds(10)), "{times:?}");
    assert!(times.len() <= 6, "{times:?}");
}

async fn machine_asks(cloud: &MockCloud) {
    let url = format!("{}{TOKEN}?scopes=https://a,https://b", cloud.url()).parse().unwrap();
    let flavor = http::HeaderName::from_static("metadata-flavor");
    let answer =
        Http::default().get(&url).header(flavor, "Google").send(std::time::UNIX_EPOCH).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn tokens_of_a_minute_work() {
    let clock = clock();
    let (cloud, provider) = machine(&clock, GoogleMetadata::new(EMAIL));
    cloud.set_token_lifetime(seconds(60));
    provider.resolve().await.unwrap();
    use_for(300, &clock, &provider).await;
    assert!(cloud.count(TOKEN) <= 30, "{}", cloud.count(TOKEN));
}

#[tokio::test]
async fn a_server_that_was_named_has_to_answer_as_googles() {
    let clock = clock();
    let (_cloud, provider) = machine(&clock, GoogleMetadata::new(EMAIL).imposter());
    let error = provider.resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(everything(&error).contains("metadata-flavor"), "{error:?}");

    let (_cloud, provider) = machine(&clock, GoogleMetadata::without_account());
    let error = provider.resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(everything(&error).contains("no service account"), "{error:?}");

    let (cloud, provider) = machine(&clock, GoogleMetadata::new(EMAIL));
    for fault in [Fault::Hang, Fault::status(503), Fault::Oversized] {
        cloud.fail_next(1, fault.clone());
        let error = provider.resolve().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{fault:?}: {error:?}");
        clock.advance(seconds(5));
    }
    provider.resolve().await.unwrap();
}

#[tokio::test]
async fn a_switched_off_server_is_not_configured() {
    let env = Env::of(&[("NO_GCE_CHECK", "true")]);
    let provider = VertexOAuthCredentialProvider::from_secrets(&env, clock()).unwrap();
    let error = provider.resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::NotConfigured), "{error:?}");
}

#[test]
fn the_host_is_one_of_this_machines_own_network() {
    for host in [
        "evil.test",
        "metadata.google.internal@evil.test",
        "a b",
        "127.0.0.1/path",
        "10.0.0.1",
        "u@127.0.0.1",
        "127.0.0.1?x",
    ] {
        let env = Env::of(&[("GCE_METADATA_HOST", host)]);
        let error = VertexOAuthCredentialProvider::from_secrets(&env, clock()).unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{host}: {error:?}");
        assert!(everything(&error).contains("GCE_METADATA_HOST"), "{host}: {error:?}");
    }
    for host in
        ["metadata.google.internal", "169.254.169.254", "169.254.169.254:80", "[fd20:ce::254]", "localhost:1"]
    {
        let env = Env::of(&[("GCE_METADATA_HOST", host)]);
        assert!(VertexOAuthCredentialProvider::from_secrets(&env, clock()).is_ok(), "{host}");
    }
}
