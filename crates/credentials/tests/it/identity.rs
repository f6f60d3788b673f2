//! Where identity tokens come from.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use portunus_auth_core::SystemClock;
use portunus_credentials::http::Http;
use portunus_credentials::{
    CredentialError, CredentialSource, GitHubActionsSource, IdentityTokenFile, ProviderConfig,
};
use portunus_mock::{Fault, GitHubJob, MockCloud, StartError};
use serde_json::json;

use crate::support::{Env, clock, everything, jwt, seconds, text};

const AUDIENCE: &str = "https://api.anthropic.com/?a=b&c d";

fn job() -> GitHubJob {
    let token =
        |n: u32| jwt(&json!({ "sub": "repo:octo/repo:ref:refs/heads/main", "exp": 1_700_000_300, "jti": n }));
    GitHubJob::new("canary-request-token", AUDIENCE, [token(1), token(2)])
}

fn env(url: &str) -> Env {
    Env::of(&[
        ("GITHUB_ACTIONS", "true"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary-request-token"),
    ])
}

fn source(cloud: &MockCloud, audience: &str) -> GitHubActionsSource {
    let url = cloud.url() + GitHubJob::request_path();
    let http = Http::with_timeouts(seconds(5), Duration::from_millis(500)).with_attempts(1, Duration::ZERO);
    GitHubActionsSource::from_secrets(&env(&url), audience, clock()).unwrap().with_http(http)
}

#[tokio::test]
async fn a_github_job_gets_a_new_token_each_time_for_its_audience() {
    let cloud = MockCloud::builder().github_job(job()).build().unwrap();
    let source = source(&cloud, AUDIENCE);
    let (first, second) = (source.fetch().await.unwrap(), source.fetch().await.unwrap());
    assert_ne!(first.credential, second.credential);
    assert_eq!(first.subject.as_deref(), Some("repo:octo/repo:ref:refs/heads/main"));
    assert_eq!(first.source.as_deref(), Some("GitHub Actions"));
    assert_eq!(first.expires_at, Some(UNIX_EPOCH + seconds(1_700_000_300)));
    assert!(!format!("{source:?}").contains("canary"));
}

#[tokio::test]
async fn what_the_runner_refuses_is_told_apart() {
    let cloud = MockCloud::builder().github_job(job()).build().unwrap();
    let error = source(&cloud, "another").fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");

    let url = cloud.url() + GitHubJob::request_path();
    let env = Env::of(&[
        ("ACTIONS_ID_TOKEN_REQUEST_URL", &url),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary-of-an-ended-job"),
    ]);
    let ended = GitHubActionsSource::from_secrets(&env, AUDIENCE, clock()).unwrap();
    let error = ended.fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    assert!(!everything(&error).contains("canary"), "{error:?}");

    let source = source(&cloud, AUDIENCE);
    for fault in [Fault::Hang, Fault::Malformed, Fault::Oversized, Fault::status(503)] {
        cloud.fail_next(1, fault.clone());
        let error = source.fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{fault:?}: {error:?}");
    }
    let no_token = MockCloud::builder().github_job(GitHubJob::new("t", AUDIENCE, [""; 0])).build();
    assert!(matches!(no_token, Err(StartError::Incomplete(_))));
}

#[test]
fn outside_of_github_there_is_no_job_and_inside_it_needs_the_permission() {
    let from = |values: &[(&str, &str)]| {
        GitHubActionsSource::from_secrets(&Env::of(values), AUDIENCE, clock()).map(drop)
    };
    assert!(matches!(from(&[]), Err(CredentialError::NotConfigured)));
    assert!(matches!(from(&[("GITHUB_ACTIONS", "false")]), Err(CredentialError::NotConfigured)));
    let (url, token) =
        (("ACTIONS_ID_TOKEN_REQUEST_URL", "https://a/?b"), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary"));
    for half in
        [&[url][..], &[token], &[url, ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", " ")], &[("GITHUB_ACTIONS", "true")]]
    {
        let error = from(half).unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
        assert!(everything(&error).contains("`permissions: id-token: write`"), "{error:?}");
        assert!(!everything(&error).contains("canary"), "{error:?}");
    }
    let no_url = from(&[("ACTIONS_ID_TOKEN_REQUEST_URL", "canary"), token]).unwrap_err();
    assert!(matches!(no_url, CredentialError::Invalid(_)) && !everything(&no_url).contains("canary"));
}

#[tokio::test]
async fn a_file_is_read_every_time_and_has_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let file = IdentityTokenFile::new(&path, clock());
    let error = file.fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(everything(&error).contains(path.to_str().unwrap()), "{error:?}");
    for n in 1..=2 {
        let token = jwt(&json!({ "sub": format!("workload-{n}") }));
        std::fs::write(&path, format!("{token}\n")).unwrap();
        let issued = file.fetch().await.unwrap();
        assert_eq!(text(&issued.credential), token);
        assert_eq!(issued.subject, Some(format!("workload-{n}")));
    }
    for (content, subject) in [("opaque".to_owned(), None), (jwt(&json!({ "sub": "a\nb" })), None)] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(file.fetch().await.unwrap().subject, subject);
    }
    std::fs::write(&path, " ").unwrap();
    assert!(matches!(file.fetch().await, Err(CredentialError::Invalid(_))));
}

#[tokio::test]
async fn a_pod_has_its_token_where_kubernetes_puts_it() {
    let outside = IdentityTokenFile::in_kubernetes(&Env::default(), clock());
    assert!(matches!(outside, Err(CredentialError::NotConfigured)));
    let env = Env::of(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
    let pod = IdentityTokenFile::in_kubernetes(&env, clock()).unwrap();
    assert!(format!("{pod:?}").contains("/var/run/secrets/kubernetes.io/serviceaccount/token"));

    let config: ProviderConfig = toml::from_str("source = \"kubernetes\"").unwrap();
    let nowhere = config.source(&Env::default(), Arc::new(SystemClock)).unwrap();
    assert!(matches!(nowhere.fetch().await, Err(CredentialError::NotConfigured)));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let error = IdentityTokenFile::projected(&path, clock()).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(everything(&error).contains("`serviceAccountToken`"), "{error:?}");
    std::fs::write(&path, jwt(&json!({ "sub": "system:serviceaccount:default:me" }))).unwrap();
    let issued = IdentityTokenFile::projected(&path, clock()).fetch().await.unwrap();
    assert_eq!(issued.subject.as_deref(), Some("system:serviceaccount:default:me"));
    assert_eq!(issued.source.as_deref(), Some("Kubernetes service account token"));
}
