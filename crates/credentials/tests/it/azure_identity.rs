//! Client certificates and managed identities, against the mock's Entra and metadata services.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::Clock;
use portunus_auth_core::clock::ManualClock;
use portunus_credentials::http::Http;
use portunus_credentials::{
    AzureAdCredentialProvider, AzureAdSource, AzureManagedIdentityProvider, AzureManagedIdentitySource,
    ClientCertificate, CredentialError, CredentialProvider, CredentialSource, EnvSource, ManagedIdentityId,
    StaticTokenProvider,
};
use portunus_mock::{EntraApp, Fault, ManagedIdentity, MockCloud};

use crate::support::{Env, Source, Step, clock, everything, seconds, text};

const SCOPE: &str = "https://cognitiveservices.azure.com/.default";

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/azure").join(name)
}

fn pem(name: &str) -> String {
    std::fs::read_to_string(data(name)).unwrap()
}

fn certificate(name: &str) -> ClientCertificate {
    ClientCertificate::from_pem(&pem(name).into()).unwrap()
}

fn entra(clock: &Arc<ManualClock>) -> MockCloud {
    let app = EntraApp::new("contoso", "app", "unused").certified(&pem("client.pem"));
    MockCloud::builder().entra(app).clock(clock.clone()).build().unwrap()
}

fn proved(cloud: &MockCloud, clock: &Arc<ManualClock>, by: ClientCertificate) -> AzureAdSource {
    let source = AzureAdSource::with_certificate("contoso", "app", by, clock.clone());
    source.with_authority(&cloud.url().parse().unwrap())
}

#[tokio::test]
async fn a_certificate_proves_the_client_in_every_way_that_entra_takes() {
    let clock = clock();
    let cloud = entra(&clock);
    for by in [
        certificate("client.pem"),
        certificate("client-pkcs1.pem"),
        certificate("client.pem").sending_chain(),
        certificate("client.pem").with_rs256(),
        certificate("client.pem").with_rs256().sending_chain(),
    ] {
        // Twice: an assertion is good once, so each exchange has to sign its own.
        let source = proved(&cloud, &clock, by);
        source.fetch().await.unwrap();
        let issued = source.fetch().await.unwrap();
        assert_eq!(issued.subject.as_deref(), Some("application app of contoso"));
        assert_eq!(issued.source.as_deref(), Some("Entra client certificate"));
    }
}

#[tokio::test]
async fn a_strangers_certificate_is_rejected() {
    let clock = clock();
    let cloud = entra(&clock);
    let error = proved(&cloud, &clock, certificate("stranger.pem")).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    assert!(everything(&error).contains("700027"), "{error:?}");
}

#[tokio::test]
async fn a_key_and_its_certificate_may_lie_apart_and_belong_together() {
    let clock = clock();
    let cloud = entra(&clock);
    let (own, stranger) = (pem("client.pem"), pem("stranger.pem"));
    let from = |certificate: &str, key: &str| ClientCertificate::from_pems(&certificate.into(), &key.into());
    // Those that issued it may come first.
    let mixed = from(&format!("{stranger}{own}"), &own).unwrap().sending_chain();
    proved(&cloud, &clock, mixed).fetch().await.unwrap();
    let error = from(&stranger, &own).unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(everything(&error).contains("none of the certificates"), "{error:?}");

    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = ["c.pem", "k.pem"].map(|name| folder.path().join(name));
    let at = own.find("-----BEGIN CERTIFICATE").unwrap();
    let after = own[at..].find("-----END CERTIFICATE-----").unwrap() + at + 25;
    std::fs::write(&certificate, &own[at..after]).unwrap();
    std::fs::write(&key, own.replace(&own[at..after], "")).unwrap();
    let url = cloud.url();
    let config = format!(
        "source = \"azure-certificate\"\ntenant_id = \"contoso\"\nclient_id = \"app\"\n\
         certificate = {certificate:?}\nkey = {key:?}\nauthority = \"{url}\""
    );
    let config: portunus_credentials::ProviderConfig = toml::from_str(&config).unwrap();
    config.source(&Env::default(), clock.clone()).unwrap().fetch().await.unwrap();
}

