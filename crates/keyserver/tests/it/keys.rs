//! Keys: kept, found, taken back, and known to every server that shares the store.

use std::sync::Arc;

use portunus_auth_core::audit::{Actor, EventKind, MemorySink};
use portunus_auth_core::{AuthError, BearerToken, Outcome, Reason};
use portunus_keyserver::{KeyServer, Revoke};
use portunus_store::{Embedded, Memory, Store};

use crate::support::{
    ADMIN, ENGINEERS, Switch, World, clock, configuration, eventually, exchange_of, server,
};

#[tokio::test]
async fn keys_and_revocations_and_spent_tokens_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let open = || {
        let store = Embedded::open(folder.path().join("keys.redb"), clock.clone()).unwrap();
        Arc::new(Switch::over(Arc::new(store)))
    };
    let world = World::with(ENGINEERS, clock.clone(), open()).await;
    let token = world.engineer("alice").id_token();
    let (kept, revoked) = (world.exchange(token.clone()).await.unwrap(), world.key("alice").await);
    world.server.revoke(Revoke::Key(revoked.key_id.clone())).await.unwrap();

    let World { idp, server: old, store, .. } = world;
    drop((old, store));
    let config = configuration(idp.issuer(), ENGINEERS);
    let store = open();
    let audit = Arc::new(MemorySink::default());
    let server = server(config, store.clone(), &clock, &audit).await.unwrap();
    let world = World { idp, clock, store, audit, server };
    assert_eq!(*world.server.find(&kept.access_token).unwrap().grant(), kept.grant);
    assert!(matches!(world.server.find(&revoked.access_token), Err(AuthError::Unknown)));
    assert!(world.exchange(token).await.is_err());
    world.pass(3600);
    assert!(matches!(world.server.find(&kept.access_token), Err(AuthError::Expired)));
}

#[tokio::test]
async fn the_store_never_sees_a_key() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let entries = world.store.scan("", None, 1000).await.unwrap();
    assert!(entries.len() >= 3);
    let body = key.access_token.expose().strip_prefix("ptk_").unwrap().as_bytes();
    for (name, value) in entries {
        for part in [body, ADMIN.as_bytes(), crate::support::PEPPER.as_bytes()] {
            assert!(!value.windows(part.len()).any(|window| window == part), "{name}");
            assert!(!name.as_bytes().windows(part.len()).any(|window| window == part), "{name}");
        }
    }
}

#[tokio::test]
async fn finding_a_key_asks_the_store_nothing() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let asked = world.store.asked();
    world.store.set_off(true);
    assert!(world.server.find(&key.access_token).is_ok());
    assert!(matches!(world.server.find(&BearerToken::new("ptk_x")), Err(AuthError::Malformed)));
    assert_eq!(world.store.asked(), asked);
}

#[tokio::test]
async fn without_the_store_nothing_is_issued_or_said_to_be_revoked() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    world.store.set_off(true);
    let token = world.engineer("alice").id_token();
    let answer = world.form(&exchange_of(&token)).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    let answer = world.delete(&key.key_id.to_string(), &format!("Bearer {ADMIN}")).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    let outcomes: Vec<_> = world.events().iter().map(|event| event.outcome).collect();
    let down = Outcome::Failed(Reason::StoreUnavailable);
    assert_eq!(outcomes, [Outcome::Allowed, down, down]);
    world.store.set_off(false);
    assert_eq!(world.server.revoke(Revoke::Key(key.key_id)).await.unwrap(), 1);
}

#[tokio::test]
async fn all_keys_of_one_owner_are_revoked_and_no_others() {
    let world = World::new(ENGINEERS).await;
    let (one, two, other) = (world.key("alice").await, world.key("alice").await, world.key("bob").await);
    let alice = world.server.find(&one.access_token).unwrap().id().clone();
    assert_eq!(world.server.revoke(Revoke::Owner(alice.clone())).await.unwrap(), 2);
    for key in [&one, &two] {
        assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Revoked)));
    }
    assert!(world.server.find(&other.access_token).is_ok());
    assert_eq!(world.server.revoke(Revoke::Owner(alice.clone())).await.unwrap(), 0);

    let revocations: Vec<_> =
        world.events().into_iter().filter(|event| event.kind == EventKind::TokenRevoked).collect();
    let outcomes = revocations.iter().map(|event| (event.outcome, event.target.revoked));
    let expected = [(Outcome::Allowed, Some(2)), (Outcome::Refused(Reason::NotFound), Some(0))];
    assert_eq!(outcomes.collect::<Vec<_>>(), expected);
    assert_eq!(revocations[0].target.owner.as_deref(), Some(&alice));
    assert!(matches!(revocations[0].actor, Some(Actor::System)));
    world.key("alice").await;
}

#[tokio::test]
async fn other_servers_learn_of_new_and_of_revoked_keys() {
    let world = World::new(ENGINEERS).await;
    let before = world.key("alice").await;
    let other = world.another(ENGINEERS).await;
    assert!(other.find(&before.access_token).is_ok());

    let after = world.key("alice").await;
    assert!(eventually(|| other.find(&after.access_token).is_ok()).await);
    assert_eq!(other.revoke(Revoke::Key(after.key_id.clone())).await.unwrap(), 1);
    assert!(matches!(other.find(&after.access_token), Err(AuthError::Revoked)));
    assert!(eventually(|| world.server.find(&after.access_token).is_err()).await);
    assert!(world.server.find(&before.access_token).is_ok());
}

