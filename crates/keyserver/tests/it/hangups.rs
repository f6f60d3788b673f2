//! Callers who hang up, who trickle, and stores that fail half-way.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::Request;
use http_body::Frame;
use portunus_auth_core::audit::{EventKind, MemorySink};
use portunus_auth_core::{AuditEvent, AuditFull, AuditSink, AuthError, BearerToken, Outcome, Reason};
use portunus_keyserver::{Peer, Revoke, TokenKind, TokenRequest, router};
use portunus_store::Store;
use tower::ServiceExt;

use crate::support::{ADMIN, ENGINEERS, World, configuration, eventually, exchange_of, server};

fn administrators_delete(jti: &str) -> Request<Body> {
    let request =
        Request::delete(format!("/auth/token/{jti}")).header("authorization", format!("Bearer {ADMIN}"));
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_revocation_ends_whether_or_not_anybody_waits_for_it() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let other = world.another(ENGINEERS).await;
    world.store.hold("delete");
    let request = administrators_delete(&key.key_id.to_string());
    let call = tokio::spawn(router(world.server.clone()).oneshot(request));
    world.store.until_somebody_waits().await;
    assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Revoked)));
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    world.store.answer();
    assert!(eventually(|| other.find(&key.access_token).is_err()).await);
    assert!(eventually(|| world.events().len() == 2).await);
    let event = world.events().remove(1);
    assert_eq!((event.kind, event.outcome), (EventKind::TokenRevoked, Outcome::Allowed));
    assert_eq!(world.delete(&key.key_id.to_string(), &format!("Bearer {ADMIN}")).await.status, 404);
}

#[tokio::test]
async fn a_spent_token_becomes_a_key_whether_or_not_anybody_waits_for_it() {
    let world = World::new(ENGINEERS).await;
    let token = BearerToken::new(world.engineer("alice").id_token());
    world.store.hold("put_if_absent");
    let (server, request) = (world.server.clone(), TokenRequest::new(token, TokenKind::Identity));
    let call = tokio::spawn(async move { server.exchange(request, Peer::default()).await });
    world.store.until_somebody_waits().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    world.store.answer();
    assert!(eventually(|| !world.events().is_empty()).await);
    let [event] = world.events().try_into().unwrap();
    let event: AuditEvent = event;
    assert_eq!((event.kind, event.outcome), (EventKind::TokenIssued, Outcome::Allowed));
    assert_eq!(world.store.scan("ks/key/", None, 10).await.unwrap().len(), 1);
    assert_eq!(world.server.revoke(Revoke::Key(event.target.jti.unwrap())).await.unwrap(), 1);
}

#[tokio::test]
async fn without_the_store_revoked_keys_do_not_work_here_and_a_retry_ends_it() {
    let world = World::new(ENGINEERS).await;
    let (one, two, other) = (world.key("alice").await, world.key("alice").await, world.key("bob").await);
    let alice = world.server.find(&one.access_token).unwrap().id().clone();
    world.store.set_off(true);
    let right = format!("Bearer {ADMIN}");
    let answer = world.delete(&one.key_id.to_string(), &right).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    assert!(matches!(world.server.find(&one.access_token), Err(AuthError::Revoked)));
    assert!(world.server.find(&two.access_token).is_ok());
    assert!(world.server.revoke(Revoke::Owner(alice.clone())).await.is_err());
    assert!(matches!(world.server.find(&two.access_token), Err(AuthError::Revoked)));
    assert!(world.server.find(&other.access_token).is_ok());

    world.store.set_off(false);
    assert_eq!(world.delete(&one.key_id.to_string(), &right).await.status, 204);
    assert_eq!(world.server.revoke(Revoke::Owner(alice)).await.unwrap(), 1);
    assert_eq!(world.delete(&one.key_id.to_string(), &right).await.status, 404);
}

