//! The device flow (RFC 8628): every state that a poll can meet, at the token endpoint.

use std::time::Duration;

use portunus_mock::{DevicePoll, GrantType, MockIdp, OAuthClient, ServerBuilder, UnknownUserCode, User};
use reqwest::Response;
use serde_json::{Value, json};

use super::flows::{
    APP, CLI, DEVICE, OTHER, Who, World, adapted, ok, post, refresh, refused, text, with, world,
};
use crate::support::{client, header, status_with};
use crate::tokens::claims_of;

async fn start(idp: &MockIdp, who: Who) -> Value {
    let answer = post(idp, "device_authorization_endpoint", &with(who, &[("scope", "openid email")])).await;
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    ok(answer).await
}

async fn poll(idp: &MockIdp, who: Who, flow: &Value) -> Response {
    let form = [("grant_type", DEVICE), ("device_code", text(flow, "device_code"))];
    post(idp, "token_endpoint", &with(who, &form)).await
}

async fn error(answer: Response) -> String {
    let (status, error) = refused(answer).await;
    assert_eq!(status, 400);
    error
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test]
async fn pending_then_approved_then_redeemed() {
    let World { idp, clock } = world();
    let flow = start(&idp, CLI).await;
    let page = format!("{}/device", idp.issuer());
    let code = text(&flow, "user_code");
    assert_eq!(
        flow,
        json!({
            "device_code": flow["device_code"], "user_code": code,
            "verification_uri": page, "verification_uri_complete": format!("{page}?user_code={code}"),
            "expires_in": 1_800, "interval": 5,
        })
    );
    assert_eq!(error(poll(&idp, CLI, &flow).await).await, "authorization_pending");
    clock.advance(seconds(5));
    idp.approve_device(&code.to_lowercase().replace('-', " ")).unwrap();
    let tokens = ok(poll(&idp, CLI, &flow).await).await;
    assert_eq!(tokens["scope"], "openid email");
    let (_, claims) = claims_of(text(&tokens, "id_token"));
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("alice"), &json!("cli")));
    assert_eq!((claims.get("nonce"), &claims["email"]), (None, &json!("a@example.com")));
    ok(refresh(&idp, CLI, text(&tokens, "refresh_token"), &[]).await).await;
    // Exactly once.
    assert_eq!(error(poll(&idp, CLI, &flow).await).await, "invalid_grant");
    assert_eq!(idp.approve_device(code), Err(UnknownUserCode));
}

#[tokio::test]
async fn denied_expired_unknown_and_anothers() {
    let World { idp, clock } = world();
    let (denied, late, approved_late) =
        (start(&idp, APP).await, start(&idp, APP).await, start(&idp, APP).await);
    idp.deny_device(text(&denied, "user_code")).unwrap();
    for _ in 0..2 {
        assert_eq!(error(poll(&idp, APP, &denied).await).await, "access_denied");
    }
    for who in [OTHER, CLI] {
        assert_eq!(error(poll(&idp, who, &late).await).await, "invalid_grant");
    }
    let unknown = json!({"device_code": "device-mock-99"});
    assert_eq!(error(poll(&idp, APP, &unknown).await).await, "invalid_grant");
    assert_eq!(error(poll(&idp, APP, &json!({"device_code": ""})).await).await, "invalid_request");

    idp.approve_device(text(&approved_late, "user_code")).unwrap();
    clock.advance(seconds(1_800));
    assert_eq!(idp.approve_device(text(&late, "user_code")), Err(UnknownUserCode));
    for flow in [&late, &approved_late] {
        assert_eq!(error(poll(&idp, APP, flow).await).await, "expired_token");
    }
    assert_eq!(error(poll(&idp, APP, &denied).await).await, "access_denied");
}

