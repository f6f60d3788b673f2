//! The HTTP contract: RFC 8693, RFC 6749, and the administrator's routes.

use axum::body::Body;
use http::Request;
use portunus_auth_core::audit::{EventKind, RequestId};
use portunus_auth_core::{AuditEvent, AuditFull, AuditSink, Outcome, Reason};
use portunus_keyserver::{KeyServer, Peer, Revoke, RevokeError};
use portunus_mock::TokenFault;
use serde_json::json;
use std::sync::Arc;

use crate::support::{ADMIN, ENGINEERS, GRANT_TYPE, ID_TOKEN, World, exchange_of, form};

#[tokio::test]
async fn a_form_and_a_json_body_get_a_key() {
    let world = World::new(ENGINEERS).await;
    let (one, other) = (world.engineer("alice").id_token(), world.engineer("alice").id_token());
    let from_form = world.form(&exchange_of(&one)).await;
    let body: serde_json::Map<_, _> =
        exchange_of(&other).iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let from_json = world.post("application/json; charset=utf-8", json!(body).to_string()).await;
    for answer in [from_form, from_json] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["content-type"], "application/json");
        let json = &answer.json;
        assert!(json["access_token"].as_str().unwrap().starts_with("ptk_"));
        assert_eq!(json["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
        assert_eq!(json["token_type"], "Bearer");
        assert_eq!(json["expires_in"], 3600);
        assert_eq!(json["scope"], "model:claude-* model:gpt-4o* tool:search");
        assert!(uuid::Uuid::try_parse(json["jti"].as_str().unwrap()).is_ok());
        assert_eq!(json.as_object().unwrap().len(), 6);
    }
}

#[tokio::test]
async fn the_documented_alias_is_the_same() {
    let world = World::new(ENGINEERS).await;
    let token = world.engineer("alice").id_token();
    let request = Request::post("/auth/token").header("content-type", "application/x-www-form-urlencoded");
    let answer = world.call(request.body(Body::from(form(&exchange_of(&token)))).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn each_malformed_request_is_refused_by_name() {
    let world = World::new(ENGINEERS).await;
    let token = world.engineer("alice").id_token();
    let plain = exchange_of(&token);
    let with = |more: (&'static str, &'static str)| [plain.as_slice(), &[more]].concat();
    let subject = ("subject_token", token.as_str());
    let access_token = "urn:ietf:params:oauth:token-type:access_token";
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("invalid_request", vec![]),
        ("invalid_request", vec![ID_TOKEN, subject]),
        ("invalid_request", vec![GRANT_TYPE, subject]),
        ("invalid_request", vec![GRANT_TYPE, ID_TOKEN]),
        ("invalid_request", vec![GRANT_TYPE, ID_TOKEN, ("subject_token", "")]),
        ("invalid_request", vec![GRANT_TYPE, subject, ("subject_token_type", "id_token")]),
        ("unsupported_grant_type", vec![("grant_type", "client_credentials"), ID_TOKEN, subject]),
        ("invalid_request", with(("subject_token", "x"))),
        ("invalid_request", with(("scope", "model:a"))).clone_with(("scope", "model:b")),
        ("invalid_request", with(("requested_token_type", "urn:ietf:params:oauth:token-type:jwt"))),
        ("invalid_request", with(("actor_token", "x"))),
        ("invalid_request", with(("actor_token_type", access_token))),
        ("invalid_request", with(("ttl", "0"))),
        ("invalid_request", with(("ttl", "-1"))),
        ("invalid_request", with(("ttl", "1.5"))),
        ("invalid_request", with(("ttl", "99999999999999999999"))),
        ("invalid_target", with(("audience", "other"))),
        ("invalid_target", with(("resource", "https://other.example"))),
        ("invalid_scope", with(("scope", "gpt-4o"))),
        ("invalid_scope", with(("scope", "admin:all"))),
        ("invalid_scope", with(("scope", "model:gpt-4o admin:all"))),
        ("invalid_scope", with(("scope", "model:gpt-4o Model:gpt-4o"))),
        ("invalid_scope", with(("scope", "model:gpt-4o openid"))),
        ("invalid_scope", with(("scope", "model:"))),
        ("invalid_scope", with(("scope", "model:gpt-4o  tool:search"))),
        ("invalid_scope", with(("scope", "model:o1"))),
        ("invalid_scope", with(("scope", "model:gpt-4o role:admin"))),
        ("invalid_request", with(("policy", "managers"))),
    ];
    for (error, parameters) in &cases {
        let answer = world.form(parameters).await;
        assert_eq!(answer.error(), (400, *error), "{parameters:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert!(answer.json["error_description"].is_string());
    }
    // None of them spent the token.
    let right = with(("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"));
    let right =
        [right.as_slice(), &[("audience", "portunus"), ("audience", "portunus"), ("unknown", "x")]].concat();
    assert_eq!(world.form(&right).await.status, 200);
    let kinds: Vec<_> = world.events().iter().map(|event| event.kind).collect();
    assert_eq!(kinds.len(), cases.len() + 1);
    assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::TokenDenied).count(), cases.len());
}

