//! AWS keys from the environment, a container and an instance, against the mock's metadata services.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_auth_core::{Clock, SecretSource};
use portunus_credentials::http::Http;
use portunus_credentials::{
    AwsCredentialProvider, AwsKeysSource, BedrockApiKeySource, Cached, ContainerSource, Credential,
    CredentialError, CredentialProvider, CredentialSource, InstanceMetadataSource, WebIdentitySource,
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
    let half = AwsCredentialProvider::from_secrets(&Env::of(&[instance, id]), clock.clone());
    assert!(matches!(half, Err(CredentialError::Invalid(_))));
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
    for bad in ["", "eu central", "evil.example/", "x@y", "EU"] {
        assert!(matches!(url(bad), Err(CredentialError::Invalid(_))), "{bad}");
    }
    let own = WebIdentitySource::new("r", "/t", "s", "x", clock());
    let own = own.with_endpoint("https://vpce-1.sts.example/".parse().unwrap());
    assert_eq!(own.url().unwrap().as_str(), "https://vpce-1.sts.example/");
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
