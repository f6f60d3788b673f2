//! AWS's services: STS, and the metadata services of containers and instances.

use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_mock::{ContainerRole, InstanceRole, MockCloud, StsRole};
use reqwest::RequestBuilder;

use crate::support::{client, header, json_of};

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

fn cloud() -> (MockCloud, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at_unix(1_767_225_600));
    let builder = MockCloud::builder().clock(clock.clone()).instance(InstanceRole::new("web"));
    let builder =
        builder.container(ContainerRole::new("/pod").authorized_by("t")).sts(StsRole::new("arn", "t"));
    (builder.build().unwrap(), clock)
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// A token of a session that lasts so long.
async fn session(cloud: &MockCloud, seconds: u32) -> String {
    let request = client().put(cloud.url() + "/latest/api/token").header(TTL, seconds);
    let answer = request.send().await.unwrap();
    assert_eq!(header(&answer, TTL), Some(seconds.to_string().as_str()));
    answer.text().await.unwrap()
}

#[tokio::test]
async fn a_session_is_begun_in_one_way_only() {
    let (cloud, _) = cloud();
    let url = cloud.url() + "/latest/api/token";
    let put = || client().put(&url).header(TTL, 21_600);
    assert_eq!(status(put()).await, 200);
    assert_eq!(status(client().get(&url).header(TTL, 60)).await, 403);
    assert_eq!(status(put().header("x-forwarded-for", "192.0.2.1")).await, 403);
    assert_eq!(status(client().put(&url)).await, 400);
    for ttl in ["0", "21601", "-1", "soon"] {
        assert_eq!(status(client().put(&url).header(TTL, ttl)).await, 400, "{ttl}");
    }
    assert_eq!(status(put().body("x")).await, 400);
    assert_eq!(status(client().put(format!("{url}?a=1")).header(TTL, 60)).await, 400);
}

#[tokio::test]
async fn keys_need_a_session_that_has_not_ended() {
    let (cloud, clock) = cloud();
    let token = session(&cloud, 60).await;
    let get = |path: &str, token: &str| client().get(cloud.url() + ROLES + path).header(TOKEN, token);
    let role = get("", &token).send().await.unwrap().text().await.unwrap();
    assert_eq!(role, "web");
    assert_eq!(status(get("web", &token)).await, 200);
    assert_eq!(status(get("other", &token)).await, 404);
    assert_eq!(status(client().get(cloud.url() + ROLES)).await, 401);
    for unknown in ["imds-mock-token-0", "imds-mock-token-2", "imds-mock-token-x", "x"] {
        assert_eq!(status(get("", unknown)).await, 401, "{unknown}");
    }
    clock.advance(Duration::from_secs(60));
    assert_eq!(status(get("", &token)).await, 401);
    let token = session(&cloud, 21_600).await;
    assert_eq!(status(get("", &token)).await, 200);
    cloud.end_instance_sessions();
    assert_eq!(status(get("", &token)).await, 401);
}

#[tokio::test]
async fn an_instance_hands_out_the_same_keys_until_five_minutes_before_their_end() {
    let (cloud, clock) = cloud();
    let token = session(&cloud, 21_600).await;
    let id = async || {
        let request = client().get(cloud.url() + ROLES + "web").header(TOKEN, &token);
        let keys = json_of(request.send().await.unwrap()).await;
        assert_eq!(keys["Code"], "Success");
        keys["AccessKeyId"].as_str().unwrap().to_owned()
    };
    assert_eq!(id().await, "ASIAMOCK00000001");
    clock.advance(Duration::from_secs(3_599 - 301));
    assert_eq!(id().await, "ASIAMOCK00000001");
    clock.advance(Duration::from_secs(1));
    assert_eq!(id().await, "ASIAMOCK00000002");
}

#[tokio::test]
async fn a_container_has_to_show_its_token() {
    let (cloud, _) = cloud();
    let get = || client().get(cloud.url() + "/pod");
    assert_eq!(status(get().header("authorization", "t")).await, 200);
    assert_eq!(status(get()).await, 403);
    assert_eq!(status(get().header("authorization", "Bearer t")).await, 403);
    assert_eq!(status(client().post(cloud.url() + "/pod").header("authorization", "t")).await, 405);
}

#[tokio::test]
async fn a_role_is_given_for_as_long_as_is_asked() {
    let (cloud, _) = cloud();
    let ask = |seconds: &'static str| {
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", "arn"),
            ("RoleSessionName", "me"),
            ("WebIdentityToken", "t"),
            ("DurationSeconds", seconds),
        ];
        client().post(cloud.url() + "/").form(&form)
    };
    let answer = ask("900").send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("<Expiration>2026-01-01T00:15:00Z</Expiration>"), "{answer}");
    for bad in ["899", "43201", "-900", "1h"] {
        assert_eq!(status(ask(bad)).await, 400, "{bad}");
    }
}
