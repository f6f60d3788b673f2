//! Client certificates and managed identities, against the mock's Entra and metadata services.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::Clock;
use portunus_auth_core::clock::ManualClock;
use portunus_credentials::http::Http;
use portunus_credentials::{
    AzureAdCredentialProvider, AzureAdSource, AzureManagedIdentityProvider, AzureManagedIdentitySource,
    ClientCertificate, CredentialError, CredentialProvider, CredentialSource, ManagedIdentityId,
    StaticTokenProvider,
};
use portunus_mock::{EntraApp, Fault, ManagedIdentity, MockCloud};

use crate::support::{Env, clock, everything, seconds, text};

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
        assert!(matches!(other.may_be_absent().fetch().await, Err(CredentialError::NotConfigured)));
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
    let chosen = arc().with_identity(ManagedIdentityId::ClientId("id-1".into())).fetch().await;
    assert!(matches!(chosen, Err(CredentialError::Invalid(_))));
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
