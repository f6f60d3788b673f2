//! Introspection (RFC 7662) and revocation by the holder (RFC 7009).

use axum::body::Body;
use http::Request;
use portunus_auth_core::audit::{Actor, EventKind};
use portunus_auth_core::{BearerToken, Outcome, Reason};
use portunus_keyserver::Revoke;

use crate::support::{ADMIN, CLIENT, ENGINEERS, NOW, PUBLIC_URL, World, admin, basic, eventually, server};

const TWO_TENANTS: &str = r#"
[[policies]]
name = "engineers"
match = { issuer = "idp", groups = ["eng"] }
grant = { models = ["gpt-4o*", "claude-*"], tools = ["search"], tier = "standard", ttl = "8h" }

[[issuers]]
name = "other-idp"
issuer = "@OTHER@"
tenant = "another"

[[policies]]
name = "others"
match = { issuer = "other-idp", groups = ["eng"] }
grant = { models = "all", tier = "standard", ttl = "8h" }
"#;

async fn ask(world: &World, authorization: &str, token: &str) -> crate::support::Answer {
    world.send("/oauth/introspect", authorization, &[("token", token)]).await
}

#[tokio::test]
async fn a_live_key_is_explained_to_everybody_who_may_ask() {
    let world = World::new(ENGINEERS).await;
    let (key, mine) = (world.key("alice").await, world.key("bob").await);
    let token = key.access_token.expose();
    let form = [("token", token), ("client_id", "proxy"), ("client_secret", CLIENT)];
    let answers = [
        world.send("/oauth/introspect", "", &form).await,
        ask(&world, &basic("proxy", CLIENT), token).await,
        ask(&world, &basic("proxy", "canary%2Bclient%2525secret"), token).await,
        ask(&world, &admin(), token).await,
        ask(&world, &format!("Bearer {}", mine.access_token.expose()), token).await,
    ];
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.headers["cache-control"], "no-store");
        let expected = serde_json::json!({
            "active": true, "scope": key.scope, "client_id": "acme/idp/alice", "sub": "acme/idp/alice",
            "username": "alice", "tenant": "acme", "iss": PUBLIC_URL, "aud": "portunus",
            "exp": NOW + 3600, "iat": NOW, "nbf": NOW, "jti": key.key_id, "token_type": "Bearer",
        });
        assert_eq!(answer.json, expected);
    }
    let events = world.events();
    let asked = &events[2..];
    assert_eq!(asked.len(), answers.len());
    for event in asked {
        assert_eq!((event.kind, event.outcome), (EventKind::TokenUsed, Outcome::Allowed));
        assert_eq!(event.target.jti.as_ref(), Some(&key.key_id));
    }
    assert!(matches!(&asked[0].actor, Some(Actor::Client { id, .. }) if &**id == "proxy"));
    assert!(matches!(asked[3].actor, Some(Actor::Admin)));
    assert!(matches!(asked[4].actor, Some(Actor::Principal(_))));
}

