//! What a test can arrange, and what it can ask afterwards.

use std::time::Duration;

use portunus_mock::{Fault, GrantType};
use serde_json::json;

use super::flows::{
    APP, CLI, World, is_taken, metadata, ok, post, refresh, refused, sign_in, text, with, world,
};
use crate::support::{client, header, json_of};
use crate::tokens::claims_of;

#[tokio::test]
async fn tokens_without_a_flow() {
    let World { idp, clock } = world();
    let tokens = idp.sign_in("cli", "openid offline_access").unwrap();
    assert!(is_taken(&idp, text(&tokens, "access_token")).await);
    assert_eq!(claims_of(text(&tokens, "id_token")).1["sub"], "alice");
    clock.advance(Duration::from_secs(3_600));
    assert!(!is_taken(&idp, text(&tokens, "access_token")).await);
    ok(refresh(&idp, CLI, text(&tokens, "refresh_token"), &[]).await).await;
    assert_eq!((idp.sign_in("nobody", "openid"), idp.sign_in("cli", "admin")), (None, None));
}

#[tokio::test]
async fn was_it_once_or_twice() {
    let World { idp, .. } = world();
    let tokens = sign_in(&idp, APP, &[]).await;
    ok(refresh(&idp, APP, text(&tokens, "refresh_token"), &[]).await).await;
    refresh(&idp, ("app", Some("wrong")), "x", &[]).await;
    let counts = [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::DeviceCode];
    assert_eq!(counts.map(|grant| idp.count_grants(grant)), [1, 1, 0]);
}

#[tokio::test]
async fn a_refusal_on_order_spends_nothing() {
    let World { idp, .. } = world();
    let tokens = sign_in(&idp, APP, &[]).await;
    idp.refuse_next(2, "temporarily_unavailable");
    for _ in 0..2 {
        let answer = refresh(&idp, APP, text(&tokens, "refresh_token"), &[]).await;
        assert_eq!(refused(answer).await, (400, "temporarily_unavailable".to_owned()));
    }
    ok(refresh(&idp, APP, text(&tokens, "refresh_token"), &[]).await).await;
}

#[tokio::test]
async fn metadata_that_is_not_true() {
    let World { idp, .. } = world();
    let slash = format!("{}/", idp.issuer());
    idp.set_metadata("issuer", slash.clone());
    idp.set_metadata("jwks_uri", json!(null));
    let told = metadata(&idp).await;
    assert_eq!((&told["issuer"], told.get("jwks_uri")), (&json!(slash), None));
    // What it issues is as before.
    let tokens =
        ok(post(&idp, "token_endpoint", &with(APP, &[("grant_type", "client_credentials")])).await).await;
    assert_eq!(claims_of(text(&tokens, "access_token")).1["iss"], idp.issuer());
}

#[tokio::test]
async fn keys_as_an_old_cache_has_them() {
    let World { idp, .. } = world();
    let published = async || json_of(client().get(idp.jwks_uri()).send().await.unwrap()).await;
    let before = published().await;
    idp.set_jwks_stale(true);
    idp.rotate_keys();
    assert_eq!(published().await, before);
    assert_eq!(claims_of(&idp.mint("a").id_token()).0["kid"], "mock-rs256-2");
    idp.set_jwks_stale(false);
    assert_ne!(published().await, before);
    assert_eq!(published().await, idp.jwks());
}

#[tokio::test]
async fn the_llm_server_can_have_an_oauth_server_of_ones_own() {
    let idp = portunus_mock::MockIdp::builder().client(portunus_mock::OAuthClient::new("cli"));
    let idp = idp.token_ttl(Duration::from_secs(60)).opaque_access_tokens();
    let server = portunus_mock::ServerBuilder::new().with_idp(idp).build().await.unwrap();
    let tokens = server.idp().unwrap().sign_in("cli", "openid").unwrap();
    assert_eq!(tokens["expires_in"], 60);
    assert_eq!(crate::support::status_with(&server.url(), text(&tokens, "access_token")).await, 200);
    for other in ["id_token", "refresh_token"] {
        assert_eq!(crate::support::status_with(&server.url(), text(&tokens, other)).await, 401);
    }
}

#[tokio::test]
async fn a_redirect_leads_elsewhere() {
    let World { idp, .. } = world();
    idp.fail_next(1, Fault::Redirect("https://elsewhere.example/".to_owned()));
    let answer = client().post(idp.token_endpoint()).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "location")),
        (307, Some("https://elsewhere.example/"))
    );
}

#[tokio::test]
async fn scripts_of_other_origins_may_call_but_not_see_pages() {
    let World { idp, .. } = world();
    let asked = async |method: &str, path: &str| {
        let request = client().request(method.parse().unwrap(), format!("{}{path}", idp.issuer()));
        let answer = request.header("origin", "https://app.example").send().await.unwrap();
        (answer.status().as_u16(), header(&answer, "access-control-allow-origin").map(str::to_owned))
    };
    let any = || Some("*".to_owned());
    for (method, path, status) in [
        ("OPTIONS", "/token", 204),
        ("POST", "/token", 400),
        ("GET", "/jwks.json", 200),
        ("GET", "/userinfo", 401),
    ] {
        assert_eq!(asked(method, path).await, (status, any()), "{method} {path}");
    }
    for path in ["/authorize", "/device", "/end_session"] {
        for method in ["OPTIONS", "GET"] {
            assert_eq!(asked(method, path).await.1, None, "{method} {path}");
        }
    }
    let plain = client().get(idp.jwks_uri()).send().await.unwrap();
    assert_eq!(header(&plain, "access-control-allow-origin"), None);
}