#[test]
fn an_encrypted_certificate_file_is_refused_at_once() {
    let env = Env::of(&[
        ("AZURE_TENANT_ID", "contoso"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_CLIENT_CERTIFICATE_PATH", "/c.pfx"),
        ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "canary"),
    ]);
    let error = AzureAdSource::from_secrets(&env, clock()).unwrap_err();
    let all = everything(&error);
    assert!(matches!(error, CredentialError::Invalid(_)), "{all}");
    assert!(all.contains("AZURE_CLIENT_CERTIFICATE_PASSWORD") && !all.contains("canary"), "{all}");
}

#[tokio::test]
async fn a_federated_identity_is_as_configured_as_the_source_of_its_token() {
    let unset = EnvSource::new("UNSET", Arc::new(Env::default()));
    let source = AzureAdSource::with_assertion("contoso", "app", unset, clock());
    assert!(matches!(source.fetch().await, Err(CredentialError::NotConfigured)));
}

/// The machine's token is what proves an application: no secret anywhere.
#[tokio::test]
async fn a_managed_identity_can_prove_an_application() {
    let clock = clock();
    let app = EntraApp::new("contoso", "app", "unused").trusting("managed-identity-mock-token-1");
    let cloud = MockCloud::builder().entra(app).managed_identity(ManagedIdentity::vm("id-1"));
    let cloud = cloud.clock(clock.clone()).build().unwrap();
    let env = Env::of(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &cloud.url())]);
    let scope = "api://AzureADTokenExchange/.default";
    let machine = AzureManagedIdentitySource::from_secrets(scope, &env, clock.clone()).unwrap();
    let source = AzureAdSource::with_assertion("contoso", "app", machine, clock.clone());
    source.with_authority(&cloud.url().parse().unwrap()).fetch().await.unwrap();
    let asked = cloud.requests().remove(0);
    assert_eq!(asked.query(), Some("api-version=2019-08-01&resource=api%3A%2F%2FAzureADTokenExchange"));
}

