//! Refresh tokens: rotation, reuse, scopes, and whose they are.

use std::time::Duration;

use portunus_mock::{GrantType, OAuthClient, RefreshPolicy};

use super::flows::{
    APP, BACK, CLI, OTHER, World, adapted, invalid_grant, is_taken, ok, redeem, refresh, refused, sign_in,
    text, world,
};
use crate::tokens::claims_of;

#[tokio::test]
async fn each_use_gives_another_refresh_token() {
    let World { idp, clock } = world();
    let first = sign_in(&idp, APP, &[("scope", "openid email"), ("nonce", "n")]).await;
    clock.advance(Duration::from_secs(60));
    let second = ok(refresh(&idp, APP, text(&first, "refresh_token"), &[]).await).await;
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_ne!(second["access_token"], first["access_token"]);
    assert_eq!(second["scope"], "openid email");
    assert!(is_taken(&idp, text(&second, "access_token")).await);

    // OIDC Core §12.2: the same user and sign-in, a new time, no nonce.
    let (_, before) = claims_of(text(&first, "id_token"));
    let (_, after) = claims_of(text(&second, "id_token"));
    for name in ["iss", "sub", "aud", "auth_time", "email"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    assert_eq!(after["iat"].as_u64(), before["iat"].as_u64().map(|at| at + 60));
    assert_eq!((before["nonce"].as_str(), after.get("nonce")), (Some("n"), None));
    ok(refresh(&idp, APP, text(&second, "refresh_token"), &[]).await).await;
}

#[tokio::test]
async fn reuse_ends_the_whole_family_and_no_other() {
    let World { idp, .. } = world();
    let (first, others) = (sign_in(&idp, APP, &[]).await, sign_in(&idp, APP, &[]).await);
    let second = ok(refresh(&idp, APP, text(&first, "refresh_token"), &[]).await).await;
    let reused = refresh(&idp, APP, text(&first, "refresh_token"), &[]).await;
    assert_eq!(refused(reused).await, invalid_grant());
    // RFC 9700 §4.14.2: the newest token goes as well, and what it gave access to.
    assert_eq!(refused(refresh(&idp, APP, text(&second, "refresh_token"), &[]).await).await, invalid_grant());
    for tokens in [&first, &second] {
        assert!(!is_taken(&idp, text(tokens, "access_token")).await);
    }
    assert!(is_taken(&idp, text(&others, "access_token")).await);
    ok(refresh(&idp, APP, text(&others, "refresh_token"), &[]).await).await;
}

#[tokio::test]
async fn other_policies() {
    let World { idp, .. } = adapted(|idp| idp.refresh_policy(RefreshPolicy::Rotate));
    let first = sign_in(&idp, APP, &[]).await;
    let second = ok(refresh(&idp, APP, text(&first, "refresh_token"), &[]).await).await;
    assert_eq!(refused(refresh(&idp, APP, text(&first, "refresh_token"), &[]).await).await, invalid_grant());
    ok(refresh(&idp, APP, text(&second, "refresh_token"), &[]).await).await;

    let World { idp, .. } = adapted(|idp| idp.refresh_policy(RefreshPolicy::Reuse));
    let first = sign_in(&idp, APP, &[]).await;
    for _ in 0..2 {
        let next = ok(refresh(&idp, APP, text(&first, "refresh_token"), &[]).await).await;
        assert_eq!(next["refresh_token"], first["refresh_token"]);
    }
}

#[tokio::test]
async fn scopes_get_narrower_only_and_a_refusal_spends_nothing() {
    let World { idp, .. } = world();
    let first = sign_in(&idp, APP, &[("scope", "openid email")]).await;
    let token = text(&first, "refresh_token");
    for (scope, error) in [("openid profile", "invalid_scope"), (" ", "invalid_scope")] {
        let answer = refresh(&idp, APP, token, &[("scope", scope)]).await;
        assert_eq!(refused(answer).await, (400, error.to_owned()));
    }
    for who in [OTHER, CLI] {
        assert_eq!(refused(refresh(&idp, who, token, &[]).await).await, invalid_grant());
    }
    let wrong = refresh(&idp, ("app", Some("wrong")), token, &[]).await;
    assert_eq!(refused(wrong).await, (401, "invalid_client".to_owned()));
    let nothing = refresh(&idp, APP, "", &[]).await;
    assert_eq!(refused(nothing).await, (400, "invalid_request".to_owned()));

    let narrow = ok(refresh(&idp, APP, token, &[("scope", "email")]).await).await;
    assert_eq!((narrow["scope"].as_str(), narrow.get("id_token")), (Some("email"), None));
    // RFC 6749 §6: the refresh token keeps its scope.
    let wide = ok(refresh(&idp, APP, text(&narrow, "refresh_token"), &[]).await).await;
    assert_eq!(wide["scope"], "openid email");
}

#[tokio::test]
async fn a_resource_can_be_chosen_among_those_agreed_to() {
    let World { idp, .. } = world();
    let [a, b, c] = ["https://a.example/", "https://b.example/", "https://c.example/"];
    let first = sign_in(&idp, APP, &[("resource", a), ("resource", b)]).await;
    assert_eq!(claims_of(text(&first, "access_token")).1["aud"], serde_json::json!([a, b]));
    let other = refresh(&idp, APP, text(&first, "refresh_token"), &[("resource", c)]).await;
    assert_eq!(refused(other).await, (400, "invalid_target".to_owned()));
    let narrow = ok(refresh(&idp, APP, text(&first, "refresh_token"), &[("resource", b)]).await).await;
    assert_eq!(claims_of(text(&narrow, "access_token")).1["aud"], b);

    let code = super::flows::code(&idp, APP, &[("resource", a)]).await;
    let answer = redeem(&idp, APP, &code, &[("resource", c)]).await;
    assert_eq!(refused(answer).await, (400, "invalid_target".to_owned()));
    ok(redeem(&idp, APP, &code, &[("resource", a)]).await).await;
}

#[tokio::test]
async fn refresh_tokens_expire() {
    let World { idp, clock } = adapted(|idp| idp.refresh_ttl(Duration::from_secs(100)));
    let (early, late) = (sign_in(&idp, APP, &[]).await, sign_in(&idp, APP, &[]).await);
    clock.advance(Duration::from_secs(99));
    let next = ok(refresh(&idp, APP, text(&early, "refresh_token"), &[]).await).await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(refused(refresh(&idp, APP, text(&late, "refresh_token"), &[]).await).await, invalid_grant());
    ok(refresh(&idp, APP, text(&next, "refresh_token"), &[]).await).await;
}

#[tokio::test]
async fn of_eight_uses_at_once_one_succeeds() {
    let World { idp, .. } = adapted(|idp| idp.refresh_policy(RefreshPolicy::Rotate));
    let tokens = sign_in(&idp, APP, &[]).await;
    let mut good = 0;
    let uses: [_; 8] = std::array::from_fn(|_| refresh(&idp, APP, text(&tokens, "refresh_token"), &[]));
    for answer in futures_util::future::join_all(uses).await {
        good += u32::from(answer.status() == 200);
    }
    assert_eq!(good, 1);
}

#[tokio::test]
async fn a_client_that_may_not_refresh_gets_no_refresh_token() {
    let World { idp, .. } = world();
    let client = OAuthClient::new("once").redirect_uri(BACK).grants([GrantType::AuthorizationCode]);
    idp.add_client(client).unwrap();
    let tokens = sign_in(&idp, ("once", None), &[]).await;
    assert_eq!(tokens.get("refresh_token"), None);
    let answer = refresh(&idp, ("once", None), "refresh-mock-1", &[]).await;
    assert_eq!(refused(answer).await, (400, "unauthorized_client".to_owned()));
}
