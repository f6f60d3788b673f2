//! Keys that descend from others: within them in every field, and ended with them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::audit::{Actor, EventKind, KeySelection};
use portunus_auth_core::{AuthError, Outcome, Reason, Via};
use portunus_keyserver::{
    ExchangeError, IssuedKey, KeyServer, Peer, PolicyConfig, Revoke, RevokeError, StatedReason, TokenKind,
    TokenRequest,
};
use portunus_store::Store;
use proptest::prelude::*;

use crate::properties::runtime;
use crate::support::{ENGINEERS, GRANT_TYPE, Switch, World, eventually};

const KEY: (&str, &str) = ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token");

fn lives(server: &KeyServer, key: &IssuedKey) -> bool {
    server.find(&key.access_token).is_ok()
}

fn reason(result: Result<IssuedKey, ExchangeError>) -> Reason {
    match result.unwrap_err() {
        ExchangeError::BadSubject(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_gives_a_narrower_and_shorter_one_and_keeps_working() {
    let world = World::new(ENGINEERS).await;
    let parent = world.key("alice").await;
    let token = parent.access_token.expose();
    let form = [GRANT_TYPE, KEY, ("subject_token", token), ("scope", "model:claude-3-*"), ("ttl", "60")];
    for _ in 0..2 {
        let answer = world.form(&form).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json["scope"], "model:claude-3-*");
        assert_eq!(answer.json["expires_in"], 60);
        assert_eq!(answer.json["token_type"], "Bearer");
    }
    let child =
        world.narrow(&parent, |request| request.ttl = Some(Duration::from_secs(999_999))).await.unwrap();
    assert_eq!(child.grant, parent.grant, "what is not asked for is as before, and no life is longer");
    let (mine, its) =
        (world.server.find(&parent.access_token).unwrap(), world.server.find(&child.access_token).unwrap());
    assert_eq!(mine.id(), its.id());

    let events = world.events();
    let issued = events.last().unwrap();
    assert_eq!((issued.kind, issued.outcome), (EventKind::TokenIssued, Outcome::Allowed));
    assert_eq!(issued.target.jti.as_ref(), Some(&child.key_id));
    assert_eq!(issued.target.policy.as_deref(), Some("engineers"));
    let Some(Actor::Principal(actor)) = &issued.actor else { panic!("{issued:?}") };
    assert_eq!(*actor.via(), Via::Key(parent.key_id.clone()));
    let listed = world.list("?tenant=acme&iss=idp&sub=alice").await;
    let parents: Vec<_> =
        listed.json["tokens"].as_array().unwrap().iter().map(|key| &key["parent"]).collect();
    assert_eq!(parents.iter().filter(|name| ***name == *parent.key_id.0).count(), 3, "{}", listed.text);
}

#[tokio::test]
async fn a_key_is_narrowed_only_as_the_access_token_that_it_is() {
    let world = World::new(ENGINEERS).await;
    let parent = world.key("alice").await;
    for kind in ["id_token", "jwt"] {
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        let form =
            [GRANT_TYPE, ("subject_token_type", &kind), ("subject_token", parent.access_token.expose())];
        assert_eq!(world.form(&form).await.error(), (400, "invalid_request"), "{kind}");
    }
    let other = world.narrow(&parent, |request| request.policy = Some("other".into())).await;
    assert_eq!(reason(other), Reason::NoPolicy);
    assert!(world.narrow(&parent, |request| request.policy = Some("engineers".into())).await.is_ok());
    for scope in ["model:gpt-5", "role:admin", "model:*x", "rubbish"] {
        let wider = world.narrow(&parent, |request| request.scope = Some(scope.into())).await;
        assert!(matches!(wider, Err(ExchangeError::InvalidScope)), "{scope}");
    }
}

#[tokio::test]
async fn nothing_descends_from_a_key_that_does_not_work() {
    let world = World::new(ENGINEERS).await;
    let (revoked, expired) = (world.key("alice").await, world.key("alice").await);
    world.server.revoke(Revoke::Key(revoked.key_id.clone())).await.unwrap();
    assert_eq!(reason(world.narrow(&revoked, |_| {}).await), Reason::RevokedCredential);
    // Revoked by a server whose announcement did not come.
    let unheard = world.key("bob").await;
    for (name, _) in world.store.scan("ks/key/", None, 9).await.unwrap() {
        world.store.delete(&name).await.unwrap();
    }
    assert_eq!(reason(world.narrow(&unheard, |_| {}).await), Reason::RevokedCredential);
    assert!(matches!(world.server.find(&unheard.access_token), Err(AuthError::Revoked)));
    world.pass(3600);
    assert_eq!(reason(world.narrow(&expired, |_| {}).await), Reason::ExpiredCredential);
    world.store.set_off(true);
    let other = world.key_text();
    let unknown = TokenRequest::new(other, TokenKind::Access);
    let unknown = world.server.exchange(unknown, Peer::default()).await;
    assert!(matches!(unknown, Err(ExchangeError::Unavailable { reason: Reason::StoreUnavailable, .. })));
}

#[tokio::test]
async fn generations_are_bounded() {
    let world = World::new(ENGINEERS).await;
    let mut youngest = world.key("alice").await;
    for _ in 0..8 {
        youngest = world.child(&youngest).await;
    }
    assert_eq!(reason(world.narrow(&youngest, |_| {}).await), Reason::TooManyGenerations);
}

#[tokio::test]
async fn with_a_key_end_all_that_descend_from_it_and_no_others() {
    let world = World::new(ENGINEERS).await;
    let other = world.another(ENGINEERS).await;
    let (root, stranger) = (world.key("alice").await, world.key("alice").await);
    let (middle, sibling) = (world.child(&root).await, world.child(&root).await);
    let (young, youngest) = (world.child(&middle).await, world.child(&world.child(&middle).await).await);
    let nephew = world.child(&sibling).await;
    assert!(eventually(|| lives(&other, &nephew)).await);

    // The middle one, its two children, and the child of one of them.
    assert_eq!(world.server.revoke(Revoke::Key(middle.key_id.clone())).await.unwrap(), 4);
    for key in [&middle, &young, &youngest] {
        assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Revoked)));
        assert!(eventually(|| matches!(other.find(&key.access_token), Err(AuthError::Revoked))).await);
    }
    let fresh = world.another(ENGINEERS).await;
    for server in [&world.server, &other, &fresh] {
        for key in [&root, &sibling, &nephew, &stranger] {
            assert!(lives(server, key));
        }
        assert!(![&middle, &young, &youngest].iter().any(|key| lives(server, key)));
    }
    let events = world.events();
    let revocation = events.last().unwrap();
    assert_eq!((revocation.kind, revocation.target.revoked), (EventKind::TokenRevoked, Some(4)));

    // The server that never heard of the youngest ends them all the same.
    let late = world.child(&nephew).await;
    assert_eq!(fresh.revoke(Revoke::Key(root.key_id.clone())).await.unwrap(), 4);
    assert!(eventually(|| !lives(&world.server, &late) && !lives(&other, &late)).await);
    assert!(lives(&world.server, &stranger));
    assert_eq!(world.server.revoke(Revoke::Key(late.key_id)).await.unwrap(), 0);
}

