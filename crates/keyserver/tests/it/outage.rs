//! A store that cannot be reached: what is known keeps working, for a while, and nothing opens.

use std::time::{Duration, UNIX_EPOCH};

use portunus_auth_core::{AuthError, Outcome, Reason};
use portunus_keyserver::{ExchangeError, Revoke, RevokeError, TokenRequest, Ttl};
use portunus_store::Store;

use crate::support::{ADMIN, ENGINEERS, NOW, World, admin, eventually, exchange_of};

/// Ten minutes of `fail_static`.
async fn patient() -> World {
    let ten_minutes = Ttl::try_from(Duration::from_secs(600)).unwrap();
    World::configured(ENGINEERS, |config| config.fail_static = ten_minutes).await
}

#[tokio::test]
async fn known_keys_work_for_the_configured_time_and_then_nothing_does() {
    let world = patient().await;
    let (key, revoked) = (world.key("alice").await, world.key("alice").await);
    world.server.revoke(Revoke::Key(revoked.key_id.clone())).await.unwrap();
    world.store.set_off(true);
    assert!(!world.server.watch_store().await);

    world.pass(600);
    assert!(!world.server.watch_store().await, "a later failure does not begin it anew");
    assert!(world.server.find(&key.access_token).is_ok());
    assert!(matches!(world.server.find(&revoked.access_token), Err(AuthError::Revoked)));
    world.pass(1);
    assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Unavailable(_))));
    assert!(matches!(world.server.find(&revoked.access_token), Err(AuthError::Revoked)));
    let answer = world.send("/oauth/introspect", &admin(), &[("token", key.access_token.expose())]).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"), "it cannot be told, so it is not said");
    let holder = format!("Bearer {}", key.access_token.expose());
    let token = [("token", key.access_token.expose())];
    let answer = world.send("/oauth/introspect", &holder, &token).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"), "nor is who asks");
    let events = world.events();
    assert_eq!(events.last().unwrap().outcome, Outcome::Failed(Reason::AuthenticationUnavailable));

    world.store.set_off(false);
    assert!(world.server.watch_store().await);
    assert!(world.server.find(&key.access_token).is_ok());
    world.pass(3600);
    assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Expired)));
}

#[tokio::test]
async fn without_the_store_an_unknown_key_cannot_be_told_to_be_unknown() {
    let world = patient().await;
    let unknown = world.key_text();
    assert!(matches!(world.server.find(&unknown), Err(AuthError::Unknown)));
    world.store.set_off(true);
    world.server.watch_store().await;
    assert!(matches!(world.server.find(&unknown), Err(AuthError::Unavailable(_))));
    world.store.set_off(false);
    world.server.watch_store().await;
    assert!(matches!(world.server.find(&unknown), Err(AuthError::Unknown)));
}

#[tokio::test]
async fn without_the_store_nothing_is_issued_and_a_revocation_holds_here_at_once() {
    let world = patient().await;
    let (key, parent) = (world.key("alice").await, world.key("alice").await);
    let child = world.child(&parent).await;
    let token = world.engineer("alice").id_token();
    world.store.set_off(true);
    world.server.watch_store().await;
    assert_eq!(world.form(&exchange_of(&token)).await.error(), (503, "temporarily_unavailable"));
    let narrower = world.narrow(&key, |_: &mut TokenRequest| {}).await;
    assert!(matches!(narrower, Err(ExchangeError::Unavailable { reason: Reason::StoreUnavailable, .. })));
    let revoked = world.server.revoke(Revoke::Key(parent.key_id.clone())).await;
    assert!(matches!(revoked, Err(RevokeError::Store(_))));
    for dead in [&parent, &child] {
        assert!(matches!(world.server.find(&dead.access_token), Err(AuthError::Revoked)));
    }
    // Their records are still there; what was seen holds.
    world.store.set_off(false);
    world.server.watch_store().await;
    assert!(matches!(world.server.find(&child.access_token), Err(AuthError::Revoked)));
    assert!(world.server.find(&key.access_token).is_ok());
    let answer = world.delete(&parent.key_id.to_string(), &format!("Bearer {ADMIN}")).await;
    assert_eq!(answer.status, 204);
    assert!(world.exchange(token).await.is_ok(), "what was refused did not spend the token");
}

