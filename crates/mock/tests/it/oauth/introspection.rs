//! Introspection (RFC 7662) and revocation (RFC 7009).

use std::time::Duration;

use portunus_mock::MockIdp;
use serde_json::{Value, json};

use super::flows::{
    APP, CLI, NOW, OTHER, Who, World, adapted, invalid_grant, is_taken, ok, post, refresh, refused, sign_in,
    text, with, world,
};
use crate::support::{client, json_of};

async fn introspect(idp: &MockIdp, who: Who, token: &str) -> Value {
    ok(post(idp, "introspection_endpoint", &with(who, &[("token", token)])).await).await
}

async fn revoke(idp: &MockIdp, who: Who, form: &[(&str, &str)]) {
    let answer = post(idp, "revocation_endpoint", &with(who, form)).await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, String::new()));
}

fn inactive() -> Value {
    json!({"active": false})
}

#[tokio::test]
async fn an_active_token_is_told_of_to_its_client() {
    let World { idp, .. } = world();
    let tokens = sign_in(&idp, APP, &[("scope", "openid profile")]).await;
    let told = introspect(&idp, APP, text(&tokens, "access_token")).await;
    assert_eq!(
        told,
        json!({
            "active": true, "scope": "openid profile", "client_id": "app", "username": "Alice",
            "token_type": "Bearer", "iat": NOW, "exp": NOW + 3_600, "sub": "alice",
            "aud": "portunus-mock", "iss": idp.issuer(), "jti": told["jti"],
        })
    );
    let other = sign_in(&idp, APP, &[("scope", "openid")]).await;
    let other = introspect(&idp, APP, text(&other, "access_token")).await;
    assert_ne!((&other["jti"], &other["scope"]), (&told["jti"], &told["scope"]));
    assert_eq!(
        introspect(&idp, APP, text(&tokens, "refresh_token")).await,
        json!({
            "active": true, "iss": idp.issuer(), "sub": "alice", "client_id": "app",
            "scope": "openid profile", "iat": NOW, "exp": NOW + 30 * 24 * 3_600,
        })
    );
}

#[tokio::test]
async fn of_anything_else_nothing_is_told() {
    let World { idp, clock } = adapted(|idp| idp.refresh_ttl(Duration::from_secs(7_200)));
    let tokens = sign_in(&idp, APP, &[]).await;
    let (access, once) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    for token in [access, once] {
        assert_eq!(introspect(&idp, OTHER, token).await, inactive());
    }
    for token in ["unknown", text(&tokens, "id_token")] {
        assert_eq!(introspect(&idp, APP, token).await, inactive());
    }
    let next = ok(refresh(&idp, APP, once, &[]).await).await;
    assert_eq!(introspect(&idp, APP, once).await, inactive(), "it has been rotated");
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(introspect(&idp, APP, access).await, inactive(), "it has expired");
    assert_eq!(introspect(&idp, APP, text(&next, "refresh_token")).await["active"], true);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(introspect(&idp, APP, text(&next, "refresh_token")).await, inactive());
}

#[tokio::test]
async fn only_clients_that_prove_themselves_are_answered() {
    let World { idp, .. } = world();
    let tokens = sign_in(&idp, CLI, &[]).await;
    let token = [("token", text(&tokens, "access_token"))];
    for who in [("app", Some("wrong")), ("app", None), ("nobody", Some("x"))] {
        for endpoint in ["introspection_endpoint", "revocation_endpoint"] {
            let answer = post(&idp, endpoint, &with(who, &token)).await;
            assert_eq!(refused(answer).await, (401, "invalid_client".to_owned()), "{endpoint} {who:?}");
        }
    }
    // A public client proves nothing, and could be anybody (RFC 7662 §2.1).
    let public = post(&idp, "introspection_endpoint", &with(CLI, &token)).await;
    assert_eq!(refused(public).await, (401, "invalid_client".to_owned()));
    for endpoint in ["introspection_endpoint", "revocation_endpoint"] {
        let answer = post(&idp, endpoint, &with(APP, &[])).await;
        assert_eq!(refused(answer).await, (400, "invalid_request".to_owned()));
    }
    assert!(is_taken(&idp, text(&tokens, "access_token")).await);
}

#[tokio::test]
async fn revoking_an_access_token_ends_that_one() {
    let World { idp, .. } = world();
    let tokens = sign_in(&idp, APP, &[]).await;
    let access = text(&tokens, "access_token");
    // Another client may not; it is not told so (RFC 7009 §2.2).
    revoke(&idp, OTHER, &[("token", access)]).await;
    assert!(is_taken(&idp, access).await);
    // The hint is wrong, and only a hint.
    revoke(&idp, APP, &[("token", access), ("token_type_hint", "refresh_token")]).await;
    assert!(!is_taken(&idp, access).await);
    assert_eq!(introspect(&idp, APP, access).await, inactive());
    revoke(&idp, APP, &[("token", access)]).await;
    revoke(&idp, APP, &[("token", "never-was")]).await;
    ok(refresh(&idp, APP, text(&tokens, "refresh_token"), &[]).await).await;
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_what_descends_from_it() {
    let World { idp, .. } = world();
    for who in [APP, CLI] {
        let first = sign_in(&idp, who, &[]).await;
        let second = ok(refresh(&idp, who, text(&first, "refresh_token"), &[]).await).await;
        let others = sign_in(&idp, who, &[]).await;
        revoke(&idp, who, &[("token", text(&second, "refresh_token"))]).await;
        for tokens in [&first, &second] {
            assert!(!is_taken(&idp, text(tokens, "access_token")).await);
        }
        let answer = refresh(&idp, who, text(&second, "refresh_token"), &[]).await;
        assert_eq!(refused(answer).await, invalid_grant());
        assert!(is_taken(&idp, text(&others, "access_token")).await);
    }
}

#[tokio::test]
async fn a_token_that_says_nothing_is_explained() {
    let World { idp, .. } = adapted(|idp| idp.opaque_access_tokens());
    let tokens = sign_in(&idp, APP, &[]).await;
    let access = text(&tokens, "access_token");
    assert!(!access.contains('.'), "{access}");
    let told = introspect(&idp, APP, access).await;
    assert_eq!((&told["active"], &told["sub"]), (&json!(true), &json!("alice")));
    assert!(is_taken(&idp, access).await);
}

#[tokio::test]
async fn a_request_is_a_posted_form() {
    let World { idp, .. } = world();
    for path in ["introspect", "revoke"] {
        let url = format!("{}/{path}", idp.issuer());
        let get = client().get(&url).send().await.unwrap();
        assert_eq!(
            (get.status().as_u16(), json_of(get).await["error"].clone()),
            (400, json!("invalid_request"))
        );
        let twice = with(APP, &[("token", "a"), ("token", "b")]);
        let answer = client().post(&url).form(&twice).send().await.unwrap();
        assert_eq!(refused(answer).await, (400, "invalid_request".to_owned()));
    }
}
