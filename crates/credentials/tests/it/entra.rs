//! The Azure provider against the mock's Entra service, which refuses a request that is not exactly
//! the documented one.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_credentials::http::Http;
use portunus_credentials::{AzureAdCredentialProvider, CredentialError, CredentialProvider};
use portunus_mock::{EntraApp, Fault, MockCloud};

use crate::support::{Env, clock, everything, seconds, text};

struct Fixture {
    clock: Arc<ManualClock>,
    cloud: MockCloud,
    path: String,
}

fn fixture() -> Fixture {
    let app = EntraApp::new("contoso", "app", "canary-secret");
    let path = app.token_path();
    Fixture { clock: clock(), cloud: MockCloud::builder().entra(app).build().unwrap(), path }
}

impl Fixture {
    fn provider(&self, tenant: &str, client_id: &str, secret: &str) -> AzureAdCredentialProvider {
        let env = Env::of(&[
            ("AZURE_TENANT_ID", tenant),
            ("AZURE_CLIENT_ID", client_id),
            ("AZURE_CLIENT_SECRET", secret),
            ("AZURE_AUTHORITY_HOST", &self.cloud.url()),
        ]);
        AzureAdCredentialProvider::from_secrets(&env, self.clock.clone()).unwrap()
    }

    fn good(&self) -> AzureAdCredentialProvider {
        self.provider("contoso", "app", "canary-secret")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_callers_cost_one_request_per_lifetime() {
    let f = fixture();
    let provider = Arc::new(f.good());
    for round in 1..=2 {
        let callers: Vec<_> = (0..1_000)
            .map(|_| {
                let provider = provider.clone();
                tokio::spawn(async move { provider.resolve().await })
            })
            .collect();
        for caller in callers {
            assert_eq!(text(&caller.await.unwrap().unwrap()), format!("entra-mock-token-{round}"));
        }
        assert_eq!(f.cloud.count(&f.path), round);
        f.clock.advance(seconds(3_599));
    }
}

#[tokio::test]
async fn what_entra_refuses_is_told_apart() {
    let f = fixture();
    let rejected = [
        (f.provider("contoso", "app", "canary-wrong"), "7000215"),
        (f.provider("contoso", "other", "canary-secret"), "700016"),
        (f.provider("fabrikam", "app", "canary-secret"), "90002"),
    ];
    for (provider, code) in rejected {
        let error = provider.resolve().await.unwrap_err();
        let all = everything(&error);
        assert!(matches!(error, CredentialError::Rejected(_)), "{all}");
        assert!(all.contains(code) && !all.contains("canary"), "{all}");
    }
    let error = f.good().with_scope("no-resource").resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
}

#[tokio::test]
async fn every_fault_is_unavailable_and_passes() {
    let f = fixture();
    let status = |status, retry_after| Fault::Status { status, retry_after };
    for (fault, waits) in [
        (Fault::Hang, 5),
        (Fault::Malformed, 5),
        (Fault::Oversized, 5),
        (status(503, None), 5),
        (status(429, Some(seconds(30))), 30),
    ] {
        let http =
            Http::with_timeouts(seconds(5), Duration::from_millis(500)).with_attempts(1, Duration::ZERO);
        let provider = f.good().with_http(http);
        f.cloud.fail_next(1, fault.clone());
        let before = f.cloud.count(&f.path);
        for _ in 0..10 {
            let error = provider.resolve().await.unwrap_err();
            assert!(matches!(error, CredentialError::Unavailable { .. }), "{fault:?}: {error:?}");
        }
        f.clock.advance(seconds(waits) - Duration::from_millis(1));
        provider.resolve().await.unwrap_err();
        assert_eq!(f.cloud.count(&f.path), before + 1, "{fault:?}");
        f.clock.advance(Duration::from_millis(1));
        provider.resolve().await.unwrap();
    }
}

#[tokio::test]
async fn an_outage_does_not_cost_a_working_token() {
    let f = fixture();
    let provider = f.good();
    let token = provider.resolve().await.unwrap();
    f.clock.advance(seconds(3_599 - 100));
    f.cloud.fail_next(1, Fault::status(500));
    while f.cloud.count(&f.path) < 2 {
        assert_eq!(provider.resolve().await.unwrap(), token);
        tokio::task::yield_now().await;
    }
    f.clock.advance(seconds(99));
    assert_eq!(provider.resolve().await.unwrap(), token);
}

#[tokio::test]
async fn a_refused_token_is_replaced() {
    let f = fixture();
    let provider = f.good();
    let token = provider.resolve().await.unwrap();
    provider.invalidate(&token);
    assert_eq!(text(&provider.resolve().await.unwrap()), "entra-mock-token-2");
    assert_eq!(f.cloud.count(&f.path), 2);
}

#[tokio::test]
async fn a_workload_proves_itself_with_the_token_in_its_file_read_at_every_exchange() {
    let app = EntraApp::new("contoso", "app", "canary-secret").trusting("canary-federated");
    let (path, clock) = (app.token_path(), clock());
    let cloud = MockCloud::builder().entra(app).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let env = Env::of(&[
        ("AZURE_TENANT_ID", "contoso"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        ("AZURE_AUTHORITY_HOST", &cloud.url()),
    ]);
    let provider = AzureAdCredentialProvider::from_secrets(&env, clock.clone()).unwrap();
    let error = provider.resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");

    std::fs::write(&file, "expired-canary").unwrap();
    clock.advance(seconds(60));
    let error = provider.resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    assert!(everything(&error).contains("700024") && !everything(&error).contains("canary"), "{error:?}");
    assert_eq!(cloud.count(&path), 2, "the file may have been replaced since it was read");

    std::fs::write(&file, "canary-federated\n").unwrap();
    clock.advance(seconds(60));
    assert_eq!(text(&provider.resolve().await.unwrap()), "entra-mock-token-1");
    std::fs::write(&file, "another-canary").unwrap();
    clock.advance(seconds(3_599));
    assert!(provider.resolve().await.is_err(), "the file is read anew");
}