#[tokio::test]
async fn who_polls_in_time_is_never_slowed_down() {
    let World { idp, clock } = world();
    let flow = start(&idp, CLI).await;
    for _ in 0..50 {
        assert_eq!(error(poll(&idp, CLI, &flow).await).await, "authorization_pending");
        clock.advance(seconds(5));
    }
    // A little early is in time: clients round, and the network is not always equally fast.
    for _ in 0..5 {
        clock.advance(Duration::from_millis(4_600));
        assert_eq!(error(poll(&idp, CLI, &flow).await).await, "authorization_pending");
    }
}

#[tokio::test]
async fn an_early_poll_makes_the_interval_five_seconds_longer() {
    let World { idp, clock } = world();
    let flow = start(&idp, CLI).await;
    let after = async |wait: u64| {
        clock.advance(seconds(wait));
        error(poll(&idp, CLI, &flow).await).await
    };
    assert_eq!(after(0).await, "authorization_pending");
    assert_eq!(after(1).await, "slow_down");
    // RFC 8628 §3.5: who waits five seconds longer than before is in time again, from now on.
    assert_eq!(after(10).await, "authorization_pending");
    assert_eq!(after(10).await, "authorization_pending");
    assert_eq!(after(5).await, "slow_down");
    assert_eq!(after(15).await, "authorization_pending");
}

#[tokio::test]
async fn a_steady_poller_is_heard_again_even_if_it_does_not_slow_down() {
    let World { idp, clock } = world();
    let flow = start(&idp, CLI).await;
    let mut heard = 0;
    for _ in 0..60 {
        heard += u32::from(error(poll(&idp, CLI, &flow).await).await == "authorization_pending");
        clock.advance(seconds(3));
    }
    assert!(heard >= 5, "{heard}");
    // And gets its tokens as soon as the user has agreed.
    idp.approve_device(text(&flow, "user_code")).unwrap();
    ok(poll(&idp, CLI, &flow).await).await;
}

#[tokio::test]
async fn polls_follow_a_script() {
    let World { idp, .. } = world();
    idp.script_device([DevicePoll::Pending, DevicePoll::Pending, DevicePoll::SlowDown, DevicePoll::Approve]);
    let flow = start(&idp, CLI).await;
    for expected in ["authorization_pending", "authorization_pending", "slow_down"] {
        assert_eq!(error(poll(&idp, CLI, &flow).await).await, expected);
    }
    ok(poll(&idp, CLI, &flow).await).await;
    assert_eq!(error(poll(&idp, CLI, &flow).await).await, "invalid_grant");

    for (last, expected) in [(DevicePoll::Deny, "access_denied"), (DevicePoll::Expire, "expired_token")] {
        idp.script_device([last]);
        let flow = start(&idp, CLI).await;
        for _ in 0..2 {
            assert_eq!(error(poll(&idp, CLI, &flow).await).await, expected);
        }
    }
    // The next flow has no script.
    let flow = start(&idp, CLI).await;
    idp.approve_device_as(text(&flow, "user_code"), User::new("bob")).unwrap();
    let tokens = ok(poll(&idp, CLI, &flow).await).await;
    assert_eq!(claims_of(text(&tokens, "id_token")).1["sub"], "bob");
}

#[tokio::test]
async fn without_an_interval_no_poll_is_too_early() {
    let World { idp, clock } = adapted(|idp| idp.device(seconds(60), Duration::ZERO));
    let flow = start(&idp, CLI).await;
    assert_eq!((&flow["expires_in"], &flow["interval"]), (&json!(60), &json!(0)));
    for _ in 0..3 {
        assert_eq!(error(poll(&idp, CLI, &flow).await).await, "authorization_pending");
    }
    clock.advance(seconds(60));
    assert_eq!(error(poll(&idp, CLI, &flow).await).await, "expired_token");
}

