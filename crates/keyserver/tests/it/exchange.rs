//! What an exchange gives, how often, and to whom.

use std::time::Duration;

use portunus_auth_core::{AuthError, Outcome, PrincipalId, Reason, TenantId};
use portunus_keyserver::{ExchangeError, TokenRequest};
use portunus_store::Store;

use crate::support::{ENGINEERS, World, exchange_of};

#[tokio::test]
async fn a_key_lives_as_long_as_all_allow() {
    let world = World::new(&ENGINEERS.replace("8h", "30m")).await;
    let ttl = async |wanted: Option<u64>| {
        let token = world.engineer("alice").id_token();
        let ttl = wanted.map(Duration::from_secs);
        world.exchange_for(token, |request| request.ttl = ttl).await.unwrap()
    };
    assert_eq!(ttl(None).await.expires_in, Duration::from_secs(1800));
    assert_eq!(ttl(Some(86_400)).await.expires_in, Duration::from_secs(1800));
    let short = ttl(Some(60)).await;
    assert_eq!(short.expires_in, Duration::from_secs(60));
    world.pass(59);
    assert!(world.server.find(&short.access_token).is_ok());
    world.pass(1);
    assert!(matches!(world.server.find(&short.access_token), Err(AuthError::Expired)));
}

#[tokio::test]
async fn a_key_says_who_holds_it_and_what_for() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let principal = world.server.find(&key.access_token).unwrap();
    let alice =
        PrincipalId { tenant: TenantId::new("acme").unwrap(), issuer: "idp".into(), subject: "alice".into() };
    assert_eq!(*principal.id(), alice);
    assert_eq!(*principal.grant(), key.grant);
    assert!(principal.grant().models.admits("gpt-4o-mini"));
    assert!(!principal.grant().models.admits("o1"));
}

#[tokio::test]
async fn a_scope_gives_what_was_asked_for_and_nothing_else() {
    let world = World::new(ENGINEERS).await;
    let scope = async |scope: &str| {
        let token = world.engineer("alice").id_token();
        let key = world.exchange_for(token, |request| request.scope = Some(scope.to_owned())).await;
        key.map(|key| key.scope)
    };
    assert_eq!(scope("model:gpt-4o-mini").await.unwrap(), "model:gpt-4o-mini");
    assert_eq!(scope("model:*").await.unwrap(), "model:claude-* model:gpt-4o*");
    assert_eq!(
        scope("tool:search model:o1 model:claude-opus").await.unwrap(),
        "model:claude-opus tool:search"
    );
    assert!(matches!(scope("model:o1").await, Err(ExchangeError::InvalidScope)));
    assert!(matches!(scope("").await, Err(ExchangeError::InvalidScope)));
}

#[tokio::test]
async fn of_many_exchanges_of_one_token_one_succeeds() {
    let world = World::new(ENGINEERS).await;
    let token = world.engineer("alice").id_token();
    let tries = (0..16).map(|_| {
        let request = portunus_keyserver::TokenRequest::new(
            portunus_auth_core::BearerToken::new(token.clone()),
            portunus_keyserver::TokenKind::Identity,
        );
        let server = world.server.clone();
        tokio::spawn(async move { server.exchange(request, Default::default()).await.is_ok() })
    });
    let mut succeeded = 0;
    for one in tries.collect::<Vec<_>>() {
        succeeded += usize::from(one.await.unwrap());
    }
    assert_eq!(succeeded, 1);
    let replayed = Outcome::Refused(Reason::ReplayedToken);
    assert_eq!(world.events().iter().filter(|event| event.outcome == replayed).count(), 15);
}