#[tokio::test]
async fn dead_unknown_and_others_keys_are_not_active_and_nothing_else_is_said() {
    let world = World::new(ENGINEERS).await;
    let (revoked, others) = (world.key("alice").await, world.key("alice").await);
    world.server.revoke(Revoke::Key(revoked.key_id)).await.unwrap();
    let changed = others.access_token.expose().replace("ptk_", "ptk_0");
    let jwt = world.engineer("alice").id_token();
    let before = world.events().len();
    let proxy = basic("proxy", CLIENT);
    let cases = [
        (proxy.as_str(), revoked.access_token.expose(), Reason::RevokedCredential),
        (&proxy, "rubbish", Reason::MalformedCredential),
        (&proxy, &changed, Reason::MalformedCredential),
        (&proxy, &jwt, Reason::MalformedCredential),
        (&proxy, ADMIN, Reason::MalformedCredential),
        (&basic("stranger", CLIENT), others.access_token.expose(), Reason::Unauthorized),
    ];
    for (authorization, token, reason) in &cases {
        let answer = ask(&world, authorization, token).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, r#"{"active":false}"#));
        assert_eq!(world.events().last().unwrap().outcome, Outcome::Refused(*reason));
    }
    world.pass(3600);
    let answer = ask(&world, &proxy, others.access_token.expose()).await;
    assert_eq!(answer.text, r#"{"active":false}"#);
    assert_eq!(world.events().last().unwrap().outcome, Outcome::Refused(Reason::ExpiredCredential));
    assert_eq!(world.events().len(), before + cases.len() + 1);
}

#[tokio::test]
async fn a_tenant_is_told_nothing_of_anothers_keys() {
    let world = World::new(ENGINEERS).await;
    let other_idp = crate::support::idp(&world.clock);
    let policies = TWO_TENANTS.replace("@OTHER@", other_idp.issuer());
    let server = world.another(&policies).await;
    let world = World { server, ..world };
    let here = world.key("alice").await;
    let token = other_idp.mint("alice").audience("portunus").claim("groups", vec!["eng"]).id_token();
    let there = world.exchange(token).await.unwrap();
    let as_holder = |key: &portunus_keyserver::IssuedKey| format!("Bearer {}", key.access_token.expose());
    let active = async |authorization: &str, key: &portunus_keyserver::IssuedKey| {
        ask(&world, authorization, key.access_token.expose()).await.json["active"].as_bool().unwrap()
    };
    for (authorization, sees_here, sees_there) in [
        (admin(), true, true),
        (basic("proxy", CLIENT), true, false),
        (basic("stranger", CLIENT), false, true),
        (as_holder(&here), true, false),
        (as_holder(&there), false, true),
    ] {
        assert_eq!(active(&authorization, &here).await, sees_here);
        assert_eq!(active(&authorization, &there).await, sees_there);
    }
}

#[tokio::test]
async fn whoever_may_not_ask_is_refused_and_audited_once() {
    let world = World::new(ENGINEERS).await;
    let (key, revoked) = (world.key("alice").await, world.key("bob").await);
    world.server.revoke(Revoke::Key(revoked.key_id)).await.unwrap();
    let before = world.events().len();
    let token = key.access_token.expose();
    let wrong = [
        String::new(),
        "Bearer x".to_owned(),
        format!("Bearer {ADMIN}x"),
        format!("Bearer {}", revoked.access_token.expose()),
        format!("Bearer {}", world.engineer("alice").id_token()),
        format!("Bearer {CLIENT}"),
        basic("proxy", "wrong"),
        basic("proxy", ""),
        basic("nobody", CLIENT),
        basic("", CLIENT),
        "Basic !".to_owned(),
        "Basic".to_owned(),
        format!("Digest {CLIENT}"),
    ];
    for authorization in &wrong {
        let answer = ask(&world, authorization, token).await;
        assert_eq!(answer.error(), (401, "invalid_client"), "{authorization}");
        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(challenges, ["Basic realm=\"portunus\"", "Bearer"]);
    }
    let secret = [("token", token), ("client_id", "proxy"), ("client_secret", "wrong")];
    assert_eq!(world.send("/oauth/introspect", "", &secret).await.error(), (401, "invalid_client"));
    let no_id = [("token", token), ("client_secret", CLIENT)];
    assert_eq!(world.send("/oauth/introspect", "", &no_id).await.error(), (401, "invalid_client"));
    let twice = [("token", token), ("client_id", "proxy"), ("client_secret", CLIENT)];
    let answer = world.send("/oauth/introspect", &basic("proxy", CLIENT), &twice).await;
    assert_eq!(answer.error(), (400, "invalid_request"));
    assert_eq!(world.send("/oauth/introspect", &admin(), &[]).await.error(), (400, "invalid_request"));
    let events = world.events();
    assert_eq!(events.len(), before + wrong.len() + 4);
    for event in &events[before..events.len() - 2] {
        assert_eq!(event.kind, EventKind::TokenUsed);
        assert_eq!(event.outcome, Outcome::Refused(Reason::Unauthorized));
        assert!(event.actor.is_none());
    }
}

#[tokio::test]
async fn introspection_asks_the_store_nothing() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let asked = world.store.asked();
    world.store.set_off(true);
    let answer = ask(&world, &basic("proxy", CLIENT), key.access_token.expose()).await;
    assert_eq!(answer.json["active"], true);
    assert_eq!(world.store.asked(), asked);
}

