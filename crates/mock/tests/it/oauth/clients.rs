//! Clients: how they prove who they are, at every endpoint, and what they may do.

use std::time::Duration;

use portunus_mock::{Algorithm, GrantType, Mint, MockIdp, OAuthClient, StartError, TokenFault};
use reqwest::Response;
use serde_json::{Value, json};

use super::flows::{
    APP, BACK, CLI, World, code, metadata, ok, post, redeem, refused, sign_in, text, with, world,
};
use crate::support::{client, header};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn invalid_client() -> (u16, String) {
    (401, "invalid_client".to_owned())
}

#[tokio::test]
async fn a_wrong_secret_is_refused_by_every_endpoint_and_for_every_grant() {
    let World { idp, .. } = world();
    let tokens = sign_in(&idp, APP, &[]).await;
    let code = code(&idp, APP, &[]).await;
    let wrong = ("app", Some("wrong"));
    for (endpoint, form) in [
        (
            "token_endpoint",
            vec![("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", BACK)],
        ),
        (
            "token_endpoint",
            vec![("grant_type", "refresh_token"), ("refresh_token", text(&tokens, "refresh_token"))],
        ),
        ("token_endpoint", vec![("grant_type", "client_credentials")]),
        ("token_endpoint", vec![("grant_type", GrantType::DeviceCode.name()), ("device_code", "x")]),
        ("token_endpoint", vec![("grant_type", GrantType::TokenExchange.name())]),
        ("token_endpoint", vec![("grant_type", GrantType::JwtBearer.name())]),
        ("token_endpoint", vec![("grant_type", "unknown")]),
        ("device_authorization_endpoint", vec![]),
        ("introspection_endpoint", vec![("token", text(&tokens, "access_token"))]),
        ("revocation_endpoint", vec![("token", text(&tokens, "access_token"))]),
    ] {
        for who in [wrong, ("app", None), ("nobody", Some("app-secret")), ("cli", Some("app-secret"))] {
            let answer = post(&idp, endpoint, &with(who, &form)).await;
            assert_eq!(header(&answer, "www-authenticate"), None);
            assert_eq!(refused(answer).await, invalid_client(), "{endpoint} {form:?} {who:?}");
        }
        // RFC 6749 §5.2: who tried the header is challenged there; schemes have no case (RFC 9110 §11.1).
        let url = metadata(&idp).await[endpoint].as_str().unwrap().to_owned();
        let basic = client().post(url).header("authorization", "BASIC YXBwOndyb25n").form(&form);
        let answer = basic.send().await.unwrap();
        assert_eq!(header(&answer, "www-authenticate"), Some(r#"Basic realm="portunus-mock""#));
        assert_eq!(refused(answer).await, invalid_client(), "{endpoint} {form:?}");
    }
    // None of it spent the code.
    ok(redeem(&idp, APP, &code, &[]).await).await;
}

#[tokio::test]
async fn a_public_client_needs_its_id_only() {
    let World { idp, .. } = world();
    sign_in(&idp, CLI, &[("scope", "openid")]).await;
    let answer = post(&idp, "token_endpoint", &with(CLI, &[("grant_type", "client_credentials")])).await;
    assert_eq!(refused(answer).await, (400, "unauthorized_client".to_owned()));
}

#[tokio::test]
async fn a_client_gets_tokens_only_in_its_own_ways() {
    let World { idp, .. } = world();
    let service = OAuthClient::new("service").secret("s").redirect_uri(BACK);
    idp.add_client(service.grants([GrantType::ClientCredentials])).unwrap();
    let who = ("service", Some("s"));
    ok(post(&idp, "token_endpoint", &with(who, &[("grant_type", "client_credentials")])).await).await;
    for grant in [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::DeviceCode] {
        let answer = post(&idp, "token_endpoint", &with(who, &[("grant_type", grant.name())])).await;
        assert_eq!(refused(answer).await, (400, "unauthorized_client".to_owned()), "{grant:?}");
    }
    let url = format!("{}/authorize", idp.issuer());
    let answer = client().get(url).query(&super::flows::asking(who, &[])).send().await.unwrap();
    assert_eq!(super::flows::location(&answer).1["error"], "unauthorized_client");
}

#[tokio::test]
async fn clients_come_while_it_runs() {
    let World { idp, .. } = world();
    let grant = [("grant_type", "client_credentials")];
    let new = ("new", Some("one"));
    assert_eq!(refused(post(&idp, "token_endpoint", &with(new, &grant)).await).await, invalid_client());
    idp.add_client(OAuthClient::new("new").secret("one")).unwrap();
    ok(post(&idp, "token_endpoint", &with(new, &grant)).await).await;
    idp.add_client(OAuthClient::new("new").secret("two")).unwrap();
    assert_eq!(refused(post(&idp, "token_endpoint", &with(new, &grant)).await).await, invalid_client());

    for bad in [
        OAuthClient::new(""),
        OAuthClient::new("a").redirect_uri("/relative"),
        OAuthClient::new("a").post_logout_redirect_uri("/relative"),
        OAuthClient::new("a").secret(""),
        OAuthClient::new("a").jwks(json!({"keys": 7})),
    ] {
        assert!(matches!(idp.add_client(bad), Err(StartError::Incomplete(_))));
    }
    assert!(!format!("{:?}", OAuthClient::new("a").secret("canary")).contains("canary"));
}

/// A client that signs assertions with the keys of another server of ours.
fn signing(idp: &MockIdp, clock: &std::sync::Arc<portunus_auth_core::clock::ManualClock>) -> MockIdp {
    let signer = MockIdp::builder().clock(clock.clone()).build().unwrap();
    idp.add_client(OAuthClient::new("signer").jwks(signer.jwks())).unwrap();
    signer
}

fn assertion(signer: &MockIdp, audience: &str) -> Mint {
    signer.mint("signer").issuer("signer").audience(audience)
}

async fn granted(idp: &MockIdp, assertion: &str, more: &[(&str, &str)]) -> Response {
    let mut form = vec![("grant_type", "client_credentials"), ("client_assertion", assertion)];
    form.extend([("client_assertion_type", ASSERTION)]);
    form.extend(more);
    post(idp, "token_endpoint", &form).await
}

#[tokio::test]
async fn a_client_proves_itself_with_an_assertion() {
    let World { idp, clock } = world();
    let signer = signing(&idp, &clock);
    let endpoint = idp.token_endpoint();
    for audience in [idp.issuer(), &endpoint] {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
            let good = assertion(&signer, audience).algorithm(algorithm).id_token();
            let tokens = ok(granted(&idp, &good, &[("client_id", "signer")]).await).await;
            assert_eq!(super::super::tokens::claims_of(text(&tokens, "access_token")).1["sub"], "signer");
            // RFC 7523 §3: each works once.
            assert_eq!(refused(granted(&idp, &good, &[]).await).await, invalid_client());
        }
    }
    let id = assertion(&signer, idp.issuer()).id_token();
    let form = [("token", "x"), ("client_assertion", &*id), ("client_assertion_type", ASSERTION)];
    assert_eq!(ok(post(&idp, "introspection_endpoint", &form).await).await, json!({"active": false}));
}

#[tokio::test]
async fn an_assertion_that_is_wrong_in_one_thing_is_refused() {
    let World { idp, clock } = world();
    let signer = signing(&idp, &clock);
    let right = || assertion(&signer, idp.issuer());
    for bad in [
        right().fault(TokenFault::BadSignature),
        right().fault(TokenFault::AlgNone),
        right().fault(TokenFault::UnknownKid),
        right().fault(TokenFault::Expired),
        right().fault(TokenFault::NotYetValid),
        right().fault(TokenFault::WrongAudience),
        right().fault(TokenFault::WrongIssuer),
        right().claim("sub", "app"),
        right().issuer("app").claim("sub", "app"),
        right().without("exp"),
        right().without("jti"),
        right().without("aud"),
    ] {
        assert_eq!(refused(granted(&idp, &bad.id_token(), &[]).await).await, invalid_client());
    }
    assert_eq!(refused(granted(&idp, "nonsense", &[]).await).await, invalid_client());
    let named = granted(&idp, &right().id_token(), &[("client_id", "app")]).await;
    assert_eq!(refused(named).await, invalid_client());
    // RFC 6749 §2.3: one way per request.
    let two = granted(&idp, &right().id_token(), &[("client_secret", "x")]).await;
    assert_eq!(refused(two).await, (400, "invalid_request".to_owned()));
    let untyped = [("grant_type", "client_credentials"), ("client_assertion", &*right().id_token())];
    assert_eq!(
        refused(post(&idp, "token_endpoint", &untyped).await).await,
        (400, "invalid_request".to_owned())
    );
    let secret = with(("signer", Some("")), &[("grant_type", "client_credentials")]);
    assert_eq!(refused(post(&idp, "token_endpoint", &secret).await).await, invalid_client());

    // It may be used until the second in which it expires.
    let late = right().ttl(Duration::from_secs(10)).id_token();
    clock.advance(Duration::from_secs(10));
    assert_eq!(refused(granted(&idp, &late, &[]).await).await, invalid_client());
}

async fn register(idp: &MockIdp, metadata: &Value) -> Response {
    let url = format!("{}/register", idp.issuer());
    client().post(url).json(metadata).send().await.unwrap()
}

#[tokio::test]
async fn a_registered_client_signs_users_in() {
    let World { idp, .. } = world();
    let asked = json!({"redirect_uris": [BACK], "client_name": "Tool", "scope": "openid email"});
    let answer = register(&idp, &asked).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "cache-control")), (201, Some("no-store")));
    let registered: Value = answer.json().await.unwrap();
    let (id, secret) = (text(&registered, "client_id"), text(&registered, "client_secret"));
    assert_eq!(
        registered,
        json!({
            "client_id": id, "client_secret": secret, "client_id_issued_at": super::flows::NOW,
            "client_secret_expires_at": 0, "client_name": "Tool", "redirect_uris": [BACK],
            "grant_types": ["authorization_code"], "response_types": ["code"], "scope": "openid email",
            "token_endpoint_auth_method": "client_secret_basic",
        })
    );
    let who = (&*id.to_owned().leak(), Some(&*secret.to_owned().leak()));
    let tokens = sign_in(&idp, who, &[]).await;
    assert_eq!((tokens["scope"].as_str(), tokens.get("refresh_token")), (Some("openid email"), None));

    let public = json!({"redirect_uris": [BACK], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"]});
    let public: Value = register(&idp, &public).await.json().await.unwrap();
    assert_eq!(public.get("client_secret"), None);
    let tokens = sign_in(&idp, (&*text(&public, "client_id").to_owned().leak(), None), &[]).await;
    assert!(tokens["refresh_token"].is_string());

    let device = json!({"grant_types": [GrantType::DeviceCode.name()], "token_endpoint_auth_method": "none"});
    assert_eq!(register(&idp, &device).await.status(), 201);
    let keys =
        json!({"redirect_uris": [BACK], "token_endpoint_auth_method": "private_key_jwt", "jwks": idp.jwks()});
    assert_eq!(register(&idp, &keys).await.status(), 201);
}

#[tokio::test]
async fn a_registration_that_cannot_work_is_refused() {
    let World { idp, .. } = world();
    for (metadata, error) in [
        (json!({}), "invalid_redirect_uri"),
        (json!({"redirect_uris": []}), "invalid_redirect_uri"),
        (json!({"redirect_uris": ["/relative"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": BACK}), "invalid_client_metadata"),
        (json!({"redirect_uris": [BACK], "grant_types": ["password"]}), "invalid_client_metadata"),
        (json!({"redirect_uris": [BACK], "response_types": ["token"]}), "invalid_client_metadata"),
        (json!({"redirect_uris": [BACK], "scope": ["openid"]}), "invalid_client_metadata"),
        (
            json!({"redirect_uris": [BACK], "token_endpoint_auth_method": "tls_client_auth"}),
            "invalid_client_metadata",
        ),
        (
            json!({"redirect_uris": [BACK], "token_endpoint_auth_method": "private_key_jwt"}),
            "invalid_client_metadata",
        ),
        (json!([]), "invalid_client_metadata"),
    ] {
        assert_eq!(refused(register(&idp, &metadata).await).await, (400, error.to_owned()), "{metadata}");
    }
    let url = format!("{}/register", idp.issuer());
    assert_eq!(client().get(url).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn schemes_have_no_case_and_descriptions_keep_theirs() {
    let World { idp, .. } = world();
    let form = [("grant_type", "client_credentials")];
    let asked = client().post(idp.token_endpoint()).header("authorization", "BASIC YXBwOmFwcC1zZWNyZXQ=");
    ok(asked.form(&form).send().await.unwrap()).await;
    let tokens = sign_in(&idp, APP, &[]).await;
    let authorization = format!("bearer {}", text(&tokens, "access_token"));
    let userinfo = client().get(format!("{}/userinfo", idp.issuer())).header("authorization", authorization);
    ok(userinfo.send().await.unwrap()).await;

    let json = client().post(format!("{}/register", idp.issuer())).body("no").send().await.unwrap();
    assert_eq!(crate::support::json_of(json).await["error_description"], "POST a JSON object");
}

#[tokio::test]
async fn no_secret_is_shown() {
    let client = OAuthClient::new("app").secret("canary-secret").redirect_uri(BACK);
    let account = portunus_mock::User::new("alice");
    let builder = MockIdp::builder().client(client).account(account, "canary-password");
    let mut shown = format!("{builder:?}");
    let idp = builder.build().unwrap();
    let tokens = idp.sign_in("app", "openid").unwrap();
    let device = with(("app", Some("canary-secret")), &[]);
    let device = ok(post(&idp, "device_authorization_endpoint", &device).await).await;
    shown += &format!("{idp:?} {:?} {:?}", idp.mint("alice"), idp.requests());
    for secret in [
        "canary",
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
        text(&device, "device_code"),
        text(&device, "user_code"),
    ] {
        assert!(!shown.contains(secret), "{secret}");
    }
}
