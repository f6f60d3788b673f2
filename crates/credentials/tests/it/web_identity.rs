//! Temporary AWS keys against the mock's STS, which refuses a request that is not exactly the
//! documented one.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::Clock;
use portunus_auth_core::clock::ManualClock;
use portunus_auth_core::secret::ExposeSecret;
use portunus_credentials::http::Http;
use portunus_credentials::{
    Credential, CredentialError, CredentialProvider, CredentialSource, WebIdentityCredentialProvider,
    WebIdentitySource,
};
use portunus_mock::{Fault, MockCloud, StsRole};
use tempfile::TempDir;

use crate::support::{Env, clock, everything, seconds};

const ROLE: &str = "arn:aws:iam::123456789012:role/MyRole";
const TOKEN: &str = "canary-identity-token";

struct Fixture {
    clock: Arc<ManualClock>,
    cloud: MockCloud,
    folder: TempDir,
}

fn fixture() -> Fixture {
    let clock = clock();
    let cloud = MockCloud::builder().sts(StsRole::new(ROLE, TOKEN)).clock(clock.clone()).build().unwrap();
    let f = Fixture { clock, cloud, folder: tempfile::tempdir().unwrap() };
    f.write(TOKEN);
    f
}

impl Fixture {
    fn write(&self, token: &str) {
        std::fs::write(self.folder.path().join("token"), token).unwrap();
    }

    fn provider(&self, role: &str) -> WebIdentityCredentialProvider {
        let file = self.folder.path().join("token");
        let env = Env::of(&[
            ("AWS_ROLE_ARN", role),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ENDPOINT_URL_STS", &self.cloud.url()),
        ]);
        WebIdentityCredentialProvider::from_secrets(&env, self.clock.clone()).unwrap()
    }
}

pub(crate) fn keys(credential: &Credential) -> [String; 3] {
    let Credential::AwsCredentials { access_key_id, secret_access_key, session_token } = credential else {
        panic!("no AWS keys: {credential:?}");
    };
    let open = |secret: &portunus_credentials::SecretString| secret.expose_secret().to_owned();
    [open(access_key_id), open(secret_access_key), session_token.as_ref().map(open).unwrap_or_default()]
}

#[tokio::test]
async fn keys_are_kept_until_shortly_before_the_end_that_sts_states() {
    let f = fixture();
    let provider = f.provider(ROLE);
    let first = keys(&provider.resolve().await.unwrap());
    // The session token is written with entities: `/` as a number, `&` by name.
    assert_eq!(first, ["ASIAMOCK00000001", "sts-mock-secret-1", "sts-mock-session-1/a&b"]);
    f.clock.advance(seconds(3_000));
    assert_eq!(keys(&provider.resolve().await.unwrap()), first);
    assert_eq!(f.cloud.count("/"), 1);
    f.clock.advance(seconds(599));
    assert_eq!(keys(&provider.resolve().await.unwrap())[1], "sts-mock-secret-2");
}

#[tokio::test]
async fn a_session_lasts_as_long_as_is_asked_for_and_is_named_by_sts() {
    let f = fixture();
    let file = f.folder.path().join("token");
    let source = |seconds| {
        let source = WebIdentitySource::new(ROLE, &file, "me", "eu-central-1", f.clock.clone());
        source.with_endpoint(f.cloud.url().parse().unwrap()).with_session_duration(seconds)
    };
    let issued = source(seconds(900)).fetch().await.unwrap();
    assert_eq!(issued.expires_at, Some(f.clock.now() + seconds(900)));
    assert_eq!(issued.subject.as_deref(), Some("arn:aws:sts::123456789012:assumed-role/MyRole/me"));
    assert_eq!(issued.source.as_deref(), Some("AWS STS web identity"));
    for bad in [seconds(0), seconds(899), seconds(43_201)] {
        let error = source(bad).fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    }
    assert_eq!(f.cloud.count("/"), 1);
}

