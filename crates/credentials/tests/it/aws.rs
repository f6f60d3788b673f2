//! AWS keys from the environment, a container and an instance, against the mock's metadata services.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_auth_core::{Clock, SecretSource};
use portunus_credentials::http::Http;
use portunus_credentials::{
    AwsCredentialProvider, AwsKeysSource, BedrockApiKeySource, BedrockMintedKeySource, Cached,
    ContainerSource, Credential, CredentialError, CredentialProvider, CredentialSource,
    InstanceMetadataSource, WebIdentitySource,
};
use portunus_mock::{ContainerRole, Fault, InstanceRole, MockCloud};

use crate::support::{Env, clock, everything, seconds, text};
use crate::web_identity::keys;

const POD: &str = "/v1/credentials";
const POD_TOKEN: &str = "canary-pod-token";

fn cloud(clock: &Arc<ManualClock>) -> MockCloud {
    let builder = MockCloud::builder().container(ContainerRole::new(POD).authorized_by(POD_TOKEN));
    let builder = builder.container(ContainerRole::new("/ecs")).instance(InstanceRole::new("web-server"));
    builder.clock(clock.clone()).build().unwrap()
}

fn once() -> Http {
    Http::for_metadata().with_attempts(1, Duration::ZERO)
}

fn container(cloud: &MockCloud, path: &str, more: &[(&str, &str)]) -> ContainerSource {
    let url = format!("{}{path}", cloud.url());
    let env = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url)].iter().chain(more).copied().collect::<Vec<_>>();
    ContainerSource::from_secrets(&Env::of(&env), clock()).unwrap().with_http(once())
}

fn instance(cloud: &MockCloud, clock: &Arc<ManualClock>) -> InstanceMetadataSource {
    let env = Env::of(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &cloud.url())]);
    InstanceMetadataSource::from_secrets(&env, clock.clone()).unwrap().with_http(once())
}

#[tokio::test]
async fn keys_in_the_environment_have_no_end_and_half_of_them_is_a_mistake() {
    let from = |values: &[(&str, &str)]| AwsKeysSource::from_secrets(&Env::of(values));
    let both = [("AWS_ACCESS_KEY_ID", " id "), ("AWS_SECRET_ACCESS_KEY", "canary")];
    let issued = from(&both).unwrap().fetch().await.unwrap();
    assert_eq!(keys(&issued.credential), ["id", "canary", ""]);
    assert_eq!(issued.expires_at, None);
    let older = [("AWS_ACCESS_KEY_ID", "id"), ("SECRET_ACCESS_KEY", "old"), ("AWS_SESSION_TOKEN", "t")];
    assert_eq!(keys(&from(&older).unwrap().fetch().await.unwrap().credential), ["id", "old", "t"]);
    assert!(matches!(from(&[]), Err(CredentialError::NotConfigured)));
    let blank = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", " ")];
    assert!(matches!(from(&blank), Err(CredentialError::NotConfigured)));
    for (half, named) in [(both[0], "AWS_SECRET_ACCESS_KEY"), (both[1], "AWS_ACCESS_KEY_ID")] {
        let error = from(&[half]).unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
        let all = everything(&error);
        assert!(all.contains(named) && !all.contains("canary"), "{all}");
    }
}

#[tokio::test]
async fn a_bedrock_key_is_sent_and_not_signed_with() {
    let env = Env::of(&[("AWS_BEARER_TOKEN_BEDROCK", "bedrock-api-key-1")]);
    let issued = BedrockApiKeySource::from_secrets(&env).unwrap().fetch().await.unwrap();
    assert_eq!(text(&issued.credential), "bedrock-api-key-1");
    let unset = BedrockApiKeySource::from_secrets(&Env::default());
    assert!(matches!(unset, Err(CredentialError::NotConfigured)));
}