#[tokio::test]
async fn whoever_hangs_up_leaves_one_event_too() {
    let world = World::new(ENGINEERS).await;
    world.idp.fail_next(1, portunus_mock::Fault::Hang);
    let request = portunus_keyserver::TokenRequest::new(
        portunus_auth_core::BearerToken::new(world.engineer("alice").id_token()),
        portunus_keyserver::TokenKind::Identity,
    );
    let server = world.server.clone();
    let exchange = tokio::spawn(async move { server.exchange(request, Default::default()).await });
    assert!(crate::support::elsewhere(|| !world.idp.requests().is_empty()).await);
    exchange.abort();
    assert!(exchange.await.unwrap_err().is_cancelled());
    let outcomes: Vec<_> = world.events().iter().map(|event| event.outcome).collect();
    assert_eq!(outcomes, [Outcome::Abandoned]);
}

#[tokio::test]
async fn a_token_is_remembered_until_nobody_takes_it_any_more() {
    let world = World::new(ENGINEERS).await;
    let token = world.engineer("alice").ttl(Duration::from_secs(60)).id_token();
    world.exchange(token.clone()).await.unwrap();
    // The last instant within the leeway, and the first beyond it.
    world.pass(89);
    let Err(ExchangeError::BadSubject(reason)) = world.exchange(token.clone()).await else { panic!() };
    assert_eq!(reason, Reason::ReplayedToken);
    world.pass(1);
    let Err(ExchangeError::BadSubject(reason)) = world.exchange(token).await else { panic!() };
    assert_eq!(reason, Reason::ExpiredCredential);
}

