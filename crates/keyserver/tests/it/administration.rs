//! The administrator's routes: listing keys, and revoking many.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use portunus_auth_core::audit::{Actor, EventKind, KeySelection};
use portunus_auth_core::{AuthError, Clock, Outcome, Reason};
use portunus_keyserver::{IssuedKey, Matched, RevokeError, StatedReason};
use portunus_store::Store;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{ADMIN, ENGINEERS, World, admin, eventually};

/// Engineers, operators, and their own rule for each.
const TWO_POLICIES: &str = r#"
[[policies]]
name = "operators"
match = { issuer = "idp", groups = ["ops"] }
grant = { models = "all", tier = "standard", ttl = "1h" }

[[policies]]
name = "engineers"
match = { issuer = "idp", groups = ["eng"] }
grant = { models = ["gpt-4o*"], tier = "standard", ttl = "1h" }
"#;

async fn operator(world: &World, subject: &str) -> IssuedKey {
    let token = world.engineer(subject).claim("groups", vec!["ops"]).id_token();
    world.exchange(token).await.unwrap()
}

fn names(answer: &Value) -> Vec<String> {
    let tokens = answer["tokens"].as_array().unwrap();
    tokens.iter().map(|token| token["jti"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn keys_are_listed_page_by_page_without_their_text() {
    let world = World::new(ENGINEERS).await;
    let mut issued = Vec::new();
    for subject in ["alice", "bob", "alice", "carol", "alice"] {
        issued.push(world.key(subject).await);
        world.pass(1);
    }
    world.server.revoke(portunus_keyserver::Revoke::Key(issued[3].key_id.clone())).await.unwrap();
    let live: Vec<_> = [0, 1, 2, 4].map(|place: usize| issued[place].key_id.to_string()).into();
    let mut seen = Vec::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let answer = world.list(&query).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.headers["cache-control"], "no-store");
        for key in &issued {
            assert!(!answer.text.contains(key.access_token.expose()));
        }
        seen.extend(names(&answer.json));
        let Some(cursor) = answer.json["next_cursor"].as_str() else { break };
        query = format!("?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, live);
    let of = async |query: &str| names(&world.list(query).await.json);
    assert_eq!(of("?tenant=acme&iss=idp&sub=bob").await, live[1..2]);
    assert_eq!(of("?tenant=acme&iss=idp&sub=alice&limit=2").await, [&*live[0], &live[2]]);
    assert_eq!(of(&format!("?tenant=acme&iss=idp&sub=alice&cursor={}", live[2])).await, live[3..]);
    assert_eq!(of("?sub=alice").await, [&*live[0], &live[2], &live[3]]);
    assert_eq!(of("?tenant=another").await, [""; 0]);
    assert_eq!(of("?iss=another").await, [""; 0]);
    let first = &world.list("?limit=1").await.json["tokens"][0];
    let expected = json!({
        "jti": live[0], "tenant": "acme", "iss": "idp", "sub": "alice", "policy": "engineers",
        "scope": issued[0].scope, "tier": "standard",
        "iat": crate::support::NOW, "exp": crate::support::NOW + 3600,
    });
    assert_eq!(*first, expected);
    world.pass(3600);
    assert_eq!(of("").await, [""; 0]);
}

#[tokio::test]
async fn a_listing_looks_at_a_bounded_number_of_keys() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    // As if alice had been given some thousand keys that are gone by now.
    let (_, value) = world.store.scan("ks/jti/", None, 1).await.unwrap().remove(0);
    for n in 0..2_005 {
        let name = format!("ks/jti/00000000-0000-7000-8000-{n:012}");
        world.store.put(&name, &value, None).await.unwrap();
    }
    let bob = world.key("bob").await.key_id.to_string();
    let first = world.list("?sub=bob").await.json;
    assert_eq!(names(&first), [""; 0]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = world.list(&format!("?sub=bob&cursor={cursor}")).await.json;
    assert_eq!(names(&second), [&*bob]);
    assert!(second["next_cursor"].is_null());
    // Who is fully named is found without looking at others.
    let asked = world.store.asked();
    assert_eq!(names(&world.list("?tenant=acme&iss=idp&sub=bob").await.json), [&*bob]);
    assert_eq!(world.store.asked() - asked, 2);
}

#[tokio::test]
async fn more_owners_than_are_dealt_with_at_once_are_all_dealt_with() {
    let world = World::new(ENGINEERS).await;
    for n in 0..80 {
        world.key(&format!("user-{}", n / 2)).await;
    }
    let revoked = world.revoke_many(json!({"tenant": "acme", "reason": "all"}).to_string()).await;
    assert_eq!(revoked.json, json!({"revoked": 80, "matched_identities": 40}));
    assert_eq!(names(&world.list("").await.json), [""; 0]);
    assert_eq!(world.store.scan_all("ks/key/").await + world.store.scan_all("ks/owner/").await, 0);
}

#[tokio::test]
async fn a_query_that_is_not_understood_lists_nothing() {
    let world = World::new(ENGINEERS).await;
    world.key("alice").await;
    let wrong = [
        "?tenat=acme",
        "?tenant=",
        "?tenant=a&tenant=b",
        "?tenant=a%20b",
        "?sub=",
        "?limit=0",
        "?limit=201",
        "?limit=-1",
        "?limit=x",
        "?cursor=x",
        "?cursor=",
        "?x",
    ];
    for query in wrong {
        assert_eq!(world.list(query).await.error(), (400, "invalid_request"), "{query}");
    }
    let events = world.events();
    assert_eq!(events.len(), 1 + wrong.len());
    for event in &events[1..] {
        assert_eq!(event.kind, EventKind::AdminListed);
        assert_eq!(event.outcome, Outcome::Refused(Reason::MalformedRequest));
    }
}

#[tokio::test]
async fn many_keys_are_revoked_by_what_is_selected_and_no_others() {
    let world = World::new(TWO_POLICIES).await;
    let other = world.another(TWO_POLICIES).await;
    let old = world.key("alice").await;
    world.pass(60);
    let between = world.clock.now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (alice, bob, ops) = (world.key("alice").await, world.key("bob").await, operator(&world, "bob").await);
    let alive = |keys: [&IssuedKey; 4]| keys.map(|key| world.server.find(&key.access_token).is_ok());
    assert!(eventually(|| other.find(&ops.access_token).is_ok()).await);
    let revoke = async |body: Value| {
        let answer = world.revoke_many(body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json
    };
    let answer = revoke(json!({"iss": "idp", "issued_before": between, "reason": "leak"})).await;
    assert_eq!(answer, json!({"revoked": 1, "matched_identities": 1}));
    assert_eq!(alive([&old, &alice, &bob, &ops]), [false, true, true, true]);
    revoke(json!({"policy": "operators", "reason": "leak"})).await;
    assert_eq!(alive([&old, &alice, &bob, &ops]), [false, true, true, false]);
    revoke(json!({"iss": "idp", "sub": "bob", "reason": "left"})).await;
    assert_eq!(alive([&old, &alice, &bob, &ops]), [false, true, false, false]);
    let again = world.key("bob").await;
    let answer = revoke(json!({"tenant": "acme", "reason": "incident \"7\""})).await;
    assert_eq!(answer, json!({"revoked": 2, "matched_identities": 2}));
    for key in [&old, &alice, &bob, &ops, &again] {
        assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Revoked)));
        assert!(eventually(|| other.find(&key.access_token).is_err()).await);
    }
    let event = world.events().pop().unwrap();
    assert_eq!((event.kind, event.outcome), (EventKind::TokenRevoked, Outcome::Allowed));
    assert!(matches!(event.actor, Some(Actor::Admin)));
    assert_eq!(
        serde_json::to_value(&event).unwrap()["target"],
        json!({"revoked": 2, "identities": 2, "selection": {"tenant": "acme"}, "stated_reason": "incident \"7\""})
    );
    assert_eq!(world.key("bob").await.scope, "model:gpt-4o*");
}

#[tokio::test]
async fn a_revocation_of_nobody_says_so() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    for body in [
        json!({"tenant": "another", "reason": "x"}),
        json!({"iss": "another", "sub": "alice", "reason": "x"}),
        json!({"tenant": "acme", "iss": "idp", "sub": "Alice", "reason": "x"}),
        json!({"policy": "engineer", "reason": "x"}),
        json!({"tenant": "acme", "issued_before": 1, "reason": "x"}),
    ] {
        assert_eq!(world.revoke_many(body.to_string()).await.error(), (404, "not_found"), "{body}");
        assert_eq!(world.events().last().unwrap().outcome, Outcome::Refused(Reason::NotFound));
    }
    assert!(world.server.find(&key.access_token).is_ok());
}