#[tokio::test]
async fn a_container_shows_its_token_and_keeps_its_keys() {
    let clock = clock();
    let cloud = cloud(&clock);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, POD_TOKEN).unwrap();
    let source = container(
        &cloud,
        POD,
        &[
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "x"),
        ],
    );
    let provider = Cached::new(source.clone(), clock.clone());
    let first = keys(&provider.resolve().await.unwrap());
    assert_eq!(first, ["ASIAMOCK00000001", "metadata-mock-secret-1", "metadata-mock-session-1"]);
    clock.advance(seconds(3_000));
    assert_eq!(keys(&provider.resolve().await.unwrap()), first);
    clock.advance(seconds(599));
    assert_eq!(keys(&provider.resolve().await.unwrap())[0], "ASIAMOCK00000002");
    // The file is read at every fetch.
    std::fs::write(&file, "another").unwrap();
    assert!(matches!(source.fetch().await, Err(CredentialError::Rejected(_))));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(source.fetch().await, Err(CredentialError::Invalid(_))));
    let by_variable = container(&cloud, POD, &[("AWS_CONTAINER_AUTHORIZATION_TOKEN", POD_TOKEN)]);
    let issued = by_variable.fetch().await.unwrap();
    assert_eq!(issued.subject.as_deref(), Some("arn:aws:iam::123456789012:role/mock-container"));
    container(&cloud, "/ecs", &[]).fetch().await.unwrap();
}

#[test]
fn a_container_asks_in_plain_text_only_where_nobody_can_listen() {
    let from = |name: &str, value: &str| ContainerSource::from_secrets(&Env::of(&[(name, value)]), clock());
    let relative = |value| from("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", value);
    let full = |value| from("AWS_CONTAINER_CREDENTIALS_FULL_URI", value);
    assert_eq!(relative("/v2/x?a=1").unwrap().url().as_str(), "http://169.254.170.2/v2/x?a=1");
    for good in [
        "https://example.com/x",
        "http://127.0.0.1:1/",
        "http://localhost/",
        "http://[::1]/",
        "http://169.254.170.2/",
        "http://169.254.170.23/",
        "http://[fd00:ec2::23]/",
    ] {
        assert_eq!(full(good).unwrap().url().as_str(), good);
    }
    for bad in [
        "http://example.com/",
        "http://169.254.169.254/",
        "http://169.254.170.2.example.com/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "/credentials",
        "https:",
    ] {
        assert!(matches!(full(bad), Err(CredentialError::Invalid(_))), "{bad}");
    }
    for bad in ["credentials", "//evil.example/x", "http://127.0.0.1/"] {
        let found = relative(bad);
        let on_ecs = found.as_ref().is_ok_and(|source| source.url().host_str() == Some("169.254.170.2"));
        assert!(on_ecs || matches!(found, Err(CredentialError::Invalid(_))), "{bad}: {found:?}");
    }
    let unset = ContainerSource::from_secrets(&Env::default(), clock());
    assert!(matches!(unset, Err(CredentialError::NotConfigured)));
}

#[tokio::test]
async fn an_instance_asks_with_a_token_and_for_its_role() {
    let clock = clock();
    let cloud = cloud(&clock);
    let issued = instance(&cloud, &clock).fetch().await.unwrap();
    assert_eq!(keys(&issued.credential)[0], "ASIAMOCK00000001");
    assert_eq!(issued.subject.as_deref(), Some("web-server"));
    assert_eq!(issued.expires_at, Some(clock.now() + seconds(3_599)));
    let asked: Vec<_> = cloud.requests().iter().map(|r| format!("{} {}", r.method(), r.path())).collect();
    let roles = "/latest/meta-data/iam/security-credentials/";
    assert_eq!(
        asked,
        ["PUT /latest/api/token".to_owned(), format!("GET {roles}"), format!("GET {roles}web-server")]
    );
}

#[tokio::test]
async fn a_session_with_the_metadata_service_is_used_until_it_ends_or_is_not_known() {
    let clock = clock();
    let cloud = cloud(&clock);
    let source = instance(&cloud, &clock);
    let sessions = || cloud.count("/latest/api/token");
    for _ in 0..3 {
        source.fetch().await.unwrap();
    }
    assert_eq!(sessions(), 1);
    // Two minutes before its end, lest a request outlive it.
    clock.advance(seconds(21_600 - 121));
    source.fetch().await.unwrap();
    assert_eq!(sessions(), 1);
    clock.advance(seconds(1));
    source.fetch().await.unwrap();
    assert_eq!(sessions(), 2);
    cloud.end_instance_sessions();
    source.fetch().await.unwrap();
    assert_eq!(sessions(), 3);
    // Setting the wall clock ends no session here, though it does there: one more is then begun.
    clock.jump_to(clock.now() + seconds(30_000));
    source.fetch().await.unwrap();
    assert_eq!(sessions(), 4);
    cloud.fail_next(2, Fault::status(401));
    let error = instance(&cloud, &clock).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
}