/// The store loses the announcement, and its connection after the deletion.
#[tokio::test]
async fn a_revocation_that_was_not_announced_is_repeated_as_one() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let other = world.another(ENGINEERS).await;
    world.store.set_mute(true);
    world.store.hold("delete");
    let (server, which) = (world.server.clone(), Revoke::Key(key.key_id.clone()));
    let call = tokio::spawn(async move { server.revoke(which).await.is_err() });
    world.store.until_somebody_waits().await;
    world.store.set_off(true);
    world.store.answer();
    assert!(call.await.unwrap());
    assert!(other.find(&key.access_token).is_ok());
    world.store.set_off(false);
    world.store.set_mute(false);
    assert_eq!(world.server.revoke(Revoke::Key(key.key_id.clone())).await.unwrap(), 1);
    assert!(eventually(|| other.find(&key.access_token).is_err()).await);
    assert_eq!(world.server.revoke(Revoke::Key(key.key_id)).await.unwrap(), 0);
}

/// A body that sends what it has, and then nothing ever again.
struct Trickle(Option<Bytes>);

impl http_body::Body for Trickle {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Poll::Pending,
        }
    }
}

/// An audit that counts for how many events it keeps room, and how they end.
#[derive(Debug, Default)]
struct Room(AtomicUsize, MemorySink);

impl AuditSink for Room {
    fn admit(&self) -> Result<(), AuditFull> {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.admit()
    }

    fn record(&self, event: AuditEvent) {
        self.1.record(event);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_not_waited_for_and_takes_no_room_in_the_audit() {
    let world = World::new(ENGINEERS).await;
    let room = Arc::new(Room::default());
    let parts = crate::support::parts(world.store.clone(), &world.clock, room.clone());
    let config = configuration(world.idp.issuer(), ENGINEERS);
    let server = portunus_keyserver::KeyServer::new(config, parts).await.unwrap();
    let world = World { server, ..world };
    let began = tokio::time::Instant::now();
    let request = Request::post("/oauth/token").header("content-type", "application/json");
    let request = request.body(Body::new(Trickle(Some(Bytes::from_static(b"{"))))).unwrap();
    let mut call = Box::pin(world.call(request));
    for _ in 0..100 {
        assert!(futures_poll(&mut call).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(room.0.load(Ordering::SeqCst), 0);
    assert_eq!(call.await.error(), (400, "invalid_request"));
    assert!(began.elapsed() >= Duration::from_secs(10) && began.elapsed() < Duration::from_secs(11));
    assert_eq!(room.0.load(Ordering::SeqCst), 1);
    let outcomes: Vec<_> = room.1.events().iter().map(|event| event.outcome).collect();
    assert_eq!(outcomes, [Outcome::Refused(Reason::RequestTimeout)]);
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn too_many_keys_do_not_cost_the_token() {
    let world = World::new(ENGINEERS).await;
    let mut config = configuration(world.idp.issuer(), ENGINEERS);
    config.key_server.max_keys_per_identity = 1.try_into().unwrap();
    let server = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
    let world = World { server, ..world };
    let key = world.key("alice").await;
    let token = world.engineer("alice").id_token();
    assert_eq!(world.form(&exchange_of(&token)).await.error(), (429, "temporarily_unavailable"));
    world.server.revoke(Revoke::Key(key.key_id)).await.unwrap();
    assert_eq!(world.form(&exchange_of(&token)).await.status, 200);
}

/// A token is not taken when its use could have been forgotten, however long the store takes.
#[tokio::test]
async fn a_token_that_is_spent_too_late_gives_no_key() {
    let world = World::new(ENGINEERS).await;
    let token = BearerToken::new(world.engineer("alice").ttl(Duration::from_secs(60)).id_token());
    world.store.hold("put_if_absent");
    let (server, request) = (world.server.clone(), TokenRequest::new(token, TokenKind::Identity));
    let call = tokio::spawn(async move { server.exchange(request, Peer::default()).await });
    world.store.until_somebody_waits().await;
    world.pass(90);
    world.store.answer();
    let late = call.await.unwrap().unwrap_err();
    assert!(
        matches!(late, portunus_keyserver::ExchangeError::BadSubject(Reason::ExpiredCredential)),
        "{late:?}"
    );
}
