//! Acting as another service account.

use portunus_credentials::{CredentialError, CredentialProvider, CredentialSource, GoogleSource};
use portunus_mock::{Fault, GoogleAccount, GoogleCloud, GoogleUser};
use serde_json::json;

use super::*;
use crate::support::{clock, seconds, text};

const TARGET: &str = "target@p-1.iam.gserviceaccount.com";
const PATH: &str = "/v1/projects/-/serviceAccounts/target@p-1.iam.gserviceaccount.com:generateAccessToken";

fn world() -> (Arc<ManualClock>, MockCloud) {
    let clock = clock();
    let target = GoogleAccount::new(TARGET, "none", cases()["public_key_pem"].as_str().unwrap());
    let google = GoogleCloud::new().account(account()).account(target).user(GoogleUser::new(
        "c",
        "s",
        "r",
        CLOUD_PLATFORM,
    ));
    let cloud = serve(&clock, google);
    (clock, cloud)
}

fn file(cloud: &MockCloud, actor: &Value) -> Value {
    json!({
        "type": "impersonated_service_account", "source_credentials": actor,
        "service_account_impersonation_url": format!("{}{PATH}", cloud.url()),
    })
}

fn user(cloud: &MockCloud) -> Value {
    let token_uri = format!("{}/token", cloud.url());
    json!({ "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "token_uri": token_uri })
}

#[tokio::test]
async fn who_may_act_gets_the_other_accounts_token() {
    let (clock, cloud) = world();
    for actor in [user(&cloud), key_file(&format!("{}/token", cloud.url()))] {
        let mut file = file(&cloud, &actor);
        file["delegates"] = json!(["a@p", "projects/-/serviceAccounts/b@p"]);
        file["lifetime"] = json!(1_800);
        let env = Env::of(&[("/f", &file.to_string())]);
        let source = GoogleSource::from_file("/f".as_ref(), &env, clock.clone()).unwrap();
        let issued = source.fetch().await.unwrap();
        assert!(text(&issued.credential).starts_with("ya29."));
        assert_eq!(issued.subject.as_deref(), Some(TARGET));
        assert_eq!(issued.expires_at, Some(std::time::UNIX_EPOCH + seconds(1_700_001_800)));
        let asked = cloud.requests().pop().unwrap();
        assert_eq!(
            asked.json().unwrap(),
            json!({
                "scope": [CLOUD_PLATFORM], "lifetime": "1800s",
                "delegates": ["projects/-/serviceAccounts/a@p", "projects/-/serviceAccounts/b@p"],
            })
        );
    }
}

#[tokio::test]
async fn a_token_is_kept_until_the_end_that_iam_states() {
    let (clock, cloud) = world();
    let provider = provider(&file(&cloud, &user(&cloud)), &clock).with_scope("https://a https://b");
    let token = provider.resolve().await.unwrap();
    assert_eq!(cloud.requests()[1].json().unwrap()["scope"], json!(["https://a", "https://b"]));
    clock.advance(seconds(3_600 - 301));
    assert_eq!(provider.resolve().await.unwrap(), token);
    assert_eq!(cloud.count(PATH), 1);
    clock.advance(seconds(301));
    assert_ne!(provider.resolve().await.unwrap(), token);
    assert_eq!(cloud.count(PATH), 2);
}

#[tokio::test]
async fn what_iam_refuses_is_told_apart() {
    let (clock, cloud) = world();
    let mut stranger = file(&cloud, &user(&cloud));
    stranger["service_account_impersonation_url"] =
        format!("{}{}", cloud.url(), PATH.replace("target", "stranger")).into();
    let error = provider(&stranger, &clock).resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    assert!(everything(&error).contains("403 PERMISSION_DENIED"), "{error:?}");

    let mut long = file(&cloud, &user(&cloud));
    long["delegates"] = json!(["projects/canary/x"]);
    let error = provider(&long, &clock).resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert!(everything(&error).contains("400 INVALID_ARGUMENT"), "{error:?}");

    let http = portunus_credentials::http::Http::default().with_attempts(1, std::time::Duration::ZERO);
    let provider = provider(&file(&cloud, &user(&cloud)), &clock).with_http(http);
    for fault in [Fault::status(503), Fault::Malformed, Fault::Oversized] {
        cloud.fail_next(1, fault.clone());
        let error = provider.resolve().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{fault:?}: {error:?}");
        clock.advance(seconds(5));
    }
}

#[test]
fn a_file_that_leads_elsewhere_or_says_too_little_is_refused() {
    let (clock, cloud) = world();
    let url = "service_account_impersonation_url";
    let good = || file(&cloud, &user(&cloud));
    for (key, value, says) in [
        (url, json!("https://evil.test/v1/x@y:generateAccessToken"), url),
        (url, json!("https://iamcredentials.googleapis.com.evil.test/x@y:generateAccessToken"), url),
        (url, json!("http://iamcredentials.googleapis.com/v1/x@y:generateAccessToken"), url),
        (url, json!("https://iamcredentials.googleapis.com/v1/x@y:generateIdToken"), url),
        (url, json!("https://iamcredentials.googleapis.com/v1/:generateAccessToken"), url),
        (url, json!(null), url),
        ("source_credentials", json!(null), "source_credentials"),
        ("source_credentials", good(), "source_credentials"),
        ("source_credentials", json!({ "type": "canary" }), "known are"),
        ("delegates", json!("canary"), "delegates"),
        ("delegates", json!([7]), "delegates"),
        ("lifetime", json!(0), "lifetime"),
        ("lifetime", json!(43_201), "lifetime"),
        ("lifetime", json!("3600s"), "lifetime"),
        ("universe_domain", json!("evil.test"), "GOOGLE_CLOUD_UNIVERSE_DOMAIN"),
    ] {
        let mut file = good();
        file[key] = value.clone();
        let all = refusal(&file, &[], &clock);
        assert!(all.contains(says), "{key} {value}: {all}");
    }
}