/// Every order in which the steps of a narrowing and of a revocation can come is tried: the store lets others
/// run before each of its answers.
#[tokio::test]
async fn no_child_survives_the_revocation_that_it_was_issued_during() {
    let world = World::new(ENGINEERS).await;
    let other = world.another(ENGINEERS).await;
    let (mut born, mut unborn) = (0, 0);
    for round in 0..60_usize {
        let parent = world.key(&format!("alice-{round}")).await;
        assert!(eventually(|| lives(&other, &parent)).await);
        // On the same server and on another one, and the revocation sooner and later.
        let issuer = if round % 2 == 0 { world.server.clone() } else { other.clone() };
        let request = TokenRequest::new(parent.access_token.clone(), TokenKind::Access);
        let issuing = tokio::spawn(async move { issuer.exchange(request, Peer::default()).await });
        for _ in 0..round / 2 {
            tokio::task::yield_now().await;
        }
        world.server.revoke(Revoke::Key(parent.key_id.clone())).await.unwrap();
        match issuing.await.unwrap() {
            Ok(child) => {
                born += 1;
                assert!(!lives(&world.server, &child), "round {round}");
                assert!(eventually(|| !lives(&other, &child)).await, "round {round}");
                assert!(!lives(&world.another(ENGINEERS).await, &child), "round {round}");
            }
            Err(ExchangeError::BadSubject(Reason::RevokedCredential)) => unborn += 1,
            Err(other) => panic!("round {round}: {other:?}"),
        }
    }
    assert!(born > 5 && unborn > 5, "{born} born, {unborn} not: not every order was tried");
}

