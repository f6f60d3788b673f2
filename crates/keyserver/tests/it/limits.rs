//! What is limited before anything is verified.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::Request;
use portunus_auth_core::audit::EventKind;
use portunus_auth_core::{AuthError, BearerToken, Outcome, Reason};
use portunus_keyserver::{ExchangeError, Peer, TokenKind, TokenRequest};
use portunus_mock::TokenFault;

use crate::support::{ENGINEERS, World, configuration, exchange_of, form, server};

fn peer(ip: &str) -> Peer {
    Peer { ip: Some(ip.parse::<IpAddr>().unwrap()), request_id: None }
}

/// A world in which an address has so many tokens a minute.
async fn limited(per_minute: &str) -> World {
    let world = World::new(ENGINEERS).await;
    let mut config = configuration(world.idp.issuer(), ENGINEERS);
    config.key_server.tokens_per_minute = match per_minute.parse() {
        Ok(most) => portunus_auth_core::Limit::At(most),
        Err(_) => portunus_auth_core::Limit::Unlimited,
    };
    let server = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
    World { server, ..world }
}

async fn post(world: &World, from: Peer, headers: &[(&str, &str)], body: String) -> crate::support::Answer {
    let mut request = Request::post("/oauth/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .extension(from);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.call(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn an_address_over_its_limit_costs_no_cryptography_and_no_fetch() {
    let world = limited("5").await;
    let forged = || world.engineer("mallory").fault(TokenFault::BadSignature).id_token();
    for _ in 0..5 {
        let answer = post(&world, peer("192.0.2.1"), &[], form(&exchange_of(&forged()))).await;
        assert_eq!(answer.error(), (400, "invalid_request"));
    }
    let good = world.engineer("mallory").id_token();
    // Whatever it says of itself, the address is the peer's (GHSA-7x63-xv5r-3p2x).
    let headers =
        [("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=198.51.100.7"), ("x-real-ip", "1.1.1.1")];
    let answer = post(&world, peer("192.0.2.1"), &headers, form(&exchange_of(&good))).await;
    assert_eq!(answer.error(), (429, "temporarily_unavailable"));
    assert_eq!(answer.headers["retry-after"], "12");
    let events = world.events();
    assert_eq!(events.len(), 6);
    assert_eq!(events[5].outcome, Outcome::Refused(Reason::RateLimited));
    assert_eq!((events[5].kind, events[5].peer), (EventKind::TokenDenied, peer("192.0.2.1").ip));
    // The others, and callers of this process, go on; and so does this one when it has waited.
    assert_eq!(post(&world, peer("192.0.2.2"), &[], form(&exchange_of(&good))).await.status, 200);
    world.key("alice").await;
    world.pass(12);
    let again = world.engineer("mallory").id_token();
    assert_eq!(post(&world, peer("192.0.2.1"), &[], form(&exchange_of(&again))).await.status, 200);
}

/// A body of which nothing ever comes.
struct Silent;

impl http_body::Body for Silent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        panic!("somebody reads the body");
    }
}

#[tokio::test]
async fn the_body_of_who_is_over_the_limit_is_not_read() {
    let world = limited("1").await;
    post(&world, peer("192.0.2.1"), &[], String::new()).await;
    let endless = Body::new(Silent);
    let request = Request::post("/oauth/token").header("content-type", "application/json");
    let answer = world.call(request.extension(peer("192.0.2.1")).body(endless).unwrap()).await;
    assert_eq!(answer.status, 429);
}

#[tokio::test]
async fn a_token_used_as_it_is_counts_when_it_is_verified_and_not_when_it_is_remembered() {
    let world = limited("2").await;
    let token = BearerToken::new(world.engineer("alice").id_token());
    for _ in 0..10 {
        world.server.verify_from(&token, peer("2001:db8::1")).await.unwrap();
    }
    let rubbish = BearerToken::new("a.b.c");
    let refused = async |from: &str| world.server.verify_from(&rubbish, peer(from)).await.unwrap_err();
    assert!(matches!(refused("2001:db8::2").await, AuthError::Malformed));
    let AuthError::TooOften { retry_after } = refused("2001:db8::ffff:3").await else { panic!() };
    assert_eq!(retry_after, Duration::from_secs(30));
    assert!(matches!(refused("2001:db8:0:1::1").await, AuthError::Malformed));
    world.server.verify_from(&token, peer("2001:db8::1")).await.unwrap();
}

#[tokio::test]
async fn exchanges_by_call_are_counted_too() {
    let world = limited("1").await;
    let exchange = async |from: Peer| {
        let token = BearerToken::new(world.engineer("alice").id_token());
        world.server.exchange(TokenRequest::new(token, TokenKind::Identity), from).await
    };
    exchange(peer("192.0.2.1")).await.unwrap();
    assert!(matches!(exchange(peer("192.0.2.1")).await, Err(ExchangeError::TooOften { .. })));
    assert_eq!(world.events().len(), 2);
    let world = limited("unlimited").await;
    for _ in 0..3000 {
        assert!(world.server.verify_from(&BearerToken::new("a.b.c"), peer("192.0.2.1")).await.is_err());
    }
    let token = BearerToken::new(world.engineer("alice").id_token());
    world.server.verify_from(&token, peer("192.0.2.1")).await.unwrap();
}

/// A rotation is no reason to refuse those who were verified before it.
#[tokio::test]
async fn a_token_that_was_good_is_not_counted_when_keys_or_policies_change() {
    let world = limited("3").await;
    let tokens: Vec<_> = ["a", "b", "c"].map(|name| BearerToken::new(world.engineer(name).id_token())).into();
    for token in &tokens {
        world.server.verify_from(token, peer("192.0.2.1")).await.unwrap();
    }
    world.idp.rotate_keys();
    world.server.verify(&BearerToken::new(world.engineer("d").id_token())).await.unwrap();
    for token in &tokens {
        world.server.verify_from(token, peer("192.0.2.1")).await.unwrap();
    }
    let new = BearerToken::new(world.engineer("e").id_token());
    let refused = world.server.verify_from(&new, peer("192.0.2.1")).await.unwrap_err();
    assert!(matches!(refused, AuthError::TooOften { .. }));
}
