//! The control API of the OAuth server, which is that of the LLM server beside it.

use portunus_mock::{GrantType, MockIdp, MockServer, OAuthClient, Preset, ServerBuilder};
use serde_json::{Value, json};

use crate::control::{done, get, post};
use crate::support::{client, json_of, status_with};
use crate::tokens::claims_of;

async fn server() -> MockServer {
    let service = OAuthClient::new("service").secret("canary-secret").scopes(["openid"]);
    let device = OAuthClient::new("tv").grants([GrantType::DeviceCode]);
    let idp = MockIdp::builder()
        .client(service.grants([GrantType::ClientCredentials]))
        .client(device)
        .tenant("acme", MockIdp::builder().preset(Preset::Okta));
    ServerBuilder::new().control_api().with_idp(idp).build().await.unwrap()
}

async fn token(server: &MockServer, form: &[(&str, &str)]) -> (u16, Value) {
    let answer = client().post(server.idp().unwrap().token_endpoint()).form(form).send().await.unwrap();
    (answer.status().as_u16(), json_of(answer).await)
}

const SERVICE: [(&str, &str); 3] =
    [("grant_type", "client_credentials"), ("client_id", "service"), ("client_secret", "canary-secret")];

async fn issued(server: &MockServer, order: Value) -> String {
    done(server, "tokens", order).await["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn tokens_are_issued_right_and_wrong_and_ended() {
    let server = server().await;
    let url = server.url();
    let id = json!({"kind": "id", "sub": "alice", "aud": ["portunus"], "ttl": "5m", "algorithm": "ES256",
        "claims": {"groups": ["eng"]}, "without": ["auth_time"], "issuer": "https://other.example"});
    let (head, claims) = claims_of(&issued(&server, id).await);
    assert_eq!(head["alg"], "ES256");
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("alice"), &json!("portunus")));
    assert_eq!((&claims["iss"], &claims["groups"]), (&json!("https://other.example"), &json!(["eng"])));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
    assert!(claims.get("auth_time").is_none());

    let wrong = issued(&server, json!({"kind": "access", "sub": "a", "fault": "bad_signature"})).await;
    assert_eq!(status_with(&url, &wrong).await, 401);
    let (one, two) = (json!({"kind": "access", "sub": "a"}), json!({"kind": "access", "sub": "b"}));
    let (one, two) = (issued(&server, one).await, issued(&server, two).await);
    assert_eq!((status_with(&url, &one).await, status_with(&url, &two).await), (200, 200));
    done(&server, "tokens/revoke", json!({ "token": one })).await;
    done(&server, "tokens/expire", json!({ "token": two })).await;
    assert_eq!((status_with(&url, &one).await, status_with(&url, &two).await), (401, 401));
    assert_eq!(post(&server, "tokens/revoke", json!({ "token": one })).await.0, 404);
    let (status, said) = post(&server, "tokens", json!({"kind": "id", "sub": "a", "fault": "odd"})).await;
    assert_eq!((status, said["error"].as_str().unwrap().contains("alg_none")), (400, true), "{said}");
}

#[tokio::test]
async fn a_refresh_token_is_ended_with_its_family() {
    let server = ServerBuilder::new().control_api().with_oauth_defaults().build().await.unwrap();
    let (id, secret) = server.oauth_client_credentials().await.unwrap();
    let signed_in = || server.idp().unwrap().sign_in(&id, "openid").unwrap();
    let text = |tokens: &Value, name: &str| tokens[name].as_str().unwrap().to_owned();
    for how in ["tokens/revoke", "tokens/expire"] {
        let tokens = signed_in();
        let refresh = text(&tokens, "refresh_token");
        done(&server, how, json!({ "token": refresh })).await;
        let form = [("grant_type", "refresh_token"), ("refresh_token", &refresh), ("client_id", &id)];
        let (status, error) = token(&server, &[&form[..], &[("client_secret", &secret)]].concat()).await;
        assert_eq!((status, &error["error"]), (400, &json!("invalid_grant")), "{how}");
        let access = status_with(&server.url(), &text(&tokens, "access_token")).await;
        assert_eq!(access, if how == "tokens/revoke" { 401 } else { 200 });
    }
}

#[tokio::test]
async fn devices_are_approved_refused_and_scripted() {
    let server = server().await;
    let idp = server.idp().unwrap();
    let start = || async {
        let url = format!("{}/device_authorization", idp.issuer());
        json_of(client().post(url).form(&[("client_id", "tv")]).send().await.unwrap()).await
    };
    let poll = |flow: Value| {
        let server = &server;
        async move {
            let grant = "urn:ietf:params:oauth:grant-type:device_code";
            let code = flow["device_code"].as_str().unwrap();
            token(server, &[("grant_type", grant), ("client_id", "tv"), ("device_code", code)]).await
        }
    };
    let flow = start().await;
    let code = flow["user_code"].as_str().unwrap();
    done(&server, &format!("device/{code}/approve"), json!({"sub": "bob", "claims": {"groups": ["ops"]}}))
        .await;
    let (status, tokens) = poll(flow.clone()).await;
    assert_eq!(status, 200, "{tokens}");
    let claims = claims_of(tokens["id_token"].as_str().unwrap()).1;
    assert_eq!((&claims["sub"], &claims["groups"]), (&json!("bob"), &json!(["ops"])));
    assert_eq!(post(&server, &format!("device/{code}/approve"), json!({"sub": "bob"})).await.0, 404);

    let flow = start().await;
    done(&server, &format!("device/{}/deny", flow["user_code"].as_str().unwrap()), Value::Null).await;
    assert_eq!(poll(flow).await.1["error"], "access_denied");

    done(&server, "device/script", json!({"polls": ["pending", "slow_down", "expire"]})).await;
    let flow = start().await;
    for error in ["authorization_pending", "slow_down", "expired_token"] {
        assert_eq!(poll(flow.clone()).await.1["error"], error);
    }
}

