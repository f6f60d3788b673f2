//! One clock for everything, and who moves it.

use std::time::{Duration, UNIX_EPOCH};

use portunus_mock::{Key, MockCloud, ServerBuilder, VirtualClock};

use crate::support::{chat, post_chat, status_with};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_server_is_moved_by_its_own_clock() {
    let key = Key::new("sk-1").ttl(5 * MINUTE);
    let server = ServerBuilder::new().with_key(key).build().await.unwrap();
    assert_eq!(status_with(&server.url(), "sk-1").await, 200);
    server.clock().advance(5 * MINUTE);
    assert_eq!(status_with(&server.url(), "sk-1").await, 401);
}

#[tokio::test]
async fn a_clock_that_is_given_is_the_servers_own() {
    let clock = VirtualClock::frozen(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let server = ServerBuilder::new().clock(clock.clone()).build().await.unwrap();
    let cloud = MockCloud::builder().clock(clock.clone()).build().unwrap();
    server.clock().advance(MINUTE);
    assert_eq!((clock.now(), cloud.clock().now()), (server.clock().now(), server.clock().now()));
    let said = post_chat(&server.url(), &chat("m", "hi")).send().await.unwrap().text().await.unwrap();
    assert!(said.contains("\"created\":1700000060"), "{said}");
    assert_eq!(server.requests()[0].at(), clock.now());
}

#[cfg(feature = "oauth")]
#[tokio::test]
async fn the_oauth_server_goes_by_the_same_clock() {
    let server = ServerBuilder::new().with_oauth_defaults().build().await.unwrap();
    let idp = server.idp().unwrap();
    let token = idp.mint("alice").ttl(MINUTE).access_token();
    assert_eq!(status_with(&server.url(), &token).await, 200);
    idp.clock().advance(MINUTE);
    assert_eq!(status_with(&server.url(), &token).await, 401);
}
