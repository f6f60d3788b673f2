//! Revoking the keys of whoever had a verified address.

use portunus_auth_core::audit::KeySelection;
use portunus_auth_core::{AuthError, Outcome, Reason};
use portunus_keyserver::{IssuedKey, RevokeError, StatedReason};
use serde_json::{Value, json};

use crate::support::{ENGINEERS, World, configuration, eventually, server};

/// Engineers, whatever their address, which only the second policy looks at.
const STAFF: &str = r#"
[[policies]]
name = "engineers"
match = { issuer = "idp", groups = ["eng"] }
grant = { models = ["gpt-4o*"], tier = "standard", ttl = "1h" }

[[policies]]
name = "staff"
match = { issuer = "idp", email_domain = "corp.example" }
grant = { models = "all", tier = "standard", ttl = "1h" }
"#;

async fn addressed(world: &World, subject: &str, email: impl Into<Value>, verified: Value) -> IssuedKey {
    let token = world.engineer(subject).claim("email", email).claim("email_verified", verified);
    world.exchange(token.id_token()).await.unwrap()
}

fn alive(world: &World, keys: &[&IssuedKey]) -> Vec<bool> {
    keys.iter().map(|key| world.server.find(&key.access_token).is_ok()).collect()
}

fn by_address(email: &str) -> KeySelection {
    let mut which = KeySelection::default();
    (which.issuer, which.email) = (Some("idp".into()), Some(email.into()));
    which
}

#[tokio::test]
async fn keys_end_by_the_address_that_was_verified_and_no_others() {
    let world = World::new(STAFF).await;
    let other = world.another(STAFF).await;
    let alice = addressed(&world, "alice", "a+x@corp.example", true.into()).await;
    let child = world.child(&alice).await;
    // The same mailbox for all that anybody knows.
    let second = addressed(&world, "second", "A+X@CORP.example", true.into()).await;
    let others = [
        addressed(&world, "bob", "b@corp.example", true.into()).await,
        addressed(&world, "unverified", "a+x@corp.example", false.into()).await,
        addressed(&world, "odd", "a+x@corp.example", "true".into()).await,
        addressed(&world, "elsewhere", "a+x@corp.example.evil.example", true.into()).await,
        addressed(&world, "two", "a+x@corp.example@evil.example", true.into()).await,
        addressed(&world, "list", json!(["a+x@corp.example"]), true.into()).await,
        world.key("nobody").await,
    ];
    let others: Vec<&IssuedKey> = others.iter().collect();
    let listed = world.server.list(&by_address("A+x@corp.example"), None, 100.try_into().unwrap()).await;
    assert_eq!(listed.unwrap().keys.len(), 3);
    assert!(eventually(|| other.find(&others[6].access_token).is_ok()).await);

    let body = json!({"iss": "idp", "email": "a+X@Corp.Example", "reason": "left"});
    let answer = world.revoke_many(body.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.json), (200, json!({"revoked": 3, "matched_identities": 2})));
    assert_eq!(alive(&world, &[&alice, &child, &second]), [false; 3]);
    assert_eq!(alive(&world, &others), [true; 7]);
    for key in [&alice, &child, &second] {
        assert!(eventually(|| matches!(other.find(&key.access_token), Err(AuthError::Revoked))).await);
    }
    let event = serde_json::to_value(world.events().pop().unwrap()).unwrap();
    assert_eq!(event["target"]["selection"], json!({"iss": "idp", "email": "a+X@Corp.Example"}));

    for nobody in [
        body.clone(),
        json!({"iss": "idp", "email": "c@corp.example", "reason": "x"}),
        json!({"iss": "idp", "email": "b@corp.example", "sub": "alice", "reason": "x"}),
        json!({"iss": "idp", "email": "b@corp.example", "tenant": "another", "reason": "x"}),
        json!({"iss": "idp", "email": "b@corp.example", "policy": "staff", "reason": "x"}),
        json!({"iss": "another", "email": "b@corp.example", "reason": "x"}),
    ] {
        assert_eq!(world.revoke_many(nobody.to_string()).await.error(), (404, "not_found"), "{nobody}");
    }
    assert_eq!(alive(&world, &others), [true; 7]);
}