#[tokio::test]
async fn the_token_is_read_anew_at_every_exchange_and_an_expired_one_once_more() {
    let f = fixture();
    f.write("expired-canary");
    let provider = f.provider(ROLE);
    let error = provider.resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    assert!(everything(&error).contains("400 ExpiredTokenException"), "{error:?}");
    assert_eq!(f.cloud.count("/"), 2, "the file may have been replaced meanwhile");
    f.write(TOKEN);
    f.clock.advance(seconds(60));
    provider.resolve().await.unwrap();
}

#[tokio::test]
async fn each_refusal_says_what_can_be_done() {
    let f = fixture();
    let error = f.provider("arn:aws:iam::123456789012:role/Other").resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    f.write("another-canary");
    let before = f.cloud.count("/");
    let error = f.provider(ROLE).resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    assert_eq!(f.cloud.count("/"), before + 2, "STS says so as well while it cannot fetch the issuer's keys");
    assert!(!everything(&error).contains("canary"));
    f.write(TOKEN);
    for fault in [Fault::status(503), Fault::status(429), Fault::Malformed, Fault::Oversized] {
        f.cloud.fail_next(1, fault.clone());
        let once = Http::default().with_attempts(1, Duration::ZERO);
        let error = f.provider(ROLE).with_http(once).resolve().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{fault:?}: {error:?}");
    }
    f.cloud.fail_next(1, Fault::status(400));
    let error = f.provider(ROLE).resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    f.cloud.fail_next(1, Fault::Hang);
    let hasty = Http::with_timeouts(Duration::from_millis(100), Duration::from_millis(100))
        .with_attempts(1, Duration::ZERO);
    let error = f.provider(ROLE).with_http(hasty).resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { .. }), "{error:?}");
    std::fs::remove_file(f.folder.path().join("token")).unwrap();
    let error = f.provider(ROLE).resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(everything(&error).contains("cannot be read"), "{error:?}");
}

#[test]
fn the_environment_decides_and_half_of_it_is_a_mistake() {
    let from =
        |values: &[(&str, &str)]| WebIdentityCredentialProvider::from_secrets(&Env::of(values), clock());
    assert!(matches!(from(&[]), Err(CredentialError::NotConfigured)));
    assert!(matches!(from(&[("AWS_ROLE_ARN", " ")]), Err(CredentialError::NotConfigured)));
    for half in [("AWS_ROLE_ARN", "a"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")] {
        assert!(matches!(from(&[half]), Err(CredentialError::Invalid(_))), "{half:?}");
    }
    let with =
        |name, value| from(&[("AWS_ROLE_ARN", "a"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), (name, value)]);
    for (name, value) in [
        ("AWS_REGION", "evil.example/"),
        ("AWS_REGION", "EU"),
        ("AWS_ENDPOINT_URL_STS", "http://sts.example.com"),
        ("AWS_ENDPOINT_URL", "no url"),
        ("AWS_ENDPOINT_URL_STS", "https://user:pass@sts.example.com"),
    ] {
        assert!(matches!(with(name, value), Err(CredentialError::Invalid(_))), "{name}={value}");
    }
    with("AWS_DEFAULT_REGION", "cn-north-1").unwrap();
}

#[tokio::test]
async fn an_answer_that_is_nested_without_end_is_no_answer() {
    let f = fixture();
    let server = wiremock::MockServer::start().await;
    let deep = "<a>".repeat(300_000);
    for body in
        [deep.clone(), deep + &"</a>".repeat(20_000), "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>".to_owned()]
    {
        server.reset().await;
        let answer = wiremock::ResponseTemplate::new(200).set_body_string(body);
        wiremock::Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
        let once = Http::default().with_attempts(1, Duration::ZERO);
        let provider = f.provider(ROLE).with_endpoint(server.uri().parse().unwrap()).with_http(once);
        let error = provider.resolve().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{error:?}");
    }
}