#[tokio::test]
async fn the_oauth_server_fails_as_ordered_and_is_reset() {
    let server = server().await;
    let idp = server.idp().unwrap();
    done(&server, "oauth/fail-next", json!({"error": "temporarily_unavailable", "count": 2})).await;
    for _ in 0..2 {
        assert_eq!(token(&server, &SERVICE).await.1["error"], "temporarily_unavailable");
    }
    done(&server, "oauth/fail-next", json!({"status": 503, "retry_after": "3s"})).await;
    let failed = client().get(idp.jwks_uri()).send().await.unwrap();
    assert_eq!((failed.status().as_u16(), failed.headers()["retry-after"].as_bytes()), (503, &b"3"[..]));
    for wrong in
        [json!({}), json!({"error": "odd"}), json!({"status": 99}), json!({"status": 500, "error": "x"})]
    {
        assert_eq!(post(&server, "oauth/fail-next", wrong.clone()).await.0, 400, "{wrong}");
    }
    let kid = || async {
        let token = issued(&server, json!({"kind": "id", "sub": "a"})).await;
        claims_of(&token).0["kid"].clone()
    };
    let published = || async {
        let keys = json_of(client().get(idp.jwks_uri()).send().await.unwrap()).await;
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect::<Vec<_>>()
    };
    let old = kid().await;
    done(&server, "oauth/keys/stale", json!({"stale": true})).await;
    done(&server, "oauth/keys/rotate", Value::Null).await;
    let new = kid().await;
    assert!(old != new && !published().await.contains(&new));
    done(&server, "reset", Value::Null).await;
    let keys = published().await;
    assert!(keys.contains(&old) && keys.contains(&new));
    done(&server, "oauth/keys/retire", Value::Null).await;
    assert!(!published().await.contains(&old));

    let metadata_url = format!("{}/.well-known/openid-configuration", idp.issuer());
    let metadata = || async { json_of(client().get(&metadata_url).send().await.unwrap()).await };
    let truth = metadata().await;
    done(&server, "oauth/metadata", json!({"issuer": "https://not-true.example", "jwks_uri": null})).await;
    let told = metadata().await;
    assert_eq!((&told["issuer"], told.get("jwks_uri")), (&json!("https://not-true.example"), None));
    done(&server, "oauth/down", json!({"down": true})).await;
    assert_eq!(client().get(&metadata_url).send().await.unwrap().status(), 503);
    done(&server, "oauth/fail-next", json!({"error": "invalid_grant"})).await;
    done(&server, "reset", Value::Null).await;
    assert_eq!((metadata().await, token(&server, &SERVICE).await.0), (truth, 200));
    assert_eq!((idp.requests().len(), idp.count_grants(GrantType::ClientCredentials)), (2, 1));
}

#[tokio::test]
async fn requests_of_the_oauth_server_are_told_without_their_secrets() {
    let server = server().await;
    token(&server, &SERVICE).await;
    let told = get(&server, "oauth/requests").await;
    assert!(!told.to_string().contains("canary"), "{told}");
    let body = json!({"grant_type": "client_credentials", "client_id": "service", "client_secret": "***"});
    assert_eq!(told["requests"][0]["body"], body);
    assert_eq!(told["requests"][0]["status"], 200);
}

#[tokio::test]
async fn a_tenant_is_named_in_the_query() {
    let server = server().await;
    let acme = issued_by(&server, "tokens?tenant=acme").await;
    assert_eq!(acme["iss"], server.idp().unwrap().tenant("acme").unwrap().issuer());
    done(&server, "user?tenant=acme", json!({"sub": "uno"})).await;
    for (path, status) in
        [("tokens?tenant=none", 404), ("tokens?tennant=acme", 400), ("tokens?tenant=a&b=c", 400)]
    {
        assert_eq!(post(&server, path, json!({"kind": "id", "sub": "a"})).await.0, status, "{path}");
    }
    let alone = crate::control::server().await;
    assert_eq!(post(&alone, "tokens", json!({"kind": "id", "sub": "a"})).await.0, 404);
}

async fn issued_by(server: &MockServer, path: &str) -> Value {
    let told = done(server, path, json!({"kind": "id", "sub": "alice"})).await;
    claims_of(told["token"].as_str().unwrap()).1
}

#[tokio::test]
async fn the_user_changes_and_may_say_no() {
    let server = ServerBuilder::new().control_api().with_oauth_defaults().build().await.unwrap();
    done(&server, "user", json!({"sub": "carol", "claims": {"groups": ["ops"]}})).await;
    let idp = server.idp().unwrap();
    let tokens = idp.sign_in("mock-client", "openid").unwrap();
    let claims = claims_of(tokens["id_token"].as_str().unwrap()).1;
    assert_eq!((&claims["sub"], &claims["groups"]), (&json!("carol"), &json!(["ops"])));
    done(&server, "oauth/deny-next", Value::Null).await;
    let challenge = "a".repeat(43);
    let query = [
        ("response_type", "code"),
        ("client_id", "mock-client"),
        ("redirect_uri", "http://127.0.0.1/callback"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let authorize = || client().get(format!("{}/authorize", idp.issuer())).query(&query).send();
    for part in ["error=access_denied", "code="] {
        let sent_back = authorize().await.unwrap();
        let location = sent_back.headers()["location"].to_str().unwrap();
        assert!(location.contains(part), "{location}");
    }
}