trait CloneWith {
    fn clone_with(self, more: (&'static str, &'static str)) -> Self;
}

impl<'a> CloneWith for (&'a str, Vec<(&'a str, &'a str)>) {
    fn clone_with(mut self, more: (&'static str, &'static str)) -> Self {
        self.1.push(more);
        self
    }
}

#[tokio::test]
async fn a_body_of_another_kind_or_size_is_refused() {
    let world = World::new(ENGINEERS).await;
    let token = world.engineer("alice").id_token();
    let body = form(&exchange_of(&token));
    for content_type in ["text/plain", "multipart/form-data", "", "application/jsonx"] {
        assert_eq!(world.post(content_type, body.clone()).await.error(), (400, "invalid_request"));
    }
    for body in ["", "[]", "{", "{\"grant_type\":1}", "{\"scope\":[\"model:a\"]}", "{\"a\":1,\"a\":1}"] {
        assert_eq!(world.post("application/json", body).await.error(), (400, "invalid_request"), "{body}");
    }
    let long = format!("{body}&x={}", "x".repeat(32 * 1024));
    let answer = world.post("application/x-www-form-urlencoded", long).await;
    assert_eq!(answer.error(), (413, "invalid_request"));
    assert_eq!(world.events().len(), 11);
}

#[tokio::test]
async fn a_bad_subject_token_looks_the_same_whatever_is_wrong_with_it() {
    let world = World::new(ENGINEERS).await;
    let bad = |fault| world.engineer("alice").fault(fault).id_token();
    let key = world.key("alice").await;
    let replayed = world.engineer("alice").id_token();
    world.exchange(replayed.clone()).await.unwrap();
    let cases = [
        (bad(TokenFault::BadSignature), Reason::BadSignature),
        (bad(TokenFault::WrongIssuer), Reason::UnknownIssuer),
        (bad(TokenFault::WrongAudience), Reason::WrongAudience),
        (bad(TokenFault::Expired), Reason::ExpiredCredential),
        (bad(TokenFault::NotYetValid), Reason::NotYetValid),
        (bad(TokenFault::UnknownKid), Reason::UnknownKey),
        (bad(TokenFault::AlgNone), Reason::UnsupportedAlgorithm),
        (world.engineer("alice").audience("other").id_token(), Reason::WrongAudience),
        (world.engineer("alice").access_token(), Reason::WrongClaims),
        (world.engineer("alice").claim("azp", "another-client").id_token(), Reason::WrongAudience),
        (world.engineer("alice").claim("groups", vec!["sales"]).id_token(), Reason::NoPolicy),
        (key.access_token.expose().to_owned(), Reason::UnsupportedGrant),
        ("rubbish".to_owned(), Reason::MalformedCredential),
        (replayed, Reason::ReplayedToken),
    ];
    let mut answers = Vec::new();
    for (token, reason) in cases {
        let answer = world.form(&exchange_of(&token)).await;
        assert_eq!(answer.status, 400, "{reason:?}");
        answers.push(answer.text);
        let event = world.events().pop().unwrap();
        assert_eq!(event.outcome, Outcome::Refused(reason));
        let replayed = reason == Reason::ReplayedToken;
        assert_eq!(event.kind, if replayed { EventKind::TokenReplayed } else { EventKind::TokenDenied });
        assert_eq!(event.actor.is_some(), replayed || reason == Reason::NoPolicy);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

#[tokio::test]
async fn an_access_token_is_taken_as_what_it_is() {
    let world = World::new(ENGINEERS).await;
    let exchange = async |kind: &str| {
        let token = world.engineer("alice").audience("portunus").access_token();
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        world.form(&[GRANT_TYPE, ("subject_token", &token), ("subject_token_type", &kind)]).await.status
    };
    assert_eq!(exchange("access_token").await, 200);
    assert_eq!(exchange("jwt").await, 200);
    assert_eq!(exchange("id_token").await, 400);
}

#[tokio::test]
async fn the_administrator_revokes_and_nobody_else() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let (jti, right) = (key.key_id.to_string(), format!("Bearer {ADMIN}"));
    let wrong = ["", "Bearer", "Bearer x", ADMIN, &format!("Basic {ADMIN}"), &format!("Bearer {ADMIN}x")];
    for authorization in wrong {
        let answer = world.delete(&jti, authorization).await;
        assert_eq!(answer.error(), (401, "invalid_token"), "{authorization}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    let twice = Request::delete(format!("/auth/token/{jti}"))
        .header("authorization", &right)
        .header("authorization", "Bearer x");
    assert_eq!(world.call(twice.body(Body::empty()).unwrap()).await.status, 401);
    assert!(world.server.find(&key.access_token).is_ok());

    assert_eq!(world.delete(&jti, &format!(" bEARER   {ADMIN} \t")).await.status, 204);
    assert!(world.server.find(&key.access_token).is_err());
    let unknown = uuid::Uuid::now_v7().to_string();
    for jti in [jti.as_str(), &unknown, "x", "%ff", "..%2f..%2fks", key.access_token.expose()] {
        assert_eq!(world.delete(jti, &right).await.error(), (404, "not_found"), "{jti}");
    }

    let events = world.events();
    let count = |kind, outcome| events.iter().filter(|e| e.kind == kind && e.outcome == outcome).count();
    assert_eq!(count(EventKind::TokenIssued, Outcome::Allowed), 1);
    assert_eq!(count(EventKind::AdminDenied, Outcome::Refused(Reason::Unauthorized)), wrong.len() + 1);
    assert_eq!(count(EventKind::TokenRevoked, Outcome::Allowed), 1);
    assert_eq!(count(EventKind::TokenRevoked, Outcome::Refused(Reason::NotFound)), 6);
    assert_eq!(events.len(), 1 + wrong.len() + 1 + 1 + 6);
}

#[tokio::test]
async fn without_an_administrators_token_nobody_is_one() {
    let world = World::new(ENGINEERS).await;
    let mut config = crate::support::configuration(world.idp.issuer(), ENGINEERS);
    config.key_server.admin = None;
    let server = crate::support::server(config, world.store.clone(), &world.clock, &world.audit).await;
    let world = World { server: server.unwrap(), ..world };
    for authorization in [format!("Bearer {ADMIN}"), "Bearer ".to_owned(), String::new()] {
        let jti = uuid::Uuid::now_v7().to_string();
        assert_eq!(world.delete(&jti, &authorization).await.error(), (401, "invalid_token"));
    }
}

#[tokio::test]
async fn whoever_asks_is_told_the_audience() {
    let world = World::new(ENGINEERS).await;
    let answer = world.call(Request::get("/auth/audience").body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, r#"{"audience":"portunus"}"#));
}

#[tokio::test]
async fn the_audit_knows_the_peer_the_route_and_the_answer() {
    let world = World::new(ENGINEERS).await;
    let token = world.engineer("alice").id_token();
    let peer = Peer { ip: Some([192, 0, 2, 1].into()), request_id: Some(RequestId(1, 2)) };
    let request = Request::post("/oauth/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .extension(peer);
    let answer = world.call(request.body(Body::from(form(&exchange_of(&token)))).unwrap()).await;
    let [event] = world.events().try_into().unwrap();
    let event: AuditEvent = event;
    assert_eq!(event.peer, peer.ip);
    let http = event.http.unwrap();
    assert_eq!((http.route, http.status, http.request_id), ("/oauth/token", Some(200), RequestId(1, 2)));
    assert_eq!(event.target.policy.as_deref(), Some("engineers"));
    assert_eq!(event.target.jti.unwrap().to_string(), answer.json["jti"]);
}

/// An audit without room.
#[derive(Debug)]
pub(crate) struct Full;

impl AuditSink for Full {
    fn admit(&self) -> Result<(), AuditFull> {
        Err(AuditFull)
    }
    fn record(&self, _: AuditEvent) {
        panic!("there was no room");
    }
}

#[tokio::test]
async fn what_cannot_be_audited_is_not_done() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let config = crate::support::configuration(world.idp.issuer(), ENGINEERS);
    let parts = crate::support::parts(world.store.clone(), &world.clock, Arc::new(Full));
    let world = World { server: KeyServer::new(config, parts).await.unwrap(), ..world };
    let answer = world.form(&exchange_of(&world.engineer("alice").id_token())).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    assert!(answer.headers.contains_key("retry-after"));
    let answer = world.delete(&key.key_id.to_string(), &format!("Bearer {ADMIN}")).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    let revoked = world.server.revoke(Revoke::Key(key.key_id)).await;
    assert!(matches!(revoked, Err(RevokeError::AuditFull(AuditFull))));
    assert!(world.server.find(&key.access_token).is_ok());
}
