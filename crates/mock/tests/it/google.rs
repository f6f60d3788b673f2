//! Google's token services: what is not exactly as documented is refused.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_mock::{
    GoogleAccount, GoogleCloud, GoogleMetadata, GooglePool, GoogleUser, MockCloud, StartError,
};
use serde_json::{Value, json};

use crate::support::{client, header, json_of};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const ACCOUNT: &str = "/computeMetadata/v1/instance/service-accounts/default";
/// Nothing is verified with it here.
const KEY: &str = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----";

fn cloud(clock: &Arc<ManualClock>) -> MockCloud {
    let google = GoogleCloud::new()
        .account(GoogleAccount::new("a@p", "k", KEY))
        .user(GoogleUser::new("c", "s", "r", SCOPE))
        .pool(GooglePool::new("//a", "jwt", "subject").client("id", "secret").user_project("p"))
        .metadata(GoogleMetadata::new("a@p"));
    MockCloud::builder().clock(clock.clone()).google(google).build().unwrap()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at_unix(1_767_225_599))
}

type Form<'a> = Vec<(&'a str, &'a str)>;

/// A form with one field changed, or without it.
fn with<'a>(form: &[(&'a str, &'a str)], name: &'a str, value: Option<&'a str>) -> Form<'a> {
    let others = form.iter().copied().filter(|(n, _)| *n != name);
    others.chain(value.map(|value| (name, value))).collect()
}

async fn post(cloud: &MockCloud, path: &str, form: &Form<'_>) -> (u16, Value) {
    let answer = client().post(cloud.url() + path).form(form).send().await.unwrap();
    (answer.status().as_u16(), json_of(answer).await)
}

const REFRESH: [(&str, &str); 4] =
    [("grant_type", "refresh_token"), ("client_id", "c"), ("client_secret", "s"), ("refresh_token", "r")];

#[tokio::test]
async fn a_refresh_token_is_its_clients_and_has_its_scopes() {
    let cloud = cloud(&clock());
    let granted = json!({
        "access_token": "ya29.google-mock-token-1", "expires_in": 3599, "token_type": "Bearer", "scope": SCOPE,
    });
    assert_eq!(post(&cloud, "/token", &REFRESH.to_vec()).await, (200, granted));
    for (name, value, status, error) in [
        ("grant_type", Some("password"), 400, "unsupported_grant_type"),
        ("client_secret", Some("wrong"), 401, "invalid_client"),
        ("client_secret", None, 400, "invalid_request"),
        ("refresh_token", Some("wrong"), 400, "invalid_grant"),
        ("scope", Some("https://other"), 400, "invalid_scope"),
        ("resource", Some("x"), 400, "invalid_request"),
    ] {
        let (found, body) = post(&cloud, "/token", &with(&REFRESH, name, value)).await;
        assert_eq!((found, &body["error"]), (status, &json!(error)), "{name} {value:?}");
    }
}