#[tokio::test]
async fn an_instance_is_asked_when_it_has_new_keys_and_not_before() {
    let clock = clock();
    let cloud = cloud(&clock);
    let provider = Cached::new(instance(&cloud, &clock), clock.clone());
    let first = keys(&provider.resolve().await.unwrap());
    let asked = cloud.requests().len();
    // It hands out the same keys again until five minutes before their end.
    clock.advance(seconds(3_599 - 241));
    assert_eq!(keys(&provider.held().unwrap()), first);
    assert_eq!(cloud.requests().len(), asked);
    clock.advance(seconds(241));
    assert_eq!(keys(&provider.resolve().await.unwrap())[0], "ASIAMOCK00000002");
}

#[tokio::test]
async fn an_outage_of_the_metadata_service_does_not_end_the_last_keys() {
    let clock = clock();
    let cloud = cloud(&clock);
    let source = instance(&cloud, &clock).may_be_absent();
    let last = source.fetch().await.unwrap();
    cloud.fail_next(1, Fault::status(503));
    let early = source.fetch().await.unwrap_err();
    assert!(matches!(early, CredentialError::Unavailable { .. }), "{early:?}");
    clock.advance(seconds(3_599));
    cloud.fail_next(1, Fault::status(503));
    let prolonged = source.fetch().await.unwrap();
    assert!(prolonged.credential == last.credential);
    let more = prolonged.expires_at.unwrap().duration_since(clock.now()).unwrap();
    assert!((seconds(600)..seconds(900)).contains(&more), "{more:?}");
    // What the service refuses is not prolonged.
    cloud.fail_next(1, Fault::status(403));
    assert!(matches!(source.fetch().await, Err(CredentialError::Rejected(_))));
    assert!(source.fetch().await.unwrap().credential != last.credential);
}