#[tokio::test]
async fn only_a_client_that_may_starts_a_flow() {
    let World { idp, .. } = world();
    idp.add_client(OAuthClient::new("web").grants([GrantType::AuthorizationCode])).unwrap();
    for (who, fields, expected) in [
        (("app", None), &[][..], (401, "invalid_client")),
        (("app", Some("wrong")), &[], (401, "invalid_client")),
        (("nobody", None), &[], (401, "invalid_client")),
        (("web", None), &[], (400, "unauthorized_client")),
        (CLI, &[("scope", "admin")], (400, "invalid_scope")),
        (CLI, &[("resource", "relative")], (400, "invalid_target")),
    ] {
        let answer = post(&idp, "device_authorization_endpoint", &with(who, fields)).await;
        assert_eq!(refused(answer).await, (expected.0, expected.1.to_owned()), "{who:?}");
    }
    let flow = start(&idp, APP).await;
    let form = [("grant_type", DEVICE), ("device_code", text(&flow, "device_code"))];
    let answer = post(&idp, "token_endpoint", &with(("app", Some("wrong")), &form)).await;
    assert_eq!(refused(answer).await, (401, "invalid_client".to_owned()));
}

#[tokio::test]
async fn the_page_decides_only_when_a_button_is_pressed() {
    let World { idp, .. } = world();
    let (first, second) = (start(&idp, CLI).await, start(&idp, CLI).await);
    let page = client().get(text(&first, "verification_uri_complete")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains(text(&first, "user_code")));
    assert_eq!(error(poll(&idp, CLI, &first).await).await, "authorization_pending");

    let press = async |form: &[(&str, &str)]| {
        client().post(text(&first, "verification_uri")).form(form).send().await.unwrap().status().as_u16()
    };
    assert_eq!(press(&[("user_code", "BBBB-BBBB")]).await, 400);
    assert_eq!(press(&[("user_code", text(&first, "user_code"))]).await, 200);
    assert_eq!(press(&[("user_code", text(&second, "user_code")), ("deny", "yes")]).await, 200);
    ok(poll(&idp, CLI, &first).await).await;
    assert_eq!(error(poll(&idp, CLI, &second).await).await, "access_denied");
    let injected = client().get(format!("{}?user_code=%22%3E%3Cscript%3E", text(&first, "verification_uri")));
    assert!(!injected.send().await.unwrap().text().await.unwrap().contains("<script>"));
}

#[tokio::test]
async fn the_documented_server_approves_a_device() {
    let server = ServerBuilder::new().with_oauth_defaults().build().await.unwrap();
    let (id, secret) = server.oauth_client_credentials().await.unwrap();
    let oauth_url = server.oauth_url().unwrap();
    let form = [("client_id", &*id), ("client_secret", &*secret)];
    let url = format!("{oauth_url}/device_authorization");
    let flow: Value = client().post(url).form(&form).send().await.unwrap().json().await.unwrap();
    server.approve_device_code(text(&flow, "user_code")).await.unwrap();
    assert!(server.approve_device_code("USER-CODE-123").await.is_err());
    let form = [form[0], form[1], ("grant_type", DEVICE), ("device_code", text(&flow, "device_code"))];
    let tokens = client().post(format!("{oauth_url}/token")).form(&form).send().await.unwrap();
    let tokens = ok(tokens).await;
    assert_eq!(status_with(&server.url(), text(&tokens, "access_token")).await, 200);
    for other in ["refresh_token", "id_token"] {
        assert_eq!(status_with(&server.url(), text(&tokens, other)).await, 401, "{other}");
    }
    let without = ServerBuilder::new().build().await.unwrap();
    assert!(without.approve_device_code("BBBB-BBBB").await.is_err());
}

#[tokio::test]
async fn codes_for_users_have_letters_that_cannot_be_mistaken_and_no_two_are_the_same() {
    let World { idp, .. } = world();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let flow = start(&idp, CLI).await;
        let code = text(&flow, "user_code").to_owned();
        let (first, second) = code.split_once('-').unwrap();
        for half in [first, second] {
            assert_eq!(half.len(), 4, "{code}");
            // RFC 8628 section 6.1: no vowels, no digits.
            assert!(half.chars().all(|letter| "BCDFGHJKLMNPQRSTVWXZ".contains(letter)), "{code}");
        }
        assert!(seen.insert(code));
    }
}