#[tokio::test]
async fn an_assertion_that_nobody_signed_is_refused() {
    let cloud = cloud(&clock());
    for assertion in ["", "a", "a.b.c", "e30.e30.e30", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJhQHAifQ."] {
        let form =
            vec![("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion)];
        assert_eq!(post(&cloud, "/token", &form).await.0, 400, "{assertion}");
    }
}

#[tokio::test]
async fn an_exchange_names_its_pool_its_subject_and_who_asks() {
    let cloud = cloud(&clock());
    let good = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", "//a"),
        ("scope", SCOPE),
        ("subject_token", "subject"),
        ("subject_token_type", "jwt"),
        ("options", r#"{"userProject":"p"}"#),
    ];
    assert_eq!(post(&cloud, "/v1/token", &good.to_vec()).await.0, 200);
    for (name, value, status, error) in [
        ("grant_type", None, 400, "unsupported_grant_type"),
        ("requested_token_type", None, 400, "invalid_request"),
        ("audience", Some("//b"), 400, "invalid_target"),
        ("scope", None, 400, "invalid_scope"),
        ("subject_token", Some("other"), 400, "invalid_grant"),
        ("subject_token_type", Some("saml"), 400, "invalid_request"),
        ("options", None, 400, "invalid_request"),
        ("options", Some(r#"{"userProject":"q"}"#), 400, "invalid_request"),
        ("actor_token", Some("x"), 400, "invalid_request"),
    ] {
        let (found, body) = post(&cloud, "/v1/token", &with(&good, name, value)).await;
        assert_eq!((found, &body["error"]), (status, &json!(error)), "{name} {value:?}");
    }
    for (secret, status) in [("secret", 200), ("wrong", 401)] {
        let request = client().post(cloud.url() + "/v1/token").basic_auth("id", Some(secret));
        let answer = request.form(&with(&good, "options", None)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{secret}");
    }
}

#[tokio::test]
async fn a_service_accounts_token_is_for_who_has_one_that_may_ask() {
    let clock = clock();
    let cloud = cloud(&clock);
    let (_, first) = post(&cloud, "/token", &REFRESH.to_vec()).await;
    let token = first["access_token"].as_str().unwrap();
    let good = json!({ "scope": [SCOPE], "lifetime": "600s" });
    let ask = async |email: &str, token: &str, body: &Value| {
        let url = format!("{}/v1/projects/-/serviceAccounts/{email}:generateAccessToken", cloud.url());
        let answer = client().post(url).bearer_auth(token).json(body).send().await.unwrap();
        json_of(answer).await
    };
    assert_eq!(
        ask("a@p", token, &good).await,
        json!({ "accessToken": "ya29.google-mock-token-2", "expireTime": "2026-01-01T00:09:59Z" })
    );
    for body in [
        json!({ "lifetime": "600s" }),
        json!({ "scope": [], "lifetime": "600s" }),
        json!({ "scope": [SCOPE], "lifetime": "43201s" }),
        json!({ "scope": [SCOPE], "lifetime": 600 }),
        json!({ "scope": [SCOPE], "lifetime": "600s", "delegates": ["a@p"] }),
        json!({ "scope": [SCOPE], "lifetime": "600s", "more": 1 }),
    ] {
        assert_eq!(ask("a@p", token, &body).await["error"]["status"], "INVALID_ARGUMENT", "{body}");
    }
    assert_eq!(ask("b@p", token, &good).await["error"]["status"], "PERMISSION_DENIED");
    assert_eq!(ask("a@p", "other", &good).await["error"]["status"], "UNAUTHENTICATED");
    clock.advance(Duration::from_secs(3_599));
    assert_eq!(ask("a@p", token, &good).await["error"]["status"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_metadata_server_hands_out_the_same_token_until_four_minutes_before_its_end() {
    let clock = clock();
    let cloud = cloud(&clock);
    let get = async |path: &str, flavor: &str| {
        let request = client().get(format!("{}{ACCOUNT}/{path}", cloud.url()));
        request.header("metadata-flavor", flavor).send().await.unwrap()
    };
    let answer = get("token?scopes=https://a,https://b", "Google").await;
    assert_eq!(header(&answer, "metadata-flavor"), Some("Google"));
    let first = json_of(answer).await;
    clock.advance(Duration::from_secs(3_599 - 241));
    let again = json_of(get("token?scopes=https://a,https://b", "Google").await).await;
    assert_eq!((&again["access_token"], &again["expires_in"]), (&first["access_token"], &json!(241)));
    clock.advance(Duration::from_secs(1));
    let next = json_of(get("token?scopes=https://a,https://b", "Google").await).await;
    assert_eq!(next["expires_in"], 3_599);
    assert_ne!(next["access_token"], first["access_token"]);
    for (path, flavor, status) in [
        ("token", "google", 403),
        ("token?scope=x", "Google", 404),
        ("token?scopes=a%20b", "Google", 400),
        ("identity", "Google", 400),
        ("identity?audience=a&format=odd", "Google", 400),
        ("identity?audience=a&format=full", "Google", 200),
        ("elsewhere", "Google", 404),
    ] {
        assert_eq!(get(path, flavor).await.status(), status, "{path}");
    }
}

#[test]
fn an_incomplete_account_is_refused() {
    for account in [GoogleAccount::new("", "k", KEY), GoogleAccount::new("a@p", "k", "no key")] {
        let built = MockCloud::builder().google(GoogleCloud::new().account(account)).build();
        assert!(matches!(built, Err(StartError::Incomplete(_))));
    }
}