#[tokio::test]
async fn where_no_address_was_kept_nothing_ends_and_the_answer_says_so() {
    let world = World::new(ENGINEERS).await;
    let body = json!({"iss": "idp", "email": "a@corp.example", "reason": "left"});
    assert_eq!(world.revoke_many(body.to_string()).await.error(), (404, "not_found"));
    let alice = addressed(&world, "alice", "a@corp.example", true.into()).await;
    let bob = addressed(&world, "bob", "b@corp.example", true.into()).await;
    let answer = world.revoke_many(body.to_string()).await;
    assert_eq!(answer.error(), (409, "address_not_kept"));
    assert!(answer.json["error_description"].as_str().unwrap().contains("select by subject"));
    let event = world.events().pop().unwrap();
    assert_eq!((event.outcome, event.target.revoked), (Outcome::Refused(Reason::AddressNotKept), None));
    let why = || StatedReason::new("left").unwrap();
    let refused = world.server.revoke_selected(by_address("a@corp.example"), why()).await;
    assert!(matches!(refused, Err(RevokeError::AddressNotKept)));
    let listed = world.server.list(&by_address("a@corp.example"), None, 100.try_into().unwrap()).await;
    assert!(listed.unwrap().keys.is_empty());
    assert_eq!(alive(&world, &[&alice, &bob]), [true; 2]);

    // Policies that look at addresses make a difference for later keys; earlier ones are in the way until
    // they end, or are revoked by what is known of them.
    let config = configuration(world.idp.issuer(), &(ENGINEERS.to_owned() + STAFF_LAST));
    world.server.reload_policies(&config.policies).await.unwrap();
    let later = addressed(&world, "alice", "a@corp.example", true.into()).await;
    assert_eq!(world.revoke_many(body.to_string()).await.error(), (409, "address_not_kept"));
    assert_eq!(alive(&world, &[&alice, &bob, &later]), [true; 3]);
    let old = json!({"iss": "idp", "sub": "bob", "reason": "left"});
    assert_eq!(world.revoke_many(old.to_string()).await.status, 200);
    world.delete(&alice.key_id.to_string(), &crate::support::admin()).await;
    let answer = world.revoke_many(body.to_string()).await;
    assert_eq!(answer.json, json!({"revoked": 1, "matched_identities": 1}));
    assert_eq!(alive(&world, &[&alice, &bob, &later]), [false; 3]);
}

const STAFF_LAST: &str = r#"
[[policies]]
name = "staff"
match = { issuer = "idp", email = "a@corp.example" }
grant = { models = "all", tier = "standard", ttl = "1h" }
"#;

#[tokio::test]
async fn an_address_without_its_issuer_or_that_is_none_is_refused() {
    let world = World::new(STAFF).await;
    let key = addressed(&world, "alice", "a@corp.example", true.into()).await;
    for body in [
        json!({"email": "a@corp.example", "reason": "x"}),
        json!({"email": "a@corp.example", "tenant": "acme", "reason": "x"}),
        json!({"email": "", "iss": "idp", "reason": "x"}),
        json!({"email": null, "iss": "idp", "reason": "x"}),
        json!({"email": ["a@corp.example"], "iss": "idp", "reason": "x"}),
        json!({"email": "corp.example", "iss": "idp", "reason": "x"}),
        json!({"email": "@corp.example", "iss": "idp", "reason": "x"}),
        json!({"email": "*@corp.example,a@corp.example", "iss": "idp", "reason": "x"}),
        json!({"email": "a@evil.example@corp.example", "iss": "idp", "reason": "x"}),
        json!({"email": "a@corp.example\r\n", "iss": "idp", "reason": "x"}),
    ] {
        assert_eq!(world.revoke_many(body.to_string()).await.error(), (400, "invalid_request"), "{body}");
    }
    let why = || StatedReason::new("x").unwrap();
    let mut nobodys = by_address("a@corp.example");
    nobodys.issuer = None;
    for which in [nobodys, by_address("corp.example"), by_address("")] {
        let refused = world.server.revoke_selected(which.clone(), why()).await;
        assert!(matches!(refused, Err(RevokeError::Unselected)));
        assert!(world.server.list(&which, None, 100.try_into().unwrap()).await.unwrap().keys.is_empty());
    }
    assert_eq!(alive(&world, &[&key]), [true]);
}

/// What is no verified address for a policy is none for a revocation.
#[tokio::test]
async fn an_address_is_believed_as_far_as_its_issuer_is() {
    let entries = |jwks: &str| {
        format!(
            "[[issuers]]\nname = \"g\"\npreset = \"google\"\nissuer = \"https://accounts.google.com\"\n\
             tenant = \"acme\"\njwks_uri = \"{jwks}\"\n[[policies]]\nname = \"all\"\n\
             match = {{ issuer = \"g\", subject = \"1*\" }}\n\
             grant = {{ models = \"all\", tier = \"t\", ttl = \"1h\" }}\n[[policies]]\nname = \"staff\"\n\
             match = {{ issuer = \"g\", email_domain = \"corp.example\" }}\n\
             grant = {{ models = \"all\", tier = \"t\", ttl = \"1h\" }}\n"
        )
    };
    let world = World::new("").await;
    let config = configuration(world.idp.issuer(), &entries(&world.idp.jwks_uri()));
    let server = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
    let world = World { server, ..world };
    let key = async |subject: &str, hd: Value| {
        let mint = world.idp.mint(subject).issuer("https://accounts.google.com").audience("portunus");
        let mint = mint.claim("email", "jane@corp.example").claim("email_verified", true).claim("hd", hd);
        world.exchange(mint.id_token()).await.unwrap()
    };
    let (hosted, taken) = (key("1", "corp.example".into()).await, key("11", "evil.example".into()).await);
    let body = json!({"iss": "g", "email": "jane@corp.example", "reason": "x"}).to_string();
    assert_eq!(world.revoke_many(body).await.json, json!({"revoked": 1, "matched_identities": 1}));
    assert_eq!(alive(&world, &[&hosted, &taken]), [false, true]);
}