/// The child's server, or the one that revokes, is stopped before each of its steps, while the other one comes to
/// its end, and servers start before and after that.
#[tokio::test]
async fn no_server_that_starts_in_between_believes_in_a_child_of_a_revoked_key() {
    for revoker_waits in [false, true] {
        for steps in 0.. {
            let world = World::new(ENGINEERS).await;
            let parent = world.key("alice").await;
            let own = Arc::new(Switch::over(world.store.clone()));
            let slow = world.another_over(ENGINEERS, own.clone()).await;
            let before = world.another(ENGINEERS).await;
            let (quick, token) = (world.server.clone(), parent.access_token.clone());
            let (issuer, revoker) = if revoker_waits { (quick, slow) } else { (slow, quick) };
            let issuing = async move {
                issuer.exchange(TokenRequest::new(token, TokenKind::Access), Peer::default()).await.ok()
            };
            let revoking = async move { revoker.revoke(Revoke::Key(parent.key_id)).await.unwrap() };
            // What servers do at their start has been done.
            eventually(|| false).await;
            own.hold_after(steps);
            let (between, child);
            if revoker_waits {
                let revoking = tokio::spawn(revoking);
                eventually(|| false).await;
                between = world.another(ENGINEERS).await;
                child = issuing.await;
                own.answer();
                revoking.await.unwrap();
            } else {
                let issuing = tokio::spawn(issuing);
                eventually(|| false).await;
                between = world.another(ENGINEERS).await;
                revoking.await;
                let after = world.another(ENGINEERS).await;
                own.answer();
                child = issuing.await.unwrap();
                eventually(|| false).await;
                assert!(child.as_ref().is_none_or(|child| !lives(&after, child)), "after {steps} steps");
            }
            let was_held = own.holds_somebody();
            eventually(|| false).await;
            let last = world.another(ENGINEERS).await;
            for server in [&world.server, &before, &between, &last] {
                let lives = child.as_ref().is_some_and(|child| lives(server, child));
                assert!(!lives, "after {steps} steps, the revoker waits: {revoker_waits}");
            }
            if !was_held {
                assert!(steps > 5, "{steps}");
                break;
            }
        }
    }
}