#[tokio::test]
async fn a_revocation_that_selects_nothing_in_particular_is_refused() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let long = "x".repeat(257);
    let bad = [
        json!({"reason": "x"}).to_string(),
        json!({"tenant": "acme"}).to_string(),
        json!({"tenant": null, "reason": "x"}).to_string(),
        json!({"tenant": "acme", "iss": "idp", "sub": null, "reason": "x"}).to_string(),
        json!({"sub": "alice", "reason": "x"}).to_string(),
        json!({"tenant": "acme", "sub": "alice", "reason": "x"}).to_string(),
        json!({"iss": "", "reason": "x"}).to_string(),
        json!({"policy": "", "reason": "x"}).to_string(),
        json!({"tenant": "", "reason": "x"}).to_string(),
        json!({"tenant": "acme", "reason": ""}).to_string(),
        json!({"tenant": "acme", "reason": " "}).to_string(),
        json!({"tenant": "acme", "reason": "a\r\nb"}).to_string(),
        json!({"tenant": "acme", "reason": "\u{1b}[2J"}).to_string(),
        json!({"tenant": "acme", "reason": long}).to_string(),
        json!({"tenant": "acme", "reason": "x", "subject": "alice"}).to_string(),
        json!({"tenant": "acme", "reason": "x", "email": "a@b.c"}).to_string(),
        json!({"tenant": "acme", "issued_before": "1", "reason": "x"}).to_string(),
        json!({"tenant": "acme", "issued_before": -1, "reason": "x"}).to_string(),
        json!({"tenant": ["acme"], "reason": "x"}).to_string(),
        r#"{"tenant":"acme","tenant":"acme","reason":"x"}"#.to_owned(),
        r#"[]"#.to_owned(),
        String::new(),
    ];
    for body in &bad {
        assert_eq!(world.revoke_many(body.as_str()).await.error(), (400, "invalid_request"), "{body}");
    }
    assert_eq!(world.events().len(), 1 + bad.len());
    let why = StatedReason::new("x").unwrap();
    let nothing = world.server.revoke_selected(KeySelection::default(), why.clone()).await;
    assert!(matches!(nothing, Err(RevokeError::Unselected)));
    let mut subject = KeySelection::default();
    subject.subject = Some("alice".into());
    assert!(matches!(world.server.revoke_selected(subject, why).await, Err(RevokeError::Unselected)));
    assert!(world.server.find(&key.access_token).is_ok());
}