#[tokio::test]
async fn another_service_at_the_address_is_no_instance_and_asked_once() {
    let clock = clock();
    let patient = Http::for_metadata().with_attempts(3, Duration::ZERO);
    for status in [400, 404, 405, 403, 500] {
        let cloud = cloud(&clock);
        cloud.fail_next(3, Fault::status(status));
        let absent = instance(&cloud, &clock).with_http(patient.clone()).may_be_absent().fetch().await;
        let not_configured = matches!(absent, Err(CredentialError::NotConfigured));
        assert_eq!(not_configured, [400, 404, 405].contains(&status), "{status}: {absent:?}");
        assert_eq!(cloud.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_role_that_could_lead_elsewhere_is_not_asked_for() {
    let clock = clock();
    for role in ["..", "../../../user-data", "a/b", "a?b", "http://evil.example", "a%2f", "é"] {
        let cloud =
            MockCloud::builder().instance(InstanceRole::new(role)).clock(clock.clone()).build().unwrap();
        let error = instance(&cloud, &clock).fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{role}: {error:?}");
        assert_eq!(cloud.requests().len(), 2, "{role}");
        assert!(!everything(&error).contains("evil"), "{error:?}");
    }
}

#[tokio::test]
async fn keys_that_have_ended_are_used_while_the_metadata_service_has_no_others() {
    let clock = clock();
    let cloud = cloud(&clock);
    cloud.set_token_lifetime(Duration::ZERO);
    let issued = instance(&cloud, &clock).fetch().await.unwrap();
    let extended = issued.expires_at.unwrap().duration_since(clock.now()).unwrap();
    assert!((seconds(600)..seconds(900)).contains(&extended), "{extended:?}");
}

#[tokio::test]
async fn where_there_is_no_instance_nothing_is_configured() {
    let clock = clock();
    let nowhere = || {
        let env = Env::of(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")]);
        InstanceMetadataSource::from_secrets(&env, clock.clone()).unwrap().with_http(Http::for_metadata())
    };
    assert!(matches!(nowhere().fetch().await, Err(CredentialError::Unavailable { .. })));
    assert!(matches!(nowhere().may_be_absent().fetch().await, Err(CredentialError::NotConfigured)));
    let without = MockCloud::builder().instance(InstanceRole::new("")).clock(clock.clone()).build().unwrap();
    assert!(matches!(instance(&without, &clock).fetch().await, Err(CredentialError::Invalid(_))));
    let absent = instance(&without, &clock).may_be_absent().fetch().await;
    assert!(matches!(absent, Err(CredentialError::NotConfigured)));

    let from =
        |values: &[(&str, &str)]| InstanceMetadataSource::from_secrets(&Env::of(values), clock.clone());
    let disabled = from(&[("AWS_EC2_METADATA_DISABLED", "True")]);
    assert!(matches!(disabled, Err(CredentialError::NotConfigured)));
    for bad in [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://example.com"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "no url"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv5"),
    ] {
        assert!(matches!(from(&[bad]), Err(CredentialError::Invalid(_))), "{bad:?}");
    }
    from(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6")]).unwrap();
}

#[tokio::test]
async fn an_instance_that_answered_once_is_not_taken_for_absent() {
    let clock = clock();
    let cloud = cloud(&clock);
    let source = instance(&cloud, &clock).may_be_absent();
    source.fetch().await.unwrap();
    cloud.shutdown().await;
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn faults_of_a_metadata_service_are_told_apart() {
    let clock = clock();
    let cloud = cloud(&clock);
    for (fault, kind) in [
        (Fault::status(500), "unavailable"),
        (Fault::status(429), "unavailable"),
        (Fault::Malformed, "unavailable"),
        (Fault::Oversized, "unavailable"),
        (Fault::status(403), "rejected"),
        (Fault::status(404), "invalid"),
    ] {
        cloud.fail_next(1, fault.clone());
        let error = container(&cloud, "/ecs", &[]).fetch().await.unwrap_err();
        let found = match &error {
            CredentialError::Unavailable { .. } => "unavailable",
            CredentialError::Rejected(_) => "rejected",
            CredentialError::Invalid(_) => "invalid",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, kind, "{fault:?}: {error:?}");
    }
    cloud.fail_next(1, Fault::Hang);
    let hasty = Http::with_timeouts(seconds(1), Duration::from_millis(100)).with_attempts(1, Duration::ZERO);
    let error = container(&cloud, "/ecs", &[]).with_http(hasty).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { .. }), "{error:?}");
    cloud.fail_next(2, Fault::status(500));
    let patient = Http::for_metadata().with_attempts(3, Duration::ZERO);
    container(&cloud, "/ecs", &[]).with_http(patient).fetch().await.unwrap();
}

#[tokio::test]
async fn the_first_that_is_set_up_answers() {
    let clock = clock();
    let cloud = cloud(&clock);
    let url = cloud.url();
    let instance = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str());
    let ecs = format!("{url}/ecs");
    let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", ecs.as_str());
    let id = ("AWS_ACCESS_KEY_ID", "id");
    let secret = ("AWS_SECRET_ACCESS_KEY", "secret");
    let bedrock = ("AWS_BEARER_TOKEN_BEDROCK", "bearer");
    let answer = async |values: &[(&str, &str)]| {
        let env: &dyn SecretSource = &Env::of(values);
        AwsCredentialProvider::from_secrets(env, clock.clone()).unwrap().resolve().await
    };
    assert_eq!(text(&answer(&[instance, container, id, secret, bedrock]).await.unwrap()), "bearer");
    assert_eq!(keys(&answer(&[instance, container, id, secret]).await.unwrap())[0], "id");
    assert_eq!(keys(&answer(&[instance, container]).await.unwrap())[0], "ASIAMOCK00000001");
    assert_eq!(cloud.count("/ecs"), 1);
    assert!(matches!(answer(&[instance]).await.unwrap(), Credential::AwsCredentials { .. }));
    let nothing = answer(&[("AWS_EC2_METADATA_DISABLED", "true")]).await.unwrap_err();
    let all = everything(&nothing);
    for link in ["Bedrock API key", "AWS access key", "web identity", "container", "EC2 instance metadata"] {
        assert!(all.contains(link), "{all}");
    }
    let from = |values: &[(&str, &str)]| AwsCredentialProvider::from_secrets(&Env::of(values), clock.clone());
    assert!(matches!(from(&[instance, id]), Err(CredentialError::Invalid(_))));
    // What comes after a fixed key is not read, so it cannot be wrong either.
    let half_a_role = ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
    assert!(matches!(from(&[half_a_role]), Err(CredentialError::Invalid(_))));
    for fixed in [from(&[half_a_role, id, secret]).unwrap(), from(&[id, bedrock]).unwrap()] {
        assert!(!fixed.renews());
        let held = fixed.held().unwrap();
        fixed.invalidate(&held);
        assert!(*held == fixed.resolve().await.unwrap());
    }
    assert!(from(&[instance]).unwrap().renews());
}

#[cfg(feature = "aws-chain")]
mod profiles {
    use portunus_credentials::AwsProfileSource;
    use wiremock::matchers::{any, header_regex, method};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    const ROLE: &str = "role_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n";
    const BASE: &str = "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = canary-base\n";

    struct Files(tempfile::TempDir);

    impl Files {
        fn with(config: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("config"), config).unwrap();
            Self(folder)
        }

        fn source(&self, more: &[(&str, &str)]) -> AwsProfileSource {
            let path = |name: &str| self.0.path().join(name).to_str().unwrap().to_owned();
            let (config, credentials) = (path("config"), path("credentials"));
            let files = [("AWS_CONFIG_FILE", &*config), ("AWS_SHARED_CREDENTIALS_FILE", &*credentials)];
            let env: Vec<_> = files.iter().chain(more).copied().collect();
            AwsProfileSource::from_secrets(&Env::of(&env)).unwrap()
        }
    }

    #[tokio::test]
    async fn a_profile_that_is_named_has_to_be_there() {
        let files = Files::with("[profile other]\nregion = eu-central-1\n");
        let usual = files.source(&[]).fetch().await;
        assert!(matches!(usual, Err(CredentialError::NotConfigured)), "{usual:?}");
        let no_keys = files.source(&[("AWS_PROFILE", "other")]).fetch().await;
        assert!(matches!(no_keys, Err(CredentialError::NotConfigured)), "{no_keys:?}");
        let misspelt = files.source(&[("AWS_PROFILE", "othr")]).fetch().await;
        assert!(matches!(misspelt, Err(CredentialError::Invalid(_))), "{misspelt:?}");
    }

    #[tokio::test]
    async fn a_changed_file_is_read_and_a_role_is_assumed_in_the_profiles_region() {
        let server = MockServer::start().await;
        let answer = "<AssumeRoleResponse><AssumeRoleResult><AssumedRoleUser>\
            <Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn><AssumedRoleId>x</AssumedRoleId></AssumedRoleUser>\
            <Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
            <SessionToken>t</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>\
            </AssumeRoleResult></AssumeRoleResponse>";
        for region in ["eu-west-3", "us-east-1", "ap-south-1"] {
            Mock::given(method("POST"))
                .and(header_regex("authorization", &format!("AKIABASE/\\d{{8}}/{region}/sts/aws4_request")))
                .respond_with(ResponseTemplate::new(200).set_body_raw(answer, "text/xml"))
                .expect(1)
                .mount(&server)
                .await;
        }
        let endpoint = format!("endpoint_url = {}\n", server.uri());
        let config = |region: &str| format!("[default]\n{region}{ROLE}{endpoint}{BASE}");
        let files = Files::with(&config("region = eu-west-3\n"));
        let source = files.source(&[]);
        let issued = source.fetch().await.unwrap();
        assert_eq!(keys(&issued.credential), ["ASIAROLE", "s", "t"]);
        assert_eq!(issued.subject.as_deref(), Some("account 123456789012"));
        std::fs::write(files.0.path().join("config"), config("")).unwrap();
        source.fetch().await.unwrap();
        files.source(&[("AWS_REGION", "ap-south-1")]).fetch().await.unwrap();
    }

    /// The rules of this crate's client hold for AWS's crate as well.
    #[tokio::test]
    async fn a_role_is_not_assumed_in_plain_text_or_after_a_redirect() {
        let server = MockServer::start().await;
        let elsewhere = format!("{}/elsewhere", server.uri());
        let redirect = ResponseTemplate::new(307).insert_header("location", elsewhere.as_str());
        Mock::given(any()).respond_with(redirect).mount(&server).await;
        let hasty = Http::with_timeouts(seconds(1), Duration::from_millis(200));
        let asked = async |endpoint: &str| {
            let files = Files::with(&format!("[default]\n{ROLE}endpoint_url = {endpoint}\n{BASE}"));
            let error = files.source(&[]).with_http(hasty.clone()).fetch().await.unwrap_err();
            assert!(!everything(&error).contains("canary"), "{error:?}");
            error
        };
        assert!(matches!(asked(&server.uri()).await, CredentialError::Unavailable { .. }));
        let paths: Vec<_> =
            server.received_requests().await.unwrap().iter().map(|r| r.url.path().to_owned()).collect();
        assert!(!paths.is_empty() && paths.iter().all(|path| path == "/"), "{paths:?}");
        assert!(matches!(asked("http://sts.example.com").await, CredentialError::Unavailable { .. }));
    }
}

#[tokio::test]
async fn the_clients_of_the_default_chain_can_be_shared() {
    let clock = clock();
    let cloud = cloud(&clock);
    let ecs = format!("{}/ecs", cloud.url());
    let env = Env::of(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &ecs)]);
    let provider = AwsCredentialProvider::from_secrets(&env, clock).unwrap();
    cloud.fail_next(2, Fault::status(500));
    let provider = provider.with_metadata_http(once()).with_http(Http::default());
    assert!(matches!(provider.resolve().await, Err(CredentialError::Unavailable { .. })));
    assert_eq!(cloud.count("/ecs"), 1);
}