#[tokio::test]
async fn whoever_has_a_key_may_end_it_on_every_server() {
    let world = World::new(ENGINEERS).await;
    let other = world.another(ENGINEERS).await;
    let (key, kept) = (world.key("alice").await, world.key("alice").await);
    let token = key.access_token.expose();
    let hinted = [("token", token), ("token_type_hint", "refresh_token"), ("client_id", "whoever")];
    let answer = world.send("/oauth/revoke", "", &hinted).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(world.server.find(&key.access_token).is_err());
    assert!(eventually(|| other.find(&key.access_token).is_err()).await);
    assert!(world.server.find(&kept.access_token).is_ok());
    let event = world.events().pop().unwrap();
    assert_eq!((event.kind, event.outcome), (EventKind::TokenRevoked, Outcome::Allowed));
    assert_eq!(event.target.jti.as_ref(), Some(&key.key_id));
    assert!(matches!(&event.actor, Some(Actor::Principal(holder)) if &*holder.id().subject == "alice"));

    let before = world.events().len();
    let jwt = world.engineer("alice").id_token();
    for (token, reason) in [
        (token, Reason::RevokedCredential),
        ("rubbish", Reason::MalformedCredential),
        (&jwt, Reason::MalformedCredential),
        (ADMIN, Reason::MalformedCredential),
        (key.key_id.0.as_ref(), Reason::MalformedCredential),
    ] {
        let answer = world.send("/oauth/revoke", "", &[("token", token)]).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
        assert_eq!(world.events().last().unwrap().outcome, Outcome::Refused(reason));
    }
    assert_eq!(world.events().len(), before + 5);
    assert_eq!(world.send("/oauth/revoke", "", &[]).await.error(), (400, "invalid_request"));
    let twice = [("token", "a"), ("token", "b")];
    assert_eq!(world.send("/oauth/revoke", "", &twice).await.error(), (400, "invalid_request"));
    assert!(world.server.find(&kept.access_token).is_ok());
}

#[tokio::test]
async fn a_key_that_this_server_has_not_heard_of_yet_is_ended_too() {
    let world = World::new(ENGINEERS).await;
    let other = World { server: world.another(ENGINEERS).await, ..world_like(&world) };
    world.store.set_mute(true);
    let key = world.key("alice").await;
    world.store.set_mute(false);
    assert!(other.server.find(&key.access_token).is_err());
    assert!(other.server.give_back(&key.access_token).await.unwrap());
    assert!(eventually(|| world.server.find(&key.access_token).is_err()).await);
    assert!(!other.server.give_back(&key.access_token).await.unwrap());
    assert!(!other.server.give_back(&BearerToken::new("rubbish")).await.unwrap());
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

#[tokio::test]
async fn a_key_that_the_store_lost_half_way_is_announced_when_it_is_given_back_again() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let other = world.another(ENGINEERS).await;
    world.store.hold("delete");
    let (server, token) = (world.server.clone(), key.access_token.clone());
    let call = tokio::spawn(async move { server.give_back(&token).await.is_err() });
    world.store.until_somebody_waits().await;
    world.store.set_off(true);
    world.store.answer();
    assert!(call.await.unwrap());
    let answer = world.send("/oauth/revoke", "", &[("token", key.access_token.expose())]).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    assert!(world.server.find(&key.access_token).is_err());
    world.store.set_off(false);
    let answer = world.send("/oauth/revoke", "", &[("token", key.access_token.expose())]).await;
    assert_eq!(answer.status, 200);
    assert!(eventually(|| other.find(&key.access_token).is_err()).await);
}

#[tokio::test]
async fn each_client_that_is_wrong_is_named() {
    let world = World::new(ENGINEERS).await;
    let clients = r#"
[key_server]
audience = "portunus"
clients = [
  { id = "a b", secret = "${env:CLIENT}", tenant = "acme" },
  { id = "proxy", secret = "${env:SHORT}", tenant = "acme" },
  { id = "proxy", secret = "${env:NOTHING}", tenant = "acme" },
]
"#;
    let config: portunus_keyserver::Config = toml::from_str(clients).unwrap();
    let problems = config.problems(&crate::support::Secrets);
    let places: Vec<_> = problems.iter().map(|problem| problem.at.as_str()).collect();
    assert_eq!(
        places,
        [
            "key_server.clients.0.id",
            "key_server.clients.1.secret",
            "key_server.clients.2.id",
            "key_server.clients.2.secret"
        ]
    );
    assert!(
        toml::from_str::<portunus_keyserver::Config>(&clients.replace(", tenant = \"acme\"", "")).is_err()
    );
    let started = server(config, world.store.clone(), &world.clock, &world.audit).await;
    assert!(started.is_err());
}

#[tokio::test]
async fn two_credentials_in_one_request_are_none() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let request = Request::post("/oauth/introspect")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", admin())
        .header("authorization", basic("proxy", CLIENT));
    let body = Body::from(crate::support::form(&[("token", key.access_token.expose())]));
    assert_eq!(world.call(request.body(body).unwrap()).await.error(), (401, "invalid_client"));
}
