//! Issuers that are down, rotate their keys, or publish nonsense.

use std::time::Duration;

use portunus_auth_core::audit::EventKind;
use portunus_auth_core::{Outcome, Reason};
use portunus_keyserver::ExchangeError;
use portunus_mock::{Fault, TokenFault};

use crate::support::{ENGINEERS, World, exchange_of};

const JWKS: &str = "/jwks.json";

fn is_down(result: &Result<portunus_keyserver::IssuedKey, ExchangeError>) -> bool {
    matches!(result, Err(ExchangeError::Unavailable { reason: Reason::IssuerUnavailable, .. }))
}

#[tokio::test]
async fn a_server_starts_without_its_issuer_and_finds_it_later() {
    let world = World::new(ENGINEERS).await;
    world.idp.set_down(true);
    let token = world.engineer("alice").id_token();
    let answer = world.form(&exchange_of(&token)).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(world.events()[0].outcome, Outcome::Failed(Reason::IssuerUnavailable));
    world.idp.set_down(false);
    // The token was not spent on the failure.
    world.exchange(token).await.unwrap();
    let kinds: Vec<_> = world.audit.events().iter().map(|event| event.kind).collect();
    assert!(kinds.contains(&EventKind::JwksFailed) && kinds.contains(&EventKind::JwksRefreshed));
}

#[tokio::test]
async fn many_who_wait_for_the_first_keys_share_one_fetch() {
    let world = World::new(ENGINEERS).await;
    let tries: Vec<_> = (0..32)
        .map(|n| {
            let token = world.engineer(&format!("user-{n}")).id_token();
            let server = world.server.clone();
            tokio::spawn(async move { server.verify(&portunus_auth_core::BearerToken::new(token)).await })
        })
        .collect();
    for one in tries {
        one.await.unwrap().unwrap();
    }
    assert_eq!(world.idp.count(JWKS), 1);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_the_issuer_a_handful_of_fetches() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    let forged = world.engineer("mallory").fault(TokenFault::UnknownKid).id_token();
    let (header, rest) = forged.split_once('.').unwrap();
    assert!(!header.is_empty());
    use base64::Engine;
    let encode = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    for n in 0..10_000 {
        let header = encode(format!(r#"{{"alg":"RS256","kid":"invented-{n}"}}"#));
        let token = portunus_auth_core::BearerToken::new(format!("{header}.{rest}"));
        assert!(world.server.verify(&token).await.is_err());
    }
    assert!(world.idp.count(JWKS) <= 3, "{}", world.idp.count(JWKS));
    // One more for each minute that passes, not one for each token.
    for minute in 1..=3 {
        world.pass(60);
        for n in 0..100 {
            let header = encode(format!(r#"{{"alg":"RS256","kid":"again-{minute}-{n}"}}"#));
            let token = portunus_auth_core::BearerToken::new(format!("{header}.{rest}"));
            assert!(world.server.verify(&token).await.is_err());
        }
        assert!(world.idp.count(JWKS) <= 3 + minute, "{}", world.idp.count(JWKS));
    }
    world.key("alice").await;
}

#[tokio::test]
async fn the_same_unknown_key_does_not_use_up_the_fetches() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    let forged = world.engineer("mallory").fault(TokenFault::UnknownKid).id_token();
    for _ in 0..100 {
        assert!(world.exchange(forged.clone()).await.is_err());
    }
    assert_eq!(world.idp.count(JWKS), 2);
    world.idp.rotate_keys();
    world.key("alice").await;
}

#[tokio::test]
async fn a_rotated_key_is_found_at_once_and_a_retired_one_refused_after_renewal() {
    let world = World::new(ENGINEERS).await;
    let (old, again) = (world.engineer("alice").id_token(), world.engineer("alice").id_token());
    world.key("alice").await;
    world.idp.rotate_keys();
    world.key("alice").await;
    assert_eq!(world.idp.count(JWKS), 2);
    world.exchange(old).await.unwrap();
    world.idp.retire_keys();
    world.pass(15 * 60);
    world.key("alice").await;
    let Err(ExchangeError::BadSubject(reason)) = world.exchange(again).await else { panic!() };
    assert_eq!(reason, Reason::UnknownKey);
}

#[tokio::test]
async fn keys_that_are_held_outlive_a_bad_day_but_not_two() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    for fault in [Fault::status(500), Fault::Malformed, Fault::Oversized] {
        world.idp.fail_next(100, fault);
    }
    for _ in 0..23 {
        world.pass(3600);
        world.key("alice").await;
    }
    world.pass(3600);
    let token = world.engineer("alice").id_token();
    assert!(is_down(&world.exchange(token).await));
}

#[tokio::test]
async fn an_outage_does_not_make_every_caller_try_anew() {
    let world = World::new(ENGINEERS).await;
    world.idp.set_down(true);
    for _ in 0..50 {
        assert!(is_down(&world.exchange(world.engineer("alice").id_token()).await));
    }
    let tried = world.idp.count("/.well-known/openid-configuration");
    assert!((1..=3).contains(&tried), "{tried}");
    world.idp.set_down(false);
    world.pass(60);
    world.key("alice").await;
}

#[tokio::test]
async fn keys_are_renewed_ahead_without_anybody_waiting() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    assert_eq!(world.idp.count(JWKS), 1);
    // Beyond 90 percent of a quarter of an hour.
    world.pass(14 * 60);
    world.key("alice").await;
    for _ in 0..1_000_000 {
        if world.idp.count(JWKS) == 2 {
            return;
        }
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
    panic!("nobody renewed the keys");
}

#[tokio::test]
async fn a_token_of_an_unknown_issuer_reaches_nobody() {
    let world = World::new(ENGINEERS).await;
    let token = world.engineer("alice").issuer("http://127.0.0.1:9").id_token();
    assert!(world.exchange(token).await.is_err());
    let none = world.engineer("alice").fault(TokenFault::AlgNone).id_token();
    assert!(world.exchange(none).await.is_err());
    assert!(world.idp.requests().is_empty());
}

#[tokio::test]
async fn discovery_of_another_issuer_is_refused() {
    let clock = crate::support::clock();
    let idp = crate::support::idp(&clock);
    let world = World::new(ENGINEERS).await;
    // Its discovery document says 127.0.0.1, so as `localhost` it is somebody else.
    let alias = idp.issuer().replace("127.0.0.1", "localhost");
    let config = crate::support::configuration(&alias, ENGINEERS);
    let server = crate::support::server(config, world.store.clone(), &clock, &world.audit).await.unwrap();
    let token = world.engineer("alice").issuer(alias).ttl(Duration::from_secs(60)).id_token();
    let world = World { server, ..world };
    assert!(is_down(&world.exchange(token).await));
    assert_eq!(idp.count(JWKS), 0);
}

#[tokio::test]
async fn keys_may_be_where_the_configuration_says() {
    let world = World::new(ENGINEERS).await;
    let mut config = crate::support::configuration("https://issuer.example", ENGINEERS);
    config.issuers[0].jwks_uri = Some(world.idp.jwks_uri());
    let server = crate::support::server(config, world.store.clone(), &world.clock, &world.audit).await;
    let world = World { server: server.unwrap(), ..world };
    world.exchange(world.engineer("alice").issuer("https://issuer.example").id_token()).await.unwrap();
    assert_eq!(world.idp.count("/.well-known/openid-configuration"), 0);
}