/// Presigned by botocore 1.43.11 with the clock stopped, in the steps of AWS's `aws-bedrock-token-generator`.
const MINTED: &str = include_str!("../data/bedrock-minted-keys.json");

#[tokio::test]
async fn a_minted_bedrock_key_is_the_one_that_botocore_presigns() {
    use std::time::{SystemTime, UNIX_EPOCH};

    use base64::Engine as _;

    /// The host and the parameters, whose order does not matter.
    fn parameters(key: &str) -> (String, std::collections::BTreeMap<String, String>) {
        let text = key.strip_prefix("bedrock-api-key-").unwrap();
        let text = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let url: url::Url = format!("https://{}", String::from_utf8(text).unwrap()).parse().unwrap();
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        assert_eq!(pairs.last().unwrap().0, "Version");
        let count = pairs.len();
        let parameters: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
        assert_eq!(parameters.len(), count, "a parameter is repeated");
        (format!("{}{}", url.host_str().unwrap(), url.path()), parameters)
    }

    let cases: Vec<serde_json::Value> = serde_json::from_str(MINTED).unwrap();
    assert!(cases.len() >= 3);
    for case in &cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let at: SystemTime = UNIX_EPOCH + seconds(case["at"].as_u64().unwrap());
        let token = case["session_token"].as_str().map(Into::into);
        let keys = AwsKeysSource::new(text("access_key_id").into(), text("secret_access_key").into(), token);
        let lifetime = seconds(case["lifetime"].as_u64().unwrap());
        let clock = Arc::new(ManualClock::at(at));
        let source = BedrockMintedKeySource::new(keys, text("region"), clock).with_lifetime(lifetime);
        let issued = source.fetch().await.unwrap();
        assert_eq!(parameters(super::support::text(&issued.credential)), parameters(text("key")));
        assert_eq!(issued.expires_at, Some(at + lifetime));
    }
}