#[tokio::test]
async fn a_certificate_file_is_read_at_every_exchange() {
    let clock = clock();
    let cloud = entra(&clock);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.pem");
    let url = cloud.url();
    let env = Env::of(&[
        ("AZURE_TENANT_ID", "contoso"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_CLIENT_CERTIFICATE_PATH", file.to_str().unwrap()),
        ("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "true"),
        ("AZURE_AUTHORITY_HOST", &url),
    ]);
    let source = AzureAdSource::from_secrets(&env, clock.clone()).unwrap();
    for (name, says) in
        [("encrypted.pem", "no private key in PEM"), ("ec.pem", "not an RSA key"), ("stranger.pem", "700027")]
    {
        std::fs::copy(data(name), &file).unwrap();
        let all = everything(&source.fetch().await.unwrap_err());
        assert!(all.contains(says) && !all.contains("PRIVATE KEY-----\n"), "{name}: {all}");
    }
    std::fs::write(&file, pem("client.pem").split("-----BEGIN CERT").next().unwrap()).unwrap();
    assert!(everything(&source.fetch().await.unwrap_err()).contains("no certificate"));
    std::fs::copy(data("client.pem"), &file).unwrap();
    let provider = AzureAdCredentialProvider::of(source, clock.clone());
    assert!(text(&provider.resolve().await.unwrap()).starts_with("entra-mock-token-"));
    let request = cloud.requests().pop().unwrap();
    let form = String::from_utf8(request.body().to_vec()).unwrap();
    let assertion = form.split('&').find_map(|field| field.strip_prefix("client_assertion=")).unwrap();
    use base64::Engine as _;
    let header = assertion.split('.').next().unwrap();
    let header = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert!(header["alg"] == "PS256" && header["x5c"].is_array(), "{header}");
}

#[tokio::test]
async fn any_source_of_a_bearer_token_is_a_federated_identity() {
    let clock = clock();
    let app = EntraApp::new("contoso", "app", "unused").trusting("of-another-issuer");
    let cloud = MockCloud::builder().entra(app).clock(clock.clone()).build().unwrap();
    let federated = |identity: StaticTokenProvider| {
        AzureAdSource::with_assertion("contoso", "app", identity, clock.clone())
            .with_authority(&cloud.url().parse().unwrap())
    };
    federated(StaticTokenProvider::new("of-another-issuer".into())).fetch().await.unwrap();
    let header = http::HeaderName::from_static("x-api-key");
    let key = StaticTokenProvider::api_key(header, "of-another-issuer".into());
    let error = federated(key).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
}

fn machine(clock: &Arc<ManualClock>, identity: ManagedIdentity) -> MockCloud {
    MockCloud::builder().managed_identity(identity).clock(clock.clone()).build().unwrap()
}

fn source(clock: &Arc<ManualClock>, env: &[(&str, &str)]) -> AzureManagedIdentitySource {
    let http = Http::for_metadata().with_attempts(1, Duration::ZERO);
    let source = AzureManagedIdentitySource::from_secrets(SCOPE, &Env::of(env), clock.clone());
    source.unwrap().with_http(http)
}

#[tokio::test]
async fn a_virtual_machine_has_a_token_until_the_second_that_it_states() {
    let clock = clock();
    let cloud = machine(&clock, ManagedIdentity::vm("id-1"));
    let url = cloud.url();
    let env = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*url)];
    let issued = source(&clock, &env).fetch().await.unwrap();
    assert_eq!(issued.expires_at, Some(clock.now() + seconds(3_599)));
    assert_eq!(issued.subject.as_deref(), Some("application id-1"));
    source(&clock, &env).with_identity(ManagedIdentityId::ClientId("id-1".into())).fetch().await.unwrap();
    for other in [ManagedIdentityId::ObjectId("x".into()), ManagedIdentityId::ResourceId("/x".into())] {
        let other = source(&clock, &env).with_identity(other);
        assert!(matches!(other.fetch().await, Err(CredentialError::Invalid(_))));
        assert!(matches!(other.may_be_absent().fetch().await, Err(CredentialError::Invalid(_))));
    }
    let env = Env::of(&[env[0], ("AZURE_CLIENT_ID", "id-1")]);
    let provider = AzureManagedIdentityProvider::from_secrets(&env, clock.clone()).unwrap();
    let first = provider.resolve().await.unwrap();
    clock.advance(seconds(3_000));
    assert!(provider.resolve().await.unwrap() == first);
    clock.advance(seconds(599));
    assert!(provider.resolve().await.unwrap() != first);
}

#[tokio::test]
async fn app_service_wants_its_header() {
    let clock = clock();
    let cloud = machine(&clock, ManagedIdentity::app_service("id-1", "canary-header"));
    let endpoint = format!("{}/msi/token", cloud.url());
    let env = [("IDENTITY_ENDPOINT", &*endpoint), ("IDENTITY_HEADER", "canary-header")];
    source(&clock, &env).fetch().await.unwrap();
    let wrong = source(&clock, &[env[0], ("IDENTITY_HEADER", "canary-other")]).fetch().await.unwrap_err();
    assert!(matches!(wrong, CredentialError::Rejected(_)), "{wrong:?}");
    assert!(!everything(&wrong).contains("canary"));
}

