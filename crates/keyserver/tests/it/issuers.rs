//! Issuers that are down, rotate their keys, or publish nonsense.

use std::time::{Duration, SystemTime};

use portunus_auth_core::audit::EventKind;
use portunus_auth_core::{AuthError, BearerToken, Clock, Outcome, Reason};
use portunus_keyserver::ExchangeError;
use portunus_mock::{Fault, TokenFault};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::signer::Published;
use crate::support::{ENGINEERS, NOW, World, elsewhere, eventually, exchange_of};

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
    world.pass(1);
    // The token was not spent on the failure.
    world.exchange(token).await.unwrap();
    let kinds: Vec<_> = world.audit.events().iter().map(|event| event.kind).collect();
    assert!(kinds.contains(&EventKind::JwksFailed) && kinds.contains(&EventKind::JwksRefreshed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_wait_for_the_first_keys_share_one_fetch() {
    let world = World::new(ENGINEERS).await;
    let tries: Vec<_> = (0..32)
        .map(|n| {
            let token = world.engineer(&format!("user-{n}")).id_token();
            let server = world.server.clone();
            tokio::spawn(async move { server.verify(&BearerToken::new(token)).await })
        })
        .collect();
    for one in tries {
        one.await.unwrap().unwrap();
    }
    assert_eq!(world.idp.count(JWKS), 1);
}

/// Tokens that name keys which nobody has, each another one.
fn forged(world: &World, name: &'static str) -> impl Fn(usize) -> BearerToken {
    use base64::Engine;
    let token = world.engineer("mallory").fault(TokenFault::UnknownKid).id_token();
    let (_, rest) = token.split_once('.').unwrap();
    let rest = rest.to_owned();
    move |n| {
        let header = format!(r#"{{"alg":"RS256","kid":"{name}-{n}"}}"#);
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
        BearerToken::new(format!("{header}.{rest}"))
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_the_issuer_one_fetch_in_a_minute() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    let forgery = forged(&world, "invented");
    for n in 0..10_000 {
        assert!(world.server.verify(&forgery(n)).await.is_err());
        if n % 1000 == 0 {
            world.key("alice").await;
        }
    }
    // The first keys, and one look for others.
    assert_eq!(world.idp.count(JWKS), 2);
    // One more for each minute that passes, not one for each token.
    for minute in 1..=10 {
        world.pass(60);
        for n in 0..1000 {
            assert!(world.server.verify(&forgery(20_000 * minute + n)).await.is_err());
        }
        world.key("alice").await;
        assert_eq!(world.idp.count(JWKS), 2 + minute as u64);
    }
}

/// While the issuer does not answer at all, and thousands wait for what it says about keys that do not exist.
#[tokio::test]
async fn good_tokens_are_verified_without_delay_during_a_flood() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    world.idp.fail_next(100, Fault::Hang);
    let forgery = forged(&world, "invented");
    let flood: Vec<_> = (0..10_000)
        .map(|n| {
            let (server, token) = (world.server.clone(), forgery(n));
            tokio::spawn(async move { server.verify(&token).await.is_err() })
        })
        .collect();
    // As many wait as may, for an answer that never comes.
    let waiting = || flood.iter().filter(|one| !one.is_finished()).count();
    assert!(eventually(|| waiting() < 10_000).await && waiting() > 0);
    for n in 0..100 {
        // Polled once: had it to wait for anything that is out of this process, it would not be done.
        let token = BearerToken::new(world.engineer(&format!("user-{n}")).id_token());
        let mut verifying = Box::pin(world.server.verify(&token));
        let waker = std::task::Waker::noop();
        let polled = verifying.as_mut().poll(&mut std::task::Context::from_waker(waker));
        assert!(matches!(polled, std::task::Poll::Ready(Ok(_))), "{n}");
    }
    for one in flood {
        one.abort();
    }
}

/// An issuer that hangs holds a bounded number of callers, and none of those of another issuer.
#[tokio::test]
async fn a_hanging_issuer_keeps_a_bounded_number_waiting_and_nobody_elses() {
    let world = World::new(ENGINEERS).await;
    let hanging = crate::support::idp(&world.clock);
    let more = format!(
        "[[issuers]]\nname = \"slow\"\nissuer = \"{}\"\ntenant = \"globex\"\n{ENGINEERS}",
        hanging.issuer()
    );
    let config = crate::support::configuration(world.idp.issuer(), &more);
    let server = crate::support::server(config, world.store.clone(), &world.clock, &world.audit).await;
    let world = World { server: server.unwrap(), ..world };
    hanging.fail_next(100, Fault::Hang);
    let waiting: Vec<_> = (0..1100)
        .map(|n| {
            let token = BearerToken::new(hanging.mint(format!("user-{n}")).audience("portunus").id_token());
            let server = world.server.clone();
            tokio::spawn(async move { server.verify(&token).await })
        })
        .collect();
    let done = || waiting.iter().filter(|one| one.is_finished()).count();
    assert!(eventually(|| done() == 1100 - 1024).await, "{}", done());
    world.key("alice").await;
    for one in waiting {
        if one.is_finished() {
            assert!(matches!(one.await.unwrap(), Err(AuthError::Unavailable(_))));
        } else {
            one.abort();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rotation_costs_one_fetch_however_many_come_with_the_new_key() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    world.idp.rotate_keys();
    let tries: Vec<_> = (0..64)
        .map(|n| {
            let token = BearerToken::new(world.engineer(&format!("user-{n}")).id_token());
            let server = world.server.clone();
            tokio::spawn(async move { server.verify(&token).await })
        })
        .collect();
    for one in tries {
        one.await.unwrap().unwrap();
    }
    assert_eq!(world.idp.count(JWKS), 2);
}

/// Down for a day: nobody within the bound notices, everybody beyond it is told to try again, and it heals.
#[tokio::test]
async fn a_virtual_day_without_the_issuer() {
    let world = World::new(ENGINEERS).await;
    let held = BearerToken::new(world.engineer("alice").ttl(Duration::from_secs(23 * 3600)).id_token());
    world.server.verify(&held).await.unwrap();
    world.idp.set_down(true);
    for quarter in 1..4 * 24 {
        world.pass(15 * 60);
        world.key("bob").await;
        assert_eq!(world.server.verify(&held).await.is_ok(), quarter < 4 * 23, "{quarter}");
    }
    // Tried again and again in the background, and not for every caller.
    let tried = world.idp.count("/.well-known/openid-configuration");
    assert!((2..=97).contains(&tried), "{tried}");
    world.pass(15 * 60);
    for _ in 0..3 {
        let answer = world.form(&exchange_of(&world.engineer("bob").id_token())).await;
        assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    }
    world.idp.set_down(false);
    world.pass(60);
    world.key("bob").await;
}

/// Whoever comes when the keys are due waits for newer ones, so that a withdrawn key ends; once their issuer
/// failed, nobody does.
#[tokio::test]
async fn all_wait_for_keys_that_are_due_and_nobody_after_a_failure() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    world.idp.fail_next(100, Fault::Hang);
    world.pass(15 * 60);
    let verifying = |name: &str| {
        let (server, token) = (world.server.clone(), BearerToken::new(world.engineer(name).id_token()));
        tokio::spawn(async move { server.verify(&token).await })
    };
    let waiting = [verifying("first"), verifying("second")];
    assert!(!eventually(|| waiting.iter().any(|one| one.is_finished())).await);
    for one in waiting {
        one.abort();
    }
    let failing = World::new(ENGINEERS).await;
    failing.key("alice").await;
    failing.idp.set_down(true);
    failing.pass(15 * 60);
    failing.key("bob").await;
    failing.idp.set_down(false);
    failing.idp.fail_next(100, Fault::Hang);
    failing.pass(60);
    let token = BearerToken::new(failing.engineer("carol").id_token());
    let mut third = Box::pin(failing.server.verify(&token));
    let polled = third.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(polled, std::task::Poll::Ready(Ok(_))));
}

/// A key that its issuer withdrew ends what was verified with it, also where the same few tokens come again
/// and again.
#[tokio::test]
async fn a_remembered_token_is_verified_anew_when_the_keys_are_due() {
    let world = World::new(ENGINEERS).await;
    let alice = BearerToken::new(world.engineer("alice").id_token());
    world.server.verify(&alice).await.unwrap();
    world.idp.rotate_keys();
    world.idp.retire_keys();
    world.pass(15 * 60);
    assert!(world.server.verified(&alice).is_none());
    assert!(matches!(world.server.verify(&alice).await, Err(AuthError::Unknown)));
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
    world.pass(60);
    world.key("alice").await;
    assert_eq!(world.idp.count(JWKS), 3);
}

/// A key that cannot be looked up is not a key that does not exist.
#[tokio::test]
async fn a_rotated_key_is_no_unknown_one_while_its_issuer_fails() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    world.idp.rotate_keys();
    world.idp.set_down(true);
    let token = world.engineer("alice").id_token();
    for _ in 0..3 {
        assert!(is_down(&world.exchange(token.clone()).await));
    }
    world.idp.set_down(false);
    world.pass(60);
    world.exchange(token).await.unwrap();
    assert_eq!(world.idp.count(JWKS), 2);
}

/// Traffic of a few tokens that are remembered has the keys renewed ahead like any other.
#[tokio::test]
async fn remembered_tokens_have_the_keys_renewed_ahead() {
    let world = World::new(ENGINEERS).await;
    let alice = BearerToken::new(world.engineer("alice").ttl(Duration::from_secs(3600)).id_token());
    world.server.verify(&alice).await.unwrap();
    world.pass(14 * 60);
    world.server.verify(&alice).await.unwrap();
    assert!(elsewhere(|| world.idp.count(JWKS) == 2).await);
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

/// Whether it is a new key of the issuer's or somebody's invention cannot be told.
#[tokio::test]
async fn a_token_with_a_key_that_may_be_new_is_not_refused_while_its_issuer_is_down() {
    let world = World::new(ENGINEERS).await;
    let old = world.engineer("alice").id_token();
    world.key("alice").await;
    world.idp.rotate_keys();
    let new = world.engineer("alice").id_token();
    world.idp.set_down(true);
    for _ in 0..10 {
        let answer = world.form(&exchange_of(&new)).await;
        assert_eq!(answer.error(), (503, "temporarily_unavailable"));
        let verified = world.server.verify(&BearerToken::new(new.clone())).await;
        assert!(matches!(verified, Err(AuthError::Unavailable(_))));
    }
    world.exchange(old).await.unwrap();
    world.idp.set_down(false);
    world.pass(60);
    world.exchange(new).await.unwrap();
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
    assert_eq!(tried, 1);
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
    assert!(elsewhere(|| world.idp.count(JWKS) == 2).await);
}

/// What `Cache-Control` says counts from 5 minutes to a day.
#[tokio::test]
async fn an_issuer_cannot_have_its_keys_fetched_all_the_time_or_never() {
    for (says, early, late) in [
        ("max-age=0", 239, 300),
        ("no-store, max-age=1", 239, 300),
        ("max-age=600", 479, 600),
        // Renewed ahead, after 90 percent of the time at the latest.
        ("max-age=31536000", 19 * 3600, 86_400 * 9 / 10),
        ("max-age=99999999999999999999", 719, 900),
    ] {
        let issuer = Published::new("").await;
        let keys = issuer.signer.jwks();
        let answer = ResponseTemplate::new(200).set_body_json(keys).insert_header("cache-control", says);
        issuer.answers(JWKS, answer).await;
        for (at, fetched) in [(0, 1), (early, 1), (late, 2)] {
            let passed =
                issuer.world.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() - NOW;
            issuer.world.pass(at - passed);
            let times = json!({"jti": at.to_string(), "iat": NOW + at, "exp": NOW + at + 60});
            let token = issuer.signer.sign("ES256", json!({}), &issuer.claims_but(times));
            issuer.world.exchange(token).await.unwrap();
            for _ in 0..100_000 {
                if issuer.asked(JWKS).await >= fetched {
                    break;
                }
                tokio::task::yield_now().await;
            }
            assert_eq!(issuer.asked(JWKS).await, fetched, "{says} after {at} s");
        }
    }
}

/// A caller who needs the keys of an issuer that hangs waits for a while and not for ever.
#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_is_given_up() {
    let world = World::new(ENGINEERS).await;
    world.idp.fail_next(100, Fault::Hang);
    let began = tokio::time::Instant::now();
    assert!(is_down(&world.exchange(world.engineer("alice").id_token()).await));
    assert!(began.elapsed() <= Duration::from_secs(6), "{:?}", began.elapsed());
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
