//! Our own vectors: credentials files and signed assertions.

use portunus_auth_core::vectors::Report;
use portunus_credentials::CredentialProvider;
use portunus_mock::GoogleCloud;

use super::*;
use crate::support::text;

#[test]
fn google_files() {
    let mut report = Report::on("gcp-credentials (files)");
    for case in cases()["file_cases"].as_array().unwrap() {
        let file = case["file_text"].as_str().unwrap();
        let env = Env::of(&[("GOOGLE_APPLICATION_CREDENTIALS", "/file"), ("/file", file)]);
        let judged = VertexOAuthCredentialProvider::from_secrets(&env, crate::support::clock());
        if let Err(error) = &judged {
            assert!(matches!(error, CredentialError::Invalid(_)), "{}: {error:?}", case["id"]);
        }
        let expected = case["expect"].as_str().unwrap();
        report.case(
            case["id"].as_str().unwrap(),
            match expected {
                "ok" => judged.is_ok(),
                "error" => judged.is_err(),
                "either" => true,
                other => panic!("an unknown verdict: {other}"),
            },
        );
    }
    report.finish();
}

/// What is sent, and what is signed without sending, holds the expected header and claims. The mock
/// verifies the signature.
#[tokio::test]
async fn google_assertions() {
    let mut report = Report::on("gcp-credentials (assertions)");
    for case in cases()["sign_vectors"].as_array().unwrap() {
        // Ours say that they were issued ten seconds ago.
        let clock = Arc::new(ManualClock::at_unix(case["now"].as_u64().unwrap() + 10));
        let cloud = serve(&clock, GoogleCloud::new().account(account()));
        let provider = provider(&key_file(&format!("{}/token", cloud.url())), &clock);
        let mut expected = case["expected_claims"].clone();
        let jwt = if case["flow"] == "self_signed_jwt" {
            let provider = provider.with_self_signed_jwt(case["audience"].as_str()).unwrap();
            text(&provider.resolve().await.unwrap()).to_owned()
        } else {
            // `sub` names a user to act for; for itself an account does not need it.
            expected.as_object_mut().unwrap().remove("sub");
            provider.with_scope(case["scope"].as_str().unwrap()).resolve().await.unwrap();
            let sent = form(cloud.requests()[0].body());
            sent.into_iter().find(|(name, _)| name == "assertion").unwrap().1
        };
        report
            .case(case["id"].as_str().unwrap(), opened(&jwt) == (case["expected_header"].clone(), expected));
    }
    report.finish();
}