#[tokio::test]
async fn arc_wants_the_key_from_a_file_of_its_own() {
    let clock = clock();
    let folder = tempfile::tempdir().unwrap();
    let cloud = machine(&clock, ManagedIdentity::arc("id-1", folder.path()));
    let endpoint = format!("{}/metadata/identity/oauth2/token", cloud.url());
    let env = [("IDENTITY_ENDPOINT", &*endpoint), ("IMDS_ENDPOINT", "x")];
    let arc = || source(&clock, &env);
    arc().with_arc_keys(folder.path()).fetch().await.unwrap();
    let elsewhere = arc().fetch().await.unwrap_err();
    assert!(everything(&elsewhere).contains("not its own"), "{elsewhere:?}");
    let arc = || arc().with_arc_keys(folder.path());
    arc().with_identity(ManagedIdentityId::ClientId("id-1".into())).fetch().await.unwrap();
    let other = arc().with_identity(ManagedIdentityId::ClientId("id-2".into())).fetch().await;
    assert!(matches!(other, Err(CredentialError::Invalid(_))));
    assert_eq!(arc().fetch().await.unwrap().source.as_deref(), Some("Azure managed identity (Arc)"));
}

#[tokio::test]
async fn arcs_agent_cannot_be_made_to_have_another_file_read() {
    let clock = clock();
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::create_dir_all(keys.join("below")).unwrap();
    for file in ["other.key", "keys/other.txt", "keys/below/other.key"] {
        std::fs::write(folder.path().join(file), "canary-secret").unwrap();
    }
    for named in [
        "other.key",
        "keys/other.txt",
        "keys/below/other.key",
        "keys/../other.key",
        "keys/.key",
        "keys/absent.key",
    ] {
        let agent = ManagedIdentity::arc("id-1", &keys).naming_key_file(folder.path().join(named));
        refused_by_arc(&clock, agent, &keys).await;
    }
    refused_by_arc(&clock, ManagedIdentity::arc("id-1", &keys).naming_key_file(""), &keys).await;
    refused_by_arc(&clock, ManagedIdentity::arc("id-1", &keys).with_key_bytes(4_097), &keys).await;
}

async fn refused_by_arc(clock: &Arc<ManualClock>, agent: ManagedIdentity, keys: &std::path::Path) {
    let says = format!("{agent:?}");
    let cloud = machine(clock, agent);
    let endpoint = format!("{}/metadata/identity/oauth2/token", cloud.url());
    let env = [("IDENTITY_ENDPOINT", &*endpoint), ("IMDS_ENDPOINT", "x")];
    let error = source(clock, &env).with_arc_keys(keys).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{says}: {error:?}");
    assert!(!everything(&error).contains("canary"), "{says}: {error:?}");
    assert_eq!(cloud.requests().len(), 1, "{says}: nothing was sent in answer to the challenge");
}

#[tokio::test]
async fn an_old_agent_of_arc_that_ignores_the_chosen_identity_is_found_out() {
    let clock = clock();
    let folder = tempfile::tempdir().unwrap();
    let cloud = machine(&clock, ManagedIdentity::arc("its-own", folder.path()).whichever_is_named());
    let endpoint = format!("{}/metadata/identity/oauth2/token", cloud.url());
    let env = [("IDENTITY_ENDPOINT", &*endpoint), ("IMDS_ENDPOINT", "x")];
    let source = || source(&clock, &env).with_arc_keys(folder.path());
    source().fetch().await.unwrap();
    for id in [ManagedIdentityId::ClientId("id-2".into()), ManagedIdentityId::ObjectId("its-own".into())] {
        let error = source().with_identity(id).fetch().await.unwrap_err();
        assert!(everything(&error).contains("did not confirm"), "{error:?}");
    }
}

#[tokio::test]
async fn what_answers_in_place_of_arcs_agent_without_a_challenge_is_not_believed() {
    let server = wiremock::MockServer::start().await;
    let token = serde_json::json!({ "access_token": "canary", "expires_on": "1900000000" });
    let answer = wiremock::ResponseTemplate::new(200).set_body_json(token);
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
    let env = [("IDENTITY_ENDPOINT", &*server.uri()), ("IMDS_ENDPOINT", "x")];
    let error = source(&clock(), &env).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(!everything(&error).contains("canary"), "{error:?}");
}

