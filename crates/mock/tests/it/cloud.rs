//! Entra's token endpoint.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_mock::{EntraApp, Fault, MockCloud, StartError};
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{client, header, json_of};

const GOOD: [(&str, &str); 4] = [
    ("grant_type", "client_credentials"),
    ("client_id", "app-1"),
    ("client_secret", "s3cret"),
    ("scope", "https://cognitiveservices.azure.com/.default"),
];

fn cloud() -> MockCloud {
    let clock = Arc::new(ManualClock::at_unix(1_767_225_599));
    let app = EntraApp::new("tenant-1", "app-1", "s3cret");
    MockCloud::builder().clock(clock).entra(app).build().unwrap()
}

async fn post(cloud: &MockCloud, tenant: &str, form: &[(&str, &str)]) -> Response {
    let url = format!("{}/{tenant}/oauth2/v2.0/token", cloud.url());
    client().post(url).form(form).send().await.unwrap()
}

#[tokio::test]
async fn a_right_request_gets_a_new_token_each_time() {
    let cloud = cloud();
    let answer = post(&cloud, "tenant-1", &GOOD).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "cache-control"), Some("no-store, no-cache"));
    assert_eq!(
        json_of(answer).await,
        json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599,
            "access_token": "entra-mock-token-1"})
    );
    cloud.set_token_lifetime(Duration::from_secs(60));
    let second = json_of(post(&cloud, "tenant-1", &GOOD).await).await;
    assert_eq!((&second["access_token"], &second["expires_in"]), (&json!("entra-mock-token-2"), &json!(60)));
    assert_eq!(cloud.count("/tenant-1/oauth2/v2.0/token"), 2);
}

#[tokio::test]
async fn every_field_is_checked() {
    let cloud = cloud();
    let with =
        |name: &str, value: &'static str| GOOD.map(|(n, v)| if n == name { (n, value) } else { (n, v) });
    let without = |name: &str| GOOD.into_iter().filter(|(n, _)| *n != name).collect::<Vec<_>>();
    let plus = |name, value| GOOD.into_iter().chain([(name, value)]).collect::<Vec<_>>();
    type Form = Vec<(&'static str, &'static str)>;
    let cases: Vec<(Form, u16, &str, u32)> = vec![
        (without("grant_type"), 400, "invalid_request", 900_144),
        (without("client_id"), 400, "invalid_request", 900_144),
        (without("scope"), 400, "invalid_request", 900_144),
        (without("client_secret"), 401, "invalid_client", 7_000_218),
        (with("grant_type", "password").into(), 400, "unsupported_grant_type", 70_003),
        (with("client_id", "app-2").into(), 400, "unauthorized_client", 700_016),
        (with("client_secret", "wrong").into(), 401, "invalid_client", 7_000_215),
        (with("client_secret", "").into(), 401, "invalid_client", 7_000_218),
        (with("scope", "https://cognitiveservices.azure.com").into(), 400, "invalid_scope", 1_002_012),
        (with("scope", "/.default").into(), 400, "invalid_scope", 1_002_012),
        (with("scope", "a/.default b/.default").into(), 400, "invalid_scope", 1_002_012),
        (plus("scope", "x/.default"), 400, "invalid_request", 900_023),
        (plus("resource", "x"), 400, "invalid_request", 900_023),
    ];
    for (form, status, error, code) in cases {
        let answer = post(&cloud, "tenant-1", &form).await;
        assert_eq!(answer.status().as_u16(), status, "{form:?}");
        let said = json_of(answer).await;
        assert_eq!((&said["error"], &said["error_codes"]), (&json!(error), &json!([code])), "{form:?}");
        assert!(said["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")));
        assert!(!said.to_string().contains("wrong"));
    }
    let other = json_of(post(&cloud, "tenant-2", &GOOD).await).await;
    assert_eq!(other["error_codes"], json!([90_002]));
}

#[tokio::test]
async fn an_error_has_every_member() {
    let cloud = cloud();
    let said = json_of(post(&cloud, "tenant-1", &[("grant_type", "x")]).await).await;
    assert_eq!(
        said,
        json!({
            "error": "unsupported_grant_type",
            "error_description": "AADSTS70003: The grant type is not supported. Trace ID: 00000000-0000-4000-8000-000000000001 Correlation ID: 00000000-0000-4000-9000-000000000001 Timestamp: 2025-12-31 23:59:59Z",
            "error_codes": [70_003],
            "timestamp": "2025-12-31 23:59:59Z",
            "trace_id": "00000000-0000-4000-8000-000000000001",
            "correlation_id": "00000000-0000-4000-9000-000000000001",
            "error_uri": "https://login.microsoftonline.com/error?code=70003",
        })
    );
}

#[tokio::test]
async fn only_a_posted_form_is_read() {
    let cloud = cloud();
    let url = format!("{}/tenant-1/oauth2/v2.0/token", cloud.url());
    let form: serde_json::Map<String, Value> =
        GOOD.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    for request in [client().post(&url).json(&form), client().get(&url).query(&GOOD), client().post(&url)] {
        assert_eq!(request.send().await.unwrap().status(), 400);
    }
    assert_eq!(client().get(cloud.url() + "/elsewhere").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn faults_come_in_order_and_end() {
    let cloud = cloud();
    let retry_after = Some(Duration::from_secs(7));
    cloud.fail_next(2, Fault::Status { status: 429, retry_after });
    cloud.fail_next(0, Fault::status(500));
    cloud.fail_next(1, Fault::status(503));
    cloud.fail_next(1, Fault::Malformed);
    cloud.fail_next(1, Fault::Oversized);
    for _ in 0..2 {
        let limited = post(&cloud, "tenant-1", &GOOD).await;
        assert_eq!((limited.status().as_u16(), header(&limited, "retry-after")), (429, Some("7")));
    }
    let down = post(&cloud, "tenant-1", &GOOD).await;
    assert_eq!((down.status().as_u16(), header(&down, "retry-after")), (503, None));
    let malformed = post(&cloud, "tenant-1", &GOOD).await;
    assert_eq!(malformed.status(), 200);
    assert!(serde_json::from_slice::<Value>(&malformed.bytes().await.unwrap()).is_err());
    let oversized = post(&cloud, "tenant-1", &GOOD).await;
    assert_eq!(header(&oversized, "content-type"), Some("application/json"));
    let oversized = oversized.bytes().await.unwrap();
    assert!(oversized.len() > 16 << 20);
    // Only its size is wrong.
    assert_eq!(serde_json::from_slice::<Value>(&oversized).unwrap()["access_token"], "oversized");
    assert_eq!(post(&cloud, "tenant-1", &GOOD).await.status(), 200);
    assert_eq!(cloud.count("/tenant-1/oauth2/v2.0/token"), 6);
}

#[tokio::test]
async fn an_incomplete_application_is_refused() {
    for app in [EntraApp::new("", "a", "s"), EntraApp::new("t", "", "s"), EntraApp::new("t", "a", "")] {
        let built = MockCloud::builder().entra(app).build();
        assert!(matches!(built, Err(StartError::Incomplete(_))));
    }
}