#[tokio::test]
async fn a_minted_bedrock_key_ends_with_the_keys_it_is_made_from() {
    let clock = clock();
    let cloud = cloud(&clock);
    let made = |source: ContainerSource| BedrockMintedKeySource::new(source, "eu-central-1", clock.clone());
    let issued = made(container(&cloud, "/ecs", &[])).fetch().await.unwrap();
    assert_eq!(issued.expires_at, Some(clock.now() + seconds(3_599)));
    assert_eq!(issued.subject.as_deref(), Some("arn:aws:iam::123456789012:role/mock-container"));
    let none = MockCloud::builder().build().unwrap();
    assert!(made(container(&none, "/ecs", &[])).fetch().await.is_err());
    for bad in [Duration::ZERO, Duration::from_millis(999), seconds(43_201)] {
        let error = made(container(&cloud, "/ecs", &[])).with_lifetime(bad).fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{bad:?}");
    }
    let bearer = BedrockApiKeySource::new("canary".into());
    let error = BedrockMintedKeySource::new(bearer, "eu-central-1", clock.clone()).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(!everything(&error).contains("canary"));
}

#[test]
fn sts_is_asked_in_its_region_and_partition() {
    let url = |region: &str| WebIdentitySource::new("r", "/t", "s", region, clock()).url();
    for (region, wanted) in [
        ("eu-central-1", "https://sts.eu-central-1.amazonaws.com/"),
        ("cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
        ("us-gov-west-1", "https://sts.us-gov-west-1.amazonaws.com/"),
    ] {
        assert_eq!(url(region).unwrap().as_str(), wanted);
    }
    for (region, wanted) in [
        ("us-east-1", "https://sts-fips.us-east-1.amazonaws.com/"),
        ("us-gov-east-1", "https://sts.us-gov-east-1.amazonaws.com/"),
        ("cn-north-1", "https://sts-fips.cn-north-1.amazonaws.com.cn/"),
    ] {
        let source = WebIdentitySource::new("r", "/t", "s", region, clock()).with_fips();
        assert_eq!(source.url().unwrap().as_str(), wanted);
    }
    for (region, wanted) in [
        ("us-east-1", "https://sts.us-east-1.api.aws/"),
        ("cn-north-1", "https://sts.cn-north-1.api.amazonwebservices.com.cn/"),
        ("us-iso-east-1", "https://sts.us-iso-east-1.api.aws.ic.gov/"),
    ] {
        let source = WebIdentitySource::new("r", "/t", "s", region, clock()).with_dual_stack();
        assert_eq!(source.url().unwrap().as_str(), wanted);
    }
    for (region, wanted) in [
        ("us-east-1", "https://sts-fips.us-east-1.api.aws/"),
        ("us-gov-east-1", "https://sts-fips.us-gov-east-1.api.aws/"),
    ] {
        let source = WebIdentitySource::new("r", "/t", "s", region, clock()).with_dual_stack().with_fips();
        assert_eq!(source.url().unwrap().as_str(), wanted);
    }
    for bad in ["", "eu central", "evil.example/", "x@y", "EU"] {
        assert!(matches!(url(bad), Err(CredentialError::Invalid(_))), "{bad}");
    }
    let own = WebIdentitySource::new("r", "/t", "s", "x", clock());
    let own = own.with_endpoint("https://vpce-1.sts.example/".parse().unwrap());
    assert_eq!(own.url().unwrap().as_str(), "https://vpce-1.sts.example/");
    // Nobody can tell whether that is a FIPS endpoint.
    assert!(matches!(own.clone().with_fips().url(), Err(CredentialError::Invalid(_))));
    assert!(matches!(own.with_dual_stack().url(), Err(CredentialError::Invalid(_))));
}

#[test]
fn what_leads_to_keys_and_what_was_put_in_place_of_a_path_are_not_shown() {
    let env = Env::of(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/canary-1")]);
    let source = ContainerSource::from_secrets(&env, clock()).unwrap();
    assert!(!format!("{source:?}").contains("canary"));
    let with_password = Env::of(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://u:canary@example.com/")]);
    assert!(matches!(
        ContainerSource::from_secrets(&with_password, clock()),
        Err(CredentialError::Invalid(_))
    ));
    for secret in ["eyJhbGciOiJub25lIn0.canary.x", "{\"private_key\": \"canary\"}", "-----BEGIN\ncanary"] {
        let env = Env::of(&[("AWS_ROLE_ARN", "arn"), ("AWS_WEB_IDENTITY_TOKEN_FILE", secret)]);
        let source = WebIdentitySource::from_secrets(&env, clock()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(source.fetch()).unwrap_err();
        let all = format!("{source:?} {}", everything(&error));
        assert!(!all.contains("canary") && all.contains("holds no path"), "{all}");
    }
}