#[tokio::test]
async fn arc_is_told_by_its_agents_program_as_well() {
    let env = Env::of(&[("/opt/azcmagent/bin/himds", "program")]);
    let source = AzureManagedIdentitySource::from_secrets(SCOPE, &env, clock()).unwrap();
    assert!(format!("{source:?}").contains("Arc"), "{source:?}");
    let source = AzureManagedIdentitySource::from_secrets(SCOPE, &Env::default(), clock()).unwrap();
    assert!(format!("{source:?}").contains("Vm"), "{source:?}");
}

#[tokio::test]
async fn a_machine_that_serves_a_token_again_is_asked_once_in_its_life() {
    let clock = clock();
    let cloud = machine(&clock, ManagedIdentity::vm("id-1"));
    cloud.set_token_lifetime(seconds(86_400));
    let env = Env::of(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &cloud.url())]);
    let provider = AzureManagedIdentityProvider::from_secrets(&env, clock.clone()).unwrap();
    let first = provider.resolve().await.unwrap();
    for _ in 0..86 {
        clock.advance(seconds(1_000));
        assert!(provider.resolve().await.unwrap() == first);
    }
    let path = "/metadata/identity/oauth2/token";
    assert_eq!(cloud.count(path), 1, "400 seconds before the end it is too early to ask");
    clock.advance(seconds(200));
    while provider.resolve().await.unwrap() == first {
        tokio::task::yield_now().await;
    }
    assert_eq!(cloud.count(path), 2);
}

#[tokio::test]
async fn the_machines_own_identity_may_be_absent_and_several_have_to_be_told_apart() {
    let clock = clock();
    for (says, is_absent) in
        [("Identity not found", true), ("Multiple user assigned identities exist, please specify one", false)]
    {
        let cloud = machine(&clock, ManagedIdentity::vm("id-1").only_if_named(says));
        let url = cloud.url();
        let env = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*url)];
        assert!(matches!(source(&clock, &env).fetch().await, Err(CredentialError::Invalid(_))), "{says}");
        let answer = source(&clock, &env).may_be_absent().fetch().await.unwrap_err();
        assert_eq!(matches!(answer, CredentialError::NotConfigured), is_absent, "{says}: {answer:?}");
        let named = source(&clock, &env).with_identity(ManagedIdentityId::ClientId("id-1".into()));
        named.may_be_absent().fetch().await.unwrap();
    }
}

/// A chain would go on under another identity.
#[tokio::test]
async fn a_machine_that_was_there_once_is_not_absent_later() {
    let clock = clock();
    let cloud = machine(&clock, ManagedIdentity::vm("id-1"));
    let url = cloud.url();
    let source = source(&clock, &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*url)]).may_be_absent();
    source.fetch().await.unwrap();
    cloud.shutdown().await;
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_without_a_usable_end_is_none() {
    let clock = clock();
    let ends = [
        serde_json::json!("1700003600"),
        serde_json::json!(1_700_003_600),
        serde_json::json!(u64::MAX / 4),
        serde_json::json!("soon"),
        serde_json::json!("-1"),
        serde_json::json!(1.5),
        serde_json::json!(true),
        serde_json::json!("inf"),
        serde_json::json!(null),
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let server = wiremock::MockServer::start().await;
        let token = serde_json::json!({ "access_token": "canary", "expires_on": end, "client_id": "a b" });
        let answer = wiremock::ResponseTemplate::new(200).set_body_json(token);
        wiremock::Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
        let issued = source(&clock, &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*server.uri())]).fetch().await;
        match (n, issued) {
            (0 | 1, Ok(issued)) => assert_eq!(issued.expires_at, Some(clock.now() + seconds(3_600))),
            (2, Ok(issued)) => {
                assert_eq!(issued.expires_at, Some(clock.now() + seconds(86_400)), "a day at most");
                assert_eq!(issued.subject, None, "what is no id is not shown");
            }
            (3.., Err(error)) => {
                assert!(matches!(error, CredentialError::Unavailable { .. }), "{end}: {error:?}");
                assert!(!everything(&error).contains("canary"), "{end}");
            }
            (_, other) => panic!("{end}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn where_azure_is_not_nothing_is_configured() {
    let clock = clock();
    let nowhere = || source(&clock, &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")]);
    assert!(matches!(nowhere().fetch().await, Err(CredentialError::Unavailable { .. })));
    assert!(matches!(nowhere().may_be_absent().fetch().await, Err(CredentialError::NotConfigured)));
    let from =
        |env: &[(&str, &str)]| AzureManagedIdentitySource::from_secrets(SCOPE, &Env::of(env), clock.clone());
    let endpoint = ("IDENTITY_ENDPOINT", "http://127.0.0.1:1");
    for (env, says) in [
        (&[endpoint, ("IDENTITY_HEADER", "x"), ("IDENTITY_SERVER_THUMBPRINT", "x")][..], "Service Fabric"),
        (&[("MSI_ENDPOINT", "http://127.0.0.1:1"), ("MSI_SECRET", "x")], "Machine Learning"),
        (&[("MSI_ENDPOINT", "http://127.0.0.1:1")], "Cloud Shell"),
        (&[("IDENTITY_ENDPOINT", "http://example.com"), ("IDENTITY_HEADER", "x")], "IDENTITY_ENDPOINT"),
        (&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "no url")], "AZURE_POD_IDENTITY_AUTHORITY_HOST"),
    ] {
        let error = from(env).unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
        assert!(everything(&error).contains(says), "{error:?}");
    }
}