#[tokio::test]
async fn without_the_store_many_do_not_work_here_and_a_retry_ends_them_everywhere() {
    let world = World::new(ENGINEERS).await;
    let (one, two) = (world.key("alice").await, world.key("bob").await);
    let other = world.another(ENGINEERS).await;
    let body = json!({"tenant": "acme", "reason": "x"}).to_string();
    world.store.hold("publish");
    let (server, mut which) = (world.server.clone(), KeySelection::default());
    which.issuer = Some("idp".into());
    let why = StatedReason::new("x").unwrap();
    let call = tokio::spawn(async move { server.revoke_selected(which, why).await.is_err() });
    world.store.until_somebody_waits().await;
    world.store.set_off(true);
    world.store.answer();
    assert!(call.await.unwrap());
    assert_eq!(world.revoke_many(body.as_str()).await.error(), (503, "temporarily_unavailable"));
    assert_eq!(world.list("").await.error(), (503, "temporarily_unavailable"));
    for key in [&one, &two] {
        assert!(matches!(world.server.find(&key.access_token), Err(AuthError::Revoked)));
    }
    world.store.set_off(false);
    let answer = world.revoke_many(body).await;
    assert_eq!(answer.json, json!({"revoked": 2, "matched_identities": 2}));
    for key in [&one, &two] {
        assert!(eventually(|| other.find(&key.access_token).is_err()).await);
    }
    let why = StatedReason::new("again").unwrap();
    let mut all = KeySelection::default();
    all.issued_before = Some(world.clock.now() + Duration::from_secs(1));
    let again = world.server.revoke_selected(all, why).await.unwrap();
    assert_eq!((again.keys, again.identities), (0, 0));
}

#[tokio::test]
async fn a_revocation_of_many_ends_whether_or_not_anybody_waits_for_it() {
    let world = World::new(ENGINEERS).await;
    let keys = [world.key("alice").await, world.key("bob").await];
    world.store.hold("delete");
    let (server, mut which) = (world.server.clone(), KeySelection::default());
    which.issuer = Some("idp".into());
    let call =
        tokio::spawn(async move { server.revoke_selected(which, StatedReason::new("x").unwrap()).await });
    world.store.until_somebody_waits().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    world.store.answer();
    assert!(eventually(|| world.events().len() == 3).await);
    assert_eq!(world.events()[2].target.revoked, Some(2));
    assert!(keys.iter().all(|key| world.server.find(&key.access_token).is_err()));
    assert_eq!(world.store.scan_all("ks/key/").await, 0);
}

