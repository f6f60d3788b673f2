//! A person's login.

use portunus_credentials::{CredentialError, CredentialProvider};
use portunus_mock::{GoogleCloud, GoogleUser};
use serde_json::json;

use super::*;
use crate::support::{clock, text};

fn file(cloud: &MockCloud, secret: &str, refresh_token: &str) -> Value {
    json!({
        "type": "authorized_user", "account": "", "client_id": "client", "client_secret": secret,
        "refresh_token": refresh_token, "universe_domain": "googleapis.com",
        "token_uri": format!("{}/token", cloud.url()),
    })
}

#[tokio::test]
async fn a_login_is_refreshed_for_the_scopes_that_it_was_granted() {
    let clock = clock();
    let user = GoogleUser::new("client", "s&+ecret", "1//refresh", CLOUD_PLATFORM);
    let cloud = serve(&clock, GoogleCloud::new().user(user));
    let good = file(&cloud, "s&+ecret", "1//refresh");
    assert_eq!(text(&provider(&good, &clock).resolve().await.unwrap()), "ya29.google-mock-token-1");
    let names: Vec<_> = form(cloud.requests()[0].body()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["grant_type", "client_id", "client_secret", "refresh_token"]);

    let chosen = [("VERTEX_AI_SCOPE", CLOUD_PLATFORM)];
    provider_with(&good, &chosen, &clock).unwrap().resolve().await.unwrap();
    assert_eq!(form(cloud.requests()[1].body())[4], ("scope".to_owned(), CLOUD_PLATFORM.to_owned()));

    let wider = provider(&good, &clock).with_scope("https://www.googleapis.com/auth/drive");
    let error = wider.resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
}

#[tokio::test]
async fn a_login_that_ended_is_rejected() {
    let clock = clock();
    let user = GoogleUser::new("client", "secret", "1//refresh", CLOUD_PLATFORM);
    let cloud = serve(&clock, GoogleCloud::new().user(user));
    for (file, code) in [
        (file(&cloud, "secret", "1//canary"), "400 invalid_grant"),
        (file(&cloud, "canary", "1//refresh"), "401 invalid_client"),
    ] {
        let error = provider(&file, &clock).resolve().await.unwrap_err();
        let all = everything(&error);
        assert!(matches!(error, CredentialError::Rejected(_)), "{all}");
        assert!(all.contains(code) && !all.contains("canary"), "{all}");
    }
}

#[test]
fn half_a_login_is_none() {
    let clock = clock();
    for key in ["client_id", "client_secret", "refresh_token"] {
        let mut file = json!({
            "type": "authorized_user", "client_id": "c", "client_secret": "canary", "refresh_token": "canary",
        });
        file[key] = json!("");
        assert!(refusal(&file, &[], &clock).contains(key));
    }
    let mut file = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "canary", "refresh_token": "canary",
    });
    file["token_uri"] = "https://oauth2.evil.test/token".into();
    assert!(refusal(&file, &[], &clock).contains("token_uri"));
}