#[tokio::test]
async fn a_policy_may_let_a_token_be_used_again() {
    let world = World::new(&format!("{ENGINEERS}\nreusable_subject_token = true\n")).await;
    let token = world.engineer("alice").id_token();
    for _ in 0..3 {
        world.exchange(token.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn another_valid_signature_makes_no_other_token() {
    // Of an ECDSA signature (r, s) everybody can make (r, n - s), which is valid as well.
    let world = World::new(ENGINEERS).await;
    let mint = world.engineer("alice").without("jti").algorithm(portunus_mock::Algorithm::Es256);
    let token = mint.id_token();
    let other = with_other_s(&token);
    assert_ne!(token, other);
    world.exchange(token).await.unwrap();
    let Err(ExchangeError::BadSubject(reason)) = world.exchange(other).await else { panic!() };
    assert_eq!(reason, Reason::ReplayedToken);
}

fn with_other_s(token: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for (digit, n) in signature[32..].iter_mut().zip(N).rev() {
        let difference = i16::from(n) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 0);
        *digit = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn nobody_holds_more_keys_than_allowed_however_many_are_asked_for_at_once() {
    let world = World::new(ENGINEERS).await;
    let mut config = crate::support::configuration(world.idp.issuer(), ENGINEERS);
    config.key_server.max_keys_per_identity = 5.try_into().unwrap();
    let server = crate::support::server(config, world.store.clone(), &world.clock, &world.audit).await;
    let world = World { server: server.unwrap(), ..world };

    let exchange = |token: String| {
        let request = portunus_keyserver::TokenRequest::new(
            portunus_auth_core::BearerToken::new(token),
            portunus_keyserver::TokenKind::Identity,
        );
        let server = world.server.clone();
        tokio::spawn(async move { server.exchange(request, Default::default()).await })
    };
    let tries: Vec<_> = (0..64).map(|_| exchange(world.engineer("alice").id_token())).collect();
    let mut keys = Vec::new();
    for one in tries {
        match one.await.unwrap() {
            Ok(key) => keys.push(key),
            Err(ExchangeError::TooManyKeys { retry_after }) => assert_eq!(retry_after.as_secs(), 3600),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(keys.len(), 5);
    assert!(keys.iter().all(|key| world.server.find(&key.access_token).is_ok()));
    assert_eq!(world.store.scan("ks/key/", None, 100).await.unwrap().len(), 5);

    let answer = world.form(&exchange_of(&world.engineer("alice").id_token())).await;
    assert_eq!(answer.error(), (429, "temporarily_unavailable"));
    assert_eq!(answer.headers["retry-after"], "3600");
    world.key("bob").await;
    // A key that ended, or was taken back, makes room.
    world.server.revoke(portunus_keyserver::Revoke::Key(keys[0].key_id.clone())).await.unwrap();
    world.key("alice").await;
    world.pass(3600);
    for _ in 0..5 {
        world.key("alice").await;
    }
}

const LAYERS: &str = r#"
[[policies]]
name = "leavers"
match = { issuer = "idp", groups = ["leaving"] }
effect = "deny"

[[policies]]
name = "contractors"
match = { issuer = "idp", groups = ["contractors"] }
grant = { models = ["gpt-4o*"], tier = "standard", ttl = "10m" }

[[policies]]
name = "engineers"
match = { issuer = "idp", groups = ["eng"] }
grant = { models = "all", tools = "all", tier = "standard", ttl = "1h" }

[[policies]]
name = "heavy"
match = { issuer = "idp", groups = ["eng"] }
grant = { models = "all", tier = "heavy", ttl = "1h" }
"#;

#[tokio::test]
async fn the_first_policy_decides_and_naming_another_gives_no_more() {
    let world = World::new(LAYERS).await;
    let scope = async |groups: &[&str], policy: Option<&str>| {
        let token = world.engineer("alice").claim("groups", groups.to_vec()).id_token();
        let key = world.exchange_for(token, |request| request.policy = policy.map(str::to_owned)).await;
        key.map(|key| (key.scope, key.expires_in.as_secs()))
    };
    let refused = async |groups: &[&str], policy: Option<&str>| {
        let Err(ExchangeError::BadSubject(reason)) = scope(groups, policy).await else { panic!() };
        assert_eq!(reason, Reason::NoPolicy);
    };
    let small = ("model:gpt-4o*".to_owned(), 600);
    assert_eq!(scope(&["eng"], None).await.unwrap(), ("model:* tool:*".to_owned(), 3600));
    assert_eq!(scope(&["contractors", "eng"], None).await.unwrap(), small);
    assert_eq!(scope(&["contractors", "eng"], Some("contractors")).await.unwrap(), small);
    assert_eq!(scope(&["contractors", "eng"], Some("engineers")).await.unwrap(), small);
    refused(&["contractors"], Some("engineers")).await;
    refused(&["eng"], Some("heavy")).await;
    refused(&["eng"], Some("leavers")).await;
    refused(&["eng", "leaving"], None).await;
    refused(&["eng", "leaving"], Some("engineers")).await;
    refused(&[], None).await;
}

#[tokio::test]
async fn upstreams_narrow_and_are_asked_for_as_scopes() {
    let world = World::new(
        r#"
[[policies]]
name = "engineers"
match = { issuer = "idp", groups = ["eng"] }
grant = { models = ["gpt-4o*"], upstreams = ["azure-*"], tier = "standard", ttl = "1h" }
"#,
    )
    .await;
    let asked = async |scope: Option<&str>| {
        let token = world.engineer("alice").id_token();
        let change = |request: &mut TokenRequest| request.scope = scope.map(str::to_owned);
        world.exchange_for(token, change).await.map(|key| key.scope)
    };
    assert_eq!(asked(None).await.unwrap(), "model:gpt-4o* upstream:azure-*");
    // Models asked for keep the upstreams that go with them.
    assert_eq!(asked(Some("model:gpt-4o")).await.unwrap(), "model:gpt-4o upstream:azure-*");
    assert_eq!(
        asked(Some("model:gpt-4o upstream:azure-eu")).await.unwrap(),
        "model:gpt-4o upstream:azure-eu"
    );
    for outside in ["model:gpt-4o upstream:openai", "upstream:azure-eu", "upstream:"] {
        assert!(matches!(asked(Some(outside)).await, Err(ExchangeError::InvalidScope)), "{outside}");
    }
}