#[tokio::test]
async fn only_the_administrator_reaches_any_of_it() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let holder = format!("Bearer {}", key.access_token.expose());
    let jti = format!("/admin/tokens/{}", key.key_id);
    let routes = [("GET", "/admin/tokens"), ("POST", "/admin/revocations"), ("DELETE", jti.as_str())];
    for (method, path) in routes {
        for authorization in ["", "Bearer", "Bearer x", ADMIN, &holder, &format!("Bearer {ADMIN}x")] {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("authorization", authorization);
            let body = json!({"tenant": "acme", "reason": "x"}).to_string();
            let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
            let answer = world.call(request).await;
            assert_eq!(answer.error(), (401, "invalid_token"), "{method} {path} {authorization}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            let event = world.events().pop().unwrap();
            assert_eq!(event.kind, EventKind::AdminDenied);
            assert_eq!(event.outcome, Outcome::Refused(Reason::Unauthorized));
        }
    }
    assert_eq!(world.events().len(), 1 + 3 * 6);
    let request = Request::delete(&jti).header("authorization", admin()).body(Body::empty()).unwrap();
    assert_eq!(world.call(request).await.status, 204);
}

#[tokio::test]
async fn without_an_administrators_token_every_administrators_route_refuses() {
    let world = World::new(ENGINEERS).await;
    let mut config = crate::support::configuration(world.idp.issuer(), ENGINEERS);
    config.key_server.admin = None;
    let server = crate::support::server(config, world.store.clone(), &world.clock, &world.audit).await;
    let world = World { server: server.unwrap(), ..world };
    assert_eq!(world.list("").await.error(), (401, "invalid_token"));
    let body = json!({"tenant": "acme", "reason": "x"}).to_string();
    assert_eq!(world.revoke_many(body).await.error(), (401, "invalid_token"));
    let answer = world.send("/oauth/introspect", &admin(), &[("token", "x")]).await;
    assert_eq!(answer.error(), (401, "invalid_client"));
}

#[derive(Clone, Debug)]
struct Picked {
    issuer: bool,
    subject: Option<usize>,
    policy: Option<bool>,
    before: Option<u64>,
}

fn picked() -> impl Strategy<Value = Picked> {
    let parts = (
        any::<bool>(),
        prop::option::of(0..3_usize),
        prop::option::of(any::<bool>()),
        prop::option::of(0..8_u64),
    );
    parts.prop_map(|(issuer, subject, policy, before)| Picked {
        issuer: issuer || subject.is_some() || (policy.is_none() && before.is_none()),
        subject,
        policy,
        before,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is revoked is exactly what is like every part of the selection, and the count says so.
    #[test]
    fn exactly_the_selected_keys_end(
        issued in prop::collection::vec((0..3_usize, any::<bool>()), 1..7),
        picked in picked(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new(TWO_POLICIES).await;
            let mut keys = Vec::new();
            for (place, (subject, is_operator)) in issued.iter().enumerate() {
                let subject = format!("user-{subject}");
                let key = if *is_operator { operator(&world, &subject).await } else { world.key(&subject).await };
                keys.push((key, place as u64));
                world.pass(1);
            }
            let mut which = KeySelection::default();
            which.issuer = picked.issuer.then(|| "idp".into());
            which.subject = picked.subject.map(|n| format!("user-{n}").into());
            let name = |is_operator| if is_operator { "operators" } else { "engineers" };
            which.policy = picked.policy.map(|is_operator| name(is_operator).into());
            let start = world.clock.now() - Duration::from_secs(issued.len() as u64);
            which.issued_before = picked.before.map(|seconds| start + Duration::from_secs(seconds));
            let is_meant = |place: u64, (subject, is_operator): (usize, bool)| {
                picked.subject.is_none_or(|meant| meant == subject)
                    && picked.policy.is_none_or(|meant| meant == is_operator)
                    && picked.before.is_none_or(|before| place < before)
            };
            let listed = world.server.list(&which, None, 100.try_into().unwrap()).await.unwrap();
            let why = StatedReason::new("x").unwrap();
            let matched: Matched = world.server.revoke_selected(which, why).await.unwrap();
            let (mut count, mut owners) = (0, BTreeSet::new());
            for ((key, place), (subject, is_operator)) in keys.iter().zip(&issued) {
                let meant = is_meant(*place, (*subject, *is_operator));
                assert_eq!(world.server.find(&key.access_token).is_err(), meant);
                if meant {
                    count += 1;
                    owners.insert(*subject);
                }
            }
            assert_eq!((matched.keys, matched.identities), (count, owners.len()));
            assert_eq!(listed.keys.len(), count);
        });
    }
}