/// The store fails after each number of steps. Here nothing works any more whatever happens; elsewhere nothing
/// does once the revocation was repeated.
#[tokio::test]
async fn a_revocation_that_failed_anywhere_is_completed_by_repeating_it() {
    for by_holder in [false, true] {
        let world = World::new(ENGINEERS).await;
        let other = world.another(ENGINEERS).await;
        for steps in 0.. {
            let root = world.key(&format!("alice-{steps}")).await;
            let child = world.child(&root).await;
            let grandchild = world.child(&child).await;
            let family = [root, child, grandchild];
            assert!(eventually(|| family.iter().all(|key| lives(&other, key))).await);
            world.store.fail_after(steps);
            let first = world.server.revoke(Revoke::Key(family[0].key_id.clone())).await;
            world.store.set_off(false);
            assert!(!family.iter().any(|key| lives(&world.server, key)), "after {steps} steps");
            if first.is_ok() {
                assert!(steps > 8, "{steps} steps");
                break;
            }
            assert!(matches!(first, Err(RevokeError::Store(_))));
            if by_holder {
                world.server.give_back(&family[0].access_token).await.unwrap();
            } else {
                world.server.revoke(Revoke::Key(family[0].key_id.clone())).await.unwrap();
            }
            assert!(eventually(|| !family.iter().any(|key| lives(&other, key))).await, "after {steps} steps");
            let fresh = world.another(ENGINEERS).await;
            assert!(!family.iter().any(|key| lives(&fresh, key)), "after {steps} steps");
        }
    }
}

/// A server that dies in the middle leaves marks, and whoever starts next goes on.
#[tokio::test]
async fn a_server_that_starts_brings_revocations_to_their_end() {
    let world = World::new(ENGINEERS).await;
    let stranger = world.key("bob").await;
    for steps in 0.. {
        let root = world.key(&format!("alice-{steps}")).await;
        let child = world.child(&root).await;
        world.store.fail_after(steps);
        let first = world.server.revoke(Revoke::Key(root.key_id.clone())).await;
        world.store.set_off(false);
        let started = world.another(ENGINEERS).await;
        // Before its first step in the index, nothing was decided.
        let decided = steps > 1;
        assert_eq!([&root, &child].iter().all(|key| !lives(&started, key)), decided, "after {steps} steps");
        assert!(lives(&started, &stranger));
        if first.is_ok() {
            assert!(steps > 5, "{steps} steps");
            break;
        }
    }
}

/// All of a family are announced as revoked before any record is deleted.
#[tokio::test]
async fn the_other_servers_hear_of_a_revocation_before_anything_else_can_fail() {
    let world = World::new(ENGINEERS).await;
    let other = world.another(ENGINEERS).await;
    let root = world.key("alice").await;
    let family = [world.child(&root).await, world.child(&root).await, root];
    assert!(eventually(|| family.iter().all(|key| lives(&other, key))).await);
    // Reads and swaps the index, announces; the first deletion fails.
    world.store.fail_after(3);
    assert!(world.server.revoke(Revoke::Key(family[2].key_id.clone())).await.is_err());
    world.store.set_off(false);
    assert!(eventually(|| !family.iter().any(|key| lives(&other, key))).await);
}

#[tokio::test]
async fn a_revocation_of_many_ends_the_descendants_too() {
    let world = World::new(ENGINEERS).await;
    let other = world.another(ENGINEERS).await;
    let parent = world.key("alice").await;
    world.pass(60);
    let (child, later) = (world.child(&parent).await, world.key("bob").await);
    assert!(eventually(|| lives(&other, &later)).await);
    let mut before = KeySelection::default();
    before.issued_before =
        Some(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(crate::support::NOW + 30));
    let matched = other.revoke_selected(before, StatedReason::new("leaked").unwrap()).await.unwrap();
    assert_eq!((matched.keys, matched.identities), (2, 1));
    assert!(eventually(|| !lives(&world.server, &child)).await);
    assert!(!lives(&other, &child) && !lives(&other, &parent) && lives(&other, &later));
    assert!(!lives(&world.another(ENGINEERS).await, &child));
}