#[tokio::test]
async fn a_machine_that_is_busy_is_asked_again() {
    let clock = clock();
    let cloud = machine(&clock, ManagedIdentity::vm("id-1"));
    let url = cloud.url();
    let env = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*url)];
    for status in [404, 410, 429, 500] {
        cloud.fail_next(2, Fault::status(status));
        let patient = Http::for_metadata().with_attempts(3, Duration::ZERO);
        source(&clock, &env).with_http(patient).fetch().await.unwrap();
        cloud.fail_next(1, Fault::status(status));
        let error = source(&clock, &env).fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{status}: {error:?}");
    }
    for fault in [Fault::Malformed, Fault::Oversized] {
        cloud.fail_next(1, fault.clone());
        let error = source(&clock, &env).fetch().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{fault:?}: {error:?}");
    }
}

/// What a workload finds: `AZURE_CLIENT_ID` alone is the machine's user-assigned identity.
#[tokio::test]
async fn the_default_takes_an_application_first_and_the_machine_then() {
    let clock = clock();
    let app = EntraApp::new("contoso", "app", "canary-secret");
    let cloud = MockCloud::builder().entra(app).managed_identity(ManagedIdentity::vm("id-1"));
    let cloud = cloud.clock(clock.clone()).build().unwrap();
    let url = cloud.url();
    let base = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*url), ("AZURE_AUTHORITY_HOST", &*url)];
    let source = |more: &[(&str, &str)]| {
        let config: portunus_credentials::ProviderConfig =
            toml::from_str("source = \"azure-default\"").unwrap();
        config.source(&Env::of(&[&base[..], more].concat()), clock.clone()).unwrap()
    };
    let application = [
        ("AZURE_TENANT_ID", "contoso"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_CLIENT_SECRET", "canary-secret"),
    ];
    for (env, token) in [
        (&[("AZURE_AD_TOKEN", "given")][..], "given"),
        (&application[..], "entra-mock-token-1"),
        (&[("AZURE_CLIENT_ID", "id-1")][..], "managed-identity-mock-token-2"),
        (&[][..], "managed-identity-mock-token-2"),
    ] {
        assert_eq!(text(&source(env).fetch().await.unwrap().credential), token, "{env:?}");
    }
    let other = source(&[("AZURE_CLIENT_ID", "id-2")]).fetch().await;
    assert!(matches!(other, Err(CredentialError::Invalid(_))), "{other:?}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_and_no_second_assertion_is_tried() {
    let right = clock();
    let cloud = entra(&right);
    let path = EntraApp::new("contoso", "app", "unused").token_path();
    let ahead = clock();
    ahead.advance(seconds(3_600));
    let error = proved(&cloud, &ahead, certificate("client.pem")).fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    assert!(everything(&error).contains("700024"), "{error:?}");
    assert_eq!(cloud.count(&path), 1);
    right.advance(seconds(7_200));
    let error = proved(&cloud, &ahead, certificate("client.pem")).fetch().await.unwrap_err();
    assert!(everything(&error).contains("700024"), "an assertion ends within minutes: {error:?}");
}

#[tokio::test]
async fn an_assertion_that_has_ended_is_fetched_once_more() {
    let clock = clock();
    let app = EntraApp::new("contoso", "app", "unused").trusting("of-another-issuer");
    let path = app.token_path();
    let cloud = MockCloud::builder().entra(app).clock(clock.clone()).build().unwrap();
    let issuer = Source::new(&clock);
    issuer.then(Step::Token("expired-canary", None)).then(Step::Token("of-another-issuer", None));
    let source = AzureAdSource::with_assertion("contoso", "app", issuer.clone(), clock.clone());
    let source = source.with_authority(&cloud.url().parse().unwrap());
    source.fetch().await.unwrap();
    assert_eq!((issuer.fetches(), cloud.count(&path)), (2, 2));
    issuer.then(Step::Token("expired-canary", None)).then(Step::Token("expired-canary", None));
    let error = source.fetch().await.unwrap_err();
    assert!(everything(&error).contains("700024") && !everything(&error).contains("canary"), "{error:?}");
    assert_eq!((issuer.fetches(), cloud.count(&path)), (4, 4), "not a third time");
}

#[tokio::test]
async fn a_machine_that_does_not_answer_in_time_is_unavailable() {
    let clock = clock();
    let cloud = machine(&clock, ManagedIdentity::app_service("id-1", "canary-header"));
    let endpoint = format!("{}/msi/token", cloud.url());
    let env = [("IDENTITY_ENDPOINT", &*endpoint), ("IDENTITY_HEADER", "canary-header")];
    let short = Duration::from_millis(100);
    let http = Http::with_timeouts(short, short).with_attempts(1, Duration::ZERO);
    let source = source(&clock, &env).with_http(http);
    cloud.fail_next(1, Fault::Hang);
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { .. }), "{error:?}");
    cloud.fail_next(1, Fault::Status { status: 429, retry_after: Some(seconds(7)) });
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { retry_after: Some(d), .. } if d == seconds(7)));
}

