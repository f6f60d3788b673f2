//! Tokens of issuers that are used as they are.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::{AuthError, Authenticator, BearerToken, Via};

use crate::support::{ENGINEERS, World};

fn token(text: String) -> BearerToken {
    BearerToken::new(text)
}

#[tokio::test]
async fn a_token_is_verified_once_and_remembered() {
    let world = World::new(ENGINEERS).await;
    let alice = token(world.engineer("alice").id_token());
    assert!(world.server.verified(&alice).is_none());
    let first = world.server.verify(&alice).await.unwrap();
    assert_eq!((&*first.id().subject, first.via()), ("alice", &Via::Jwt));
    assert!(first.grant().models.admits("gpt-4o"));
    let remembered = world.server.verified(&alice).unwrap();
    assert!(Arc::ptr_eq(&first, &remembered));
    assert!(Arc::ptr_eq(&first, &world.server.verify(&alice).await.unwrap()));
}

#[tokio::test]
async fn a_remembered_token_ends_when_it_says() {
    let world = World::new(ENGINEERS).await;
    let alice = token(world.engineer("alice").ttl(Duration::from_secs(60)).id_token());
    world.server.verify(&alice).await.unwrap();
    world.pass(59);
    assert!(world.server.verified(&alice).is_some());
    world.pass(1);
    assert!(world.server.verified(&alice).is_none());
    assert!(matches!(world.server.verify(&alice).await, Err(AuthError::Expired)));
}

#[tokio::test]
async fn a_remembered_token_does_not_outlive_its_key() {
    let world = World::new(ENGINEERS).await;
    let alice = token(world.engineer("alice").id_token());
    world.server.verify(&alice).await.unwrap();
    world.idp.rotate_keys();
    world.idp.retire_keys();
    // A token with the new key makes the server learn that the old one is gone.
    let bob = token(world.engineer("bob").id_token());
    world.server.verify(&bob).await.unwrap();
    assert!(world.server.verified(&alice).is_none());
    assert!(matches!(world.server.verify(&alice).await, Err(AuthError::Unknown)));
    assert!(world.server.verified(&bob).is_some());
}

#[tokio::test]
async fn each_reason_has_its_error() {
    let world = World::new(ENGINEERS).await;
    let error = async |text: String| world.server.verify(&token(text)).await.unwrap_err();
    assert!(matches!(error("rubbish".to_owned()).await, AuthError::Malformed));
    let outsider = world.engineer("alice").claim("groups", vec!["sales"]).id_token();
    assert!(matches!(error(outsider).await, AuthError::NotAdmitted));
    let stranger = world.engineer("alice").issuer("https://other.example").id_token();
    assert!(matches!(error(stranger).await, AuthError::Unknown));
    let world = World::new(ENGINEERS).await;
    world.idp.set_down(true);
    let alice = token(world.engineer("alice").id_token());
    assert!(matches!(world.server.verify(&alice).await, Err(AuthError::Unavailable(_))));
}

#[tokio::test]
async fn either_kind_of_credential_is_authenticated() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await;
    let by_key = world.server.authenticate(&key.access_token).await.unwrap();
    let by_token = world.server.authenticate(&token(world.engineer("alice").id_token())).await.unwrap();
    assert_eq!(by_key.id(), by_token.id());
    let access_token = world.engineer("alice").audience("portunus").access_token();
    assert!(world.server.authenticate(&token(access_token)).await.is_ok());
}
