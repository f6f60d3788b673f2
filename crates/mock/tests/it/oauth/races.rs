//! Requests at once, and requests that make no sense.

use futures_util::future::join_all;
use portunus_mock::{MockIdp, Preset};
use reqwest::Method;

use super::flows::{APP, CLI, DEVICE, World, code, is_taken, metadata, ok, post, redeem, text, with, world};
use crate::support::{client, json_of};

#[tokio::test]
async fn of_eight_redemptions_at_once_one_succeeds_and_the_rest_end_it() {
    let World { idp, .. } = world();
    let code = code(&idp, APP, &[]).await;
    let answers = join_all((0..8).map(|_| redeem(&idp, APP, &code, &[]))).await;
    let mut good: Vec<_> = answers.into_iter().filter(|answer| answer.status() == 200).collect();
    assert_eq!(good.len(), 1);
    // RFC 6749 §4.1.2: whoever came second may be the one who should have it.
    let tokens = json_of(good.remove(0)).await;
    assert!(!is_taken(&idp, text(&tokens, "access_token")).await);
}

#[tokio::test]
async fn of_eight_polls_at_once_one_gets_the_tokens() {
    let World { idp, .. } = world();
    let flow = ok(post(&idp, "device_authorization_endpoint", &with(CLI, &[])).await).await;
    idp.approve_device(text(&flow, "user_code")).unwrap();
    let form = with(CLI, &[("grant_type", DEVICE), ("device_code", text(&flow, "device_code"))]);
    let answers = join_all((0..8).map(|_| post(&idp, "token_endpoint", &form))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 1);
}

#[tokio::test]
async fn nonsense_is_answered_at_every_address() {
    let bodies: [&[u8]; 6] =
        [b"", b"&&==%ff%zz", b"{}", b"{\"a\":[", b"\xff\xfe\x00", b"grant_type=&token=&client_id=%00"];
    let types = ["application/x-www-form-urlencoded", "application/json", "text/plain; charset=\"", ""];
    let client = client();
    for preset in [Preset::Oidc, Preset::Entra, Preset::Google] {
        let idp = MockIdp::builder().preset(preset).build().unwrap();
        for (name, url) in metadata(&idp).await.as_object().unwrap() {
            if !name.ends_with("_endpoint") && name != "jwks_uri" {
                continue;
            }
            let url = url.as_str().unwrap();
            for (method, body) in bodies.iter().flat_map(|body| [(Method::POST, body), (Method::PUT, body)]) {
                for kind in types {
                    let request = client.request(method.clone(), format!("{url}?%ff&=&a=%0a"));
                    let request = request
                        .header("content-type", kind)
                        .header("authorization", "Basic %")
                        .body(body.to_vec());
                    let status = request.header("dpop", "a.b.c").send().await.unwrap().status();
                    assert!(status.is_client_error() || status.is_success(), "{method} {url} {status}");
                }
            }
        }
    }
}
