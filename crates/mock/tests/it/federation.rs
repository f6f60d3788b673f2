//! The token endpoints of Anthropic and OpenAI, and GitHub's identity tokens.

use portunus_mock::{FederationRule, GitHubJob, MockCloud, OpenAiMapping};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{client, json_of};

fn cloud() -> MockCloud {
    let rule = FederationRule::new("fdrl_1", "org")
        .for_service_account("svac_1")
        .in_workspace("wrkspc_1")
        .trusting("a.b.c")
        .trusting_once("d.e.f");
    let mapping = OpenAiMapping::new("idp_1", "svc_1").trusting("a.b.c");
    let job = GitHubJob::new("request-token", "https://api.anthropic.com", ["a.b.c", "d.e.f"]);
    MockCloud::builder().federation_rule(rule).openai(mapping).github_job(job).build().unwrap()
}

fn exchange() -> Value {
    json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": "a.b.c",
        "federation_rule_id": "fdrl_1",
        "organization_id": "org",
        "service_account_id": "svac_1",
        "workspace_id": "wrkspc_1",
    })
}

fn without_flag(cloud: &MockCloud, body: &Value) -> RequestBuilder {
    client().post(cloud.url() + "/v1/oauth/token").json(body)
}

async fn anthropic(cloud: &MockCloud, body: &Value) -> Response {
    let request = without_flag(cloud, body);
    request.header("anthropic-beta", "oauth-2025-04-20,oidc-federation-2026-04-01").send().await.unwrap()
}

fn with(mut body: Value, name: &str, value: impl Into<Value>) -> Value {
    body[name] = value.into();
    body
}

fn without(mut body: Value, name: &str) -> Value {
    body.as_object_mut().unwrap().remove(name);
    body
}

#[tokio::test]
async fn anthropic_checks_every_member_and_denies_without_a_reason() {
    let cloud = cloud();
    let answer = anthropic(&cloud, &exchange()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        json_of(answer).await,
        json!({"access_token": "sk-ant-oat01-mock-token-1", "token_type": "Bearer", "expires_in": 3599,
            "scope": "workspace:developer"})
    );
    let cases = [
        (with(exchange(), "grant_type", "refresh_token"), 400),
        (with(exchange(), "federation_rule_id", "1"), 400),
        (with(exchange(), "workspace_id", "1"), 400),
        (with(exchange(), "assertion", ""), 400),
        (with(exchange(), "scope", "x"), 400),
        (without(exchange(), "organization_id"), 400),
        (json!([]), 400),
        (with(exchange(), "assertion", "x.y.z"), 401),
        (with(exchange(), "federation_rule_id", "fdrl_2"), 401),
        (with(exchange(), "organization_id", "other"), 401),
        (without(exchange(), "service_account_id"), 401),
        (without(exchange(), "workspace_id"), 401),
    ];
    for (body, status) in cases {
        let answer = anthropic(&cloud, &body).await;
        assert_eq!(answer.status().as_u16(), status, "{body}");
        let said = json_of(answer).await;
        let kind = if status == 400 { "invalid_request_error" } else { "authentication_error" };
        assert_eq!((&said["type"], &said["error"]["type"]), (&json!("error"), &json!(kind)), "{body}");
        if status == 401 {
            assert_eq!(said["error"]["message"], "Authentication failed");
        }
    }
    let once = with(exchange(), "assertion", "d.e.f");
    assert_eq!(anthropic(&cloud, &once).await.status(), 200);
    assert_eq!(anthropic(&cloud, &once).await.status(), 401, "it was good for one exchange");
}

#[tokio::test]
async fn anthropic_wants_its_flags_and_no_other_credential() {
    let cloud = cloud();
    let flags = "oauth-2025-04-20,oidc-federation-2026-04-01";
    let body = exchange();
    let request = || without_flag(&cloud, &body);
    let form = client().post(cloud.url() + "/v1/oauth/token").header("anthropic-beta", flags).form(&body);
    for wrong in [
        request(),
        request().header("anthropic-beta", "oauth-2025-04-20"),
        request().header("anthropic-beta", flags).header("anthropic-beta", flags),
        request().header("anthropic-beta", flags).header("x-api-key", "k"),
        request().header("anthropic-beta", flags).bearer_auth("k"),
        form,
    ] {
        assert_eq!(wrong.send().await.unwrap().status(), 400);
    }
    let get = client().get(cloud.url() + "/v1/oauth/token").send().await.unwrap();
    assert_eq!(get.status(), 405);
}

#[tokio::test]
async fn openai_checks_every_member() {
    let cloud = cloud();
    let good = json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": "a.b.c",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "identity_provider_id": "idp_1",
        "service_account_id": "svc_1",
    });
    let post =
        async |body: &Value| client().post(cloud.url() + "/oauth/token").json(body).send().await.unwrap();
    let said = json_of(post(&good).await).await;
    assert_eq!(said["access_token"], "openai-mock-token-1");
    assert_eq!((&said["token_type"], &said["expires_in"]), (&json!("Bearer"), &json!(3599)));
    assert_eq!(said["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    for (body, status, error) in [
        (with(good.clone(), "grant_type", "x"), 400, "unsupported_grant_type"),
        (with(good.clone(), "subject_token", "x.y.z"), 400, "invalid_subject_token"),
        (
            with(good.clone(), "subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
            400,
            "invalid_request",
        ),
        (with(good.clone(), "identity_provider_id", "idp_2"), 400, "invalid_grant"),
        (with(good.clone(), "service_account_id", "svc_2"), 403, "invalid_grant"),
        (without(good.clone(), "service_account_id"), 400, "invalid_request"),
        (with(good.clone(), "scope", "x"), 400, "invalid_request"),
    ] {
        let answer = post(&body).await;
        assert_eq!(answer.status().as_u16(), status, "{body}");
        assert_eq!(json_of(answer).await["error"], error, "{body}");
    }
    let twice = client().post(cloud.url() + "/oauth/token").json(&good).bearer_auth("k");
    assert_eq!(twice.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_job_is_given_its_tokens_in_order_for_its_audience() {
    let cloud = cloud();
    let ask = async |query: &str, token: &str| {
        let url = cloud.url() + GitHubJob::request_path() + query;
        client().get(url).bearer_auth(token).send().await.unwrap()
    };
    let audience = "&audience=https%3A%2F%2Fapi.anthropic.com";
    for value in ["a.b.c", "d.e.f", "d.e.f"] {
        let said = json_of(ask(audience, "request-token").await).await;
        assert_eq!(said, json!({ "count": 5, "value": value }));
    }
    for (query, token, status) in [
        ("", "request-token", 400),
        ("&audience=other", "request-token", 400),
        (&*format!("{audience}{audience}"), "request-token", 400),
        (audience, "other", 401),
    ] {
        assert_eq!(ask(query, token).await.status().as_u16(), status, "{query}");
    }
}