#[tokio::test]
async fn a_server_that_missed_messages_reads_the_store() {
    let world = World::new(ENGINEERS).await;
    let other = world.another(ENGINEERS).await;
    let revoked = world.key("alice").await;
    assert!(eventually(|| other.find(&revoked.access_token).is_ok()).await);
    // More than its backlog, before its listener gets to run once.
    let store = world.store.clone();
    world.server.revoke(Revoke::Key(revoked.key_id.clone())).await.unwrap();
    let issued = world.key("bob").await;
    for _ in 0..2000 {
        store.publish("ks/keys", b"rubbish").await.unwrap();
    }
    assert!(eventually(|| other.find(&revoked.access_token).is_err()).await);
    assert!(eventually(|| other.find(&issued.access_token).is_ok()).await);
}

#[tokio::test]
async fn a_late_announcement_does_not_bring_a_revoked_key_back() {
    let world = World::new(ENGINEERS).await;
    let mut heard = world.store.subscribe("ks/keys").await.unwrap();
    let other = world.another(ENGINEERS).await;
    let key = world.key("alice").await;
    let Some(portunus_store::Notice::Message(announcement)) = heard.next().await else { panic!() };
    assert_eq!(other.revoke(Revoke::Key(key.key_id.clone())).await.unwrap(), 1);
    for _ in 0..3 {
        world.store.publish("ks/keys", &announcement).await.unwrap();
    }
    let marker = world.key("bob").await;
    assert!(eventually(|| other.find(&marker.access_token).is_ok()).await);
    assert!(matches!(other.find(&key.access_token), Err(AuthError::Revoked)));
}

#[tokio::test]
async fn the_pepper_is_made_once_and_kept() {
    let clock = clock();
    let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
    let world = World::new(ENGINEERS).await;
    let without_pepper = async || -> KeyServer {
        let mut config = configuration(world.idp.issuer(), ENGINEERS);
        config.key_server.pepper = None;
        server(config, store.clone(), &clock, &world.audit).await.unwrap()
    };
    let one =
        World { server: without_pepper().await, idp: crate::support::idp(&clock), ..world_like(&world) };
    let token = world.engineer("alice").id_token();
    let key = one.exchange(token).await.unwrap();
    let again = without_pepper().await;
    assert!(again.find(&key.access_token).is_ok());
    // Under another pepper nobody can say whose key it is.
    let other =
        server(configuration(world.idp.issuer(), ENGINEERS), store.clone(), &clock, &world.audit).await;
    assert!(matches!(other.unwrap().find(&key.access_token), Err(AuthError::Unknown)));
}

fn world_like(world: &World) -> World {
    World {
        idp: crate::support::idp(&world.clock),
        clock: world.clock.clone(),
        store: world.store.clone(),
        audit: world.audit.clone(),
        server: world.server.clone(),
    }
}

/// One damaged entry, or one of a later version, must not keep everybody else from working.
#[tokio::test]
async fn a_record_that_cannot_be_read_is_no_key_and_stops_nothing() {
    let world = World::new(ENGINEERS).await;
    let damaged = world.key("alice").await;
    let (name, value) = world.store.scan("ks/key/", None, 1).await.unwrap().remove(0);
    let later = String::from_utf8(value).unwrap().replace(r#""v":"1""#, r#""v":"2""#);
    world.store.put(&name, later.as_bytes(), None).await.unwrap();
    let config = configuration(world.idp.issuer(), ENGINEERS);
    let sound = world.key("alice").await;
    world.store.put("ks/owner/rubbish", b"{}", None).await.unwrap();
    world.store.put("ks/key/rubbish", b"{}", None).await.unwrap();
    let started = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
    assert!(started.find(&damaged.access_token).is_err());
    started.find(&sound.access_token).unwrap();
}

/// Lets the servers look for ended keys.
async fn half_a_minute() {
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    eventually(|| false).await;
}

#[tokio::test]
async fn the_end_of_a_key_is_audited_once_whatever_the_number_of_servers() {
    let world = World::new(ENGINEERS).await;
    let other = world.another(ENGINEERS).await;
    let (key, revoked) = (world.key("alice").await, world.key("bob").await);
    world.server.revoke(Revoke::Key(revoked.key_id)).await.unwrap();
    assert!(eventually(|| other.find(&key.access_token).is_ok()).await);
    // From here on nothing waits for the identity provider.
    tokio::time::pause();
    let expired = || {
        let events = world.events().into_iter();
        events.filter(|event| event.kind == EventKind::TokenExpired).collect::<Vec<_>>()
    };
    world.pass(3599);
    half_a_minute().await;
    assert!(expired().is_empty());
    world.pass(1);
    world.store.set_off(true);
    half_a_minute().await;
    assert!(expired().is_empty());
    assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Expired)));
    world.store.set_off(false);
    half_a_minute().await;
    half_a_minute().await;
    let [event] = expired().try_into().unwrap();
    let event: portunus_auth_core::AuditEvent = event;
    assert_eq!((event.outcome, event.target.jti), (Outcome::Allowed, Some(key.key_id)));
    assert_eq!(&*event.target.owner.unwrap().subject, "alice");
    assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Unknown)));
}