#[tokio::test]
async fn policies_that_take_a_key_back_take_its_descendants_back() {
    let world = World::new(ENGINEERS).await;
    let parent = world.key("alice").await;
    let child = world.narrow(&parent, |request| request.scope = Some("model:claude-*".into())).await.unwrap();
    let fewer: Vec<PolicyConfig> = crate::support::configuration(
        world.idp.issuer(),
        &ENGINEERS.replace(r#"["gpt-4o*", "claude-*"]"#, r#"["claude-*"]"#),
    )
    .policies;
    world.server.reload_policies(&fewer).await.unwrap();
    assert!(!lives(&world.server, &parent) && !lives(&world.server, &child));
    let revocations = world.events().into_iter().filter(|event| event.kind == EventKind::TokenRevoked);
    assert!(revocations.map(|event| event.outcome).all(|outcome| outcome == Outcome::Allowed));
}

#[tokio::test]
async fn a_reload_that_failed_anywhere_is_completed_by_repeating_it() {
    let nobody = ENGINEERS.replace(r#"groups = ["eng"]"#, r#"groups = ["nobody"]"#);
    for steps in 0.. {
        let world = World::new(ENGINEERS).await;
        let key = world.key("alice").await;
        let policies = crate::support::configuration(world.idp.issuer(), &nobody).policies;
        eventually(|| false).await;
        world.store.fail_after(steps);
        let failed = world.server.reload_policies(&policies).await.is_err();
        world.store.set_off(false);
        world.server.reload_policies(&policies).await.unwrap();
        assert!(!lives(&world.server, &key), "after {steps} steps");
        assert!(!lives(&world.another(ENGINEERS).await, &key), "after {steps} steps");
        if !failed {
            assert!(steps > 5, "{steps}");
            break;
        }
    }
}

#[tokio::test]
async fn children_take_up_half_of_what_their_owner_may_have_and_race_for_the_last_place() {
    let ten = NonZeroUsize::new(10).unwrap();
    let world = World::configured(ENGINEERS, |config| config.max_keys_per_identity = ten).await;
    let parent = world.key("alice").await;
    let attempts: Vec<_> = (0..20)
        .map(|_| {
            let (server, token) = (world.server.clone(), parent.access_token.clone());
            let request = TokenRequest::new(token, TokenKind::Access);
            tokio::spawn(async move { server.exchange(request, Peer::default()).await })
        })
        .collect();
    let mut issued = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(_) => issued += 1,
            Err(ExchangeError::TooManyKeys { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(issued, 5);
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(world.key("alice").await);
    }
    let token = world.engineer("alice").id_token();
    assert!(matches!(world.exchange(token).await, Err(ExchangeError::TooManyKeys { .. })));
    world.server.revoke(Revoke::Key(others.remove(0).key_id)).await.unwrap();
    let more = world.narrow(&parent, |_| {}).await;
    assert!(matches!(more, Err(ExchangeError::TooManyKeys { .. })));
    assert_eq!(world.server.revoke(Revoke::Key(parent.key_id)).await.unwrap(), 6);
    world.key("alice").await;
}

fn scopes() -> impl Strategy<Value = Option<String>> {
    let scope =
        ("(model|tool|role|upstream)", "[ab*]{1,3}").prop_map(|(kind, text)| format!("{kind}:{text}"));
    prop::option::of(prop::collection::vec(scope, 1..5).prop_map(|scopes| scopes.join(" ")))
}

const WIDE: &str = r#"
[[policies]]
name = "wide"
match = { issuer = "idp", groups = ["eng"] }
grant = { models = ["a*", "b*"], tools = ["a*", "*b"], roles = "all", upstreams = ["*a*", "b"], tier = "t", ttl = "1h" }
"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_child_lies_within_its_parent(
        asked in prop::collection::vec((scopes(), prop::option::of(1..5000_u64), 0..900_u64), 1..4),
    ) {
        runtime().block_on(async {
            let world = World::new(WIDE).await;
            let mut parent = world.key("alice").await;
            for (scope, ttl, wait) in asked {
                world.pass(wait);
                let child = world.narrow(&parent, |request| {
                    request.scope.clone_from(&scope);
                    request.ttl = ttl.map(Duration::from_secs);
                });
                let Ok(child) = child.await else { continue };
                assert!(parent.grant.covers(&child.grant), "{:?} within {:?}", child.grant, parent.grant);
                assert_eq!(*world.server.find(&child.access_token).unwrap().grant(), child.grant);
                parent = child;
            }
        });
    }
}