#[tokio::test]
async fn what_was_missed_is_read_before_keys_are_believed_again() {
    let world = patient().await;
    let key = world.key("alice").await;
    world.store.set_off(true);
    world.server.watch_store().await;
    world.store.set_off(false);
    // Another server takes it back, and its announcement is lost.
    for (name, _) in world.store.scan("ks/key/", None, 10).await.unwrap() {
        world.store.delete(&name).await.unwrap();
    }
    assert!(world.server.watch_store().await);
    assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Revoked)));
}

#[tokio::test]
async fn the_server_watches_by_itself() {
    let world = patient().await;
    let key = world.key("alice").await;
    tokio::time::pause();
    world.store.set_off(true);
    tokio::time::advance(Duration::from_secs(2)).await;
    eventually(|| false).await;
    world.pass(601);
    assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Unavailable(_))));
    world.store.set_off(false);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(eventually(|| world.server.find(&key.access_token).is_ok()).await);
}

#[tokio::test]
async fn a_clock_that_goes_back_does_not_make_an_outage_longer() {
    let world = patient().await;
    let key = world.key("alice").await;
    world.pass(100);
    assert!(world.server.watch_store().await);
    world.clock.jump_to(UNIX_EPOCH + Duration::from_secs(NOW + 50));
    assert!(world.server.find(&key.access_token).is_ok(), "the store was asked a second ago");
    world.store.set_off(true);
    assert!(!world.server.watch_store().await);
    assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Unavailable(_))));
}

#[tokio::test]
async fn a_server_that_slept_believes_nothing_until_it_has_asked() {
    let world = patient().await;
    let key = world.key("alice").await;
    world.pass(601);
    assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Unavailable(_))));
    assert!(matches!(world.server.find(&world.key_text()), Err(AuthError::Unavailable(_))));
    assert!(world.server.watch_store().await);
    assert!(world.server.find(&key.access_token).is_ok());
}

/// The store ends a subscription: the server subscribes anew, and reads what it missed.
#[tokio::test]
async fn a_server_whose_subscription_ends_listens_again() {
    let world = patient().await;
    let (key, unknown) = (world.key("alice").await, world.key_text());
    tokio::time::pause();
    world.store.set_deaf(true);
    let deaf = world.another(ENGINEERS).await;
    assert!(eventually(|| matches!(deaf.find(&unknown), Err(AuthError::Unavailable(_)))).await);
    assert!(!deaf.watch_store().await, "the store answers, but tells nothing");
    assert!(deaf.find(&key.access_token).is_ok());
    world.store.set_deaf(false);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(eventually(|| matches!(deaf.find(&unknown), Err(AuthError::Unknown))).await);
    world.server.revoke(Revoke::Key(key.key_id.clone())).await.unwrap();
    assert!(eventually(|| matches!(deaf.find(&key.access_token), Err(AuthError::Revoked))).await);
}

/// A record of a later version is no key here, and keeps nobody from hearing of others.
#[tokio::test]
async fn a_record_that_cannot_be_read_is_no_key_and_hides_no_other() {
    let world = patient().await;
    let (key, revoked) = (world.key("alice").await, world.key("alice").await);
    let until = Some(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(crate::support::NOW + 3600));
    let name = format!("ks/key/{}", "0".repeat(64));
    world.store.put(&name, br#"{"v":"99"}"#, until).await.unwrap();
    let started = world.another(ENGINEERS).await;
    assert!(started.find(&key.access_token).is_ok());
    // Nor does an announcement that cannot be read.
    world.store.publish("ks/keys", b"{}").await.unwrap();
    world.server.revoke(Revoke::Key(revoked.key_id.clone())).await.unwrap();
    assert!(eventually(|| started.find(&revoked.access_token).is_err()).await);
    assert!(started.watch_store().await && started.find(&key.access_token).is_ok());
}

/// A server that hears nothing and cannot read what it missed does not believe its memory for ever.
#[tokio::test]
async fn a_server_that_cannot_catch_up_is_in_an_outage() {
    let world = patient().await;
    let key = world.key("alice").await;
    world.store.set_scans_off(true);
    world.store.publish("ks/keys", b"{}").await.unwrap();
    let unknown = world.key_text();
    assert!(eventually(|| matches!(world.server.find(&unknown), Err(AuthError::Unavailable(_)))).await);
    assert!(!world.server.watch_store().await, "the store answers, but not what was missed");
    assert!(world.server.find(&key.access_token).is_ok());
    world.pass(601);
    assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Unavailable(_))));
    world.store.set_scans_off(false);
    assert!(world.server.watch_store().await);
    assert!(world.server.find(&key.access_token).is_ok());
}