#[test]
fn settings_that_do_not_reach_a_given_token_leave_it_as_it_is() {
    let env = Env::of(&[("AZURE_AD_TOKEN", "given")]);
    let provider = AzureAdCredentialProvider::from_secrets(&env, clock()).unwrap();
    let provider = provider.with_scope("other").with_http(Http::default());
    assert!(!provider.renews());
    assert_eq!(text(&provider.held().unwrap()), "given");
}

/// What is asked for otherwise is another token.
#[tokio::test]
async fn a_changed_provider_shares_nothing_with_the_one_it_was_made_from() {
    let clock = clock();
    let app = EntraApp::new("contoso", "app", "canary-secret");
    let cloud = MockCloud::builder().entra(app).clock(clock.clone()).build().unwrap();
    let source = AzureAdSource::new("contoso", "app", "canary-secret".into(), clock.clone());
    let source = source.with_authority(&cloud.url().parse().unwrap());
    let first = AzureAdCredentialProvider::of(source, clock);
    assert_eq!(text(&first.resolve().await.unwrap()), "entra-mock-token-1");
    let other = first.clone().with_scope("https://other.example/.default");
    assert!(other.held().is_none());
    assert_eq!(text(&other.resolve().await.unwrap()), "entra-mock-token-2");
    assert_eq!(text(&first.resolve().await.unwrap()), "entra-mock-token-1");
}
