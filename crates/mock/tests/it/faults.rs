//! What goes wrong on request, and what limits really limit.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::clock::ManualClock;
use portunus_mock::{ApiError, Fault, Fixture, Limiter, MockServer, Reply, ServerBuilder};
use serde_json::{Value, json};

use crate::support::{
    aws_messages, chat, client, converse, events, frozen, header, json_of, message, post, post_chat,
    post_message, streamed,
};

async fn stream(server: &MockServer) -> String {
    let answer = post_chat(&server.url(), &streamed(chat("m", "hi"))).send().await.unwrap();
    answer.text().await.unwrap()
}

#[tokio::test]
async fn a_corrupt_frame_is_no_json_and_fits_no_checksum() {
    let server = frozen([Fixture::new().reply(Reply::from("Hi").corrupt_frame(1))]).await;
    let frames = events(&stream(&server).await);
    let good: Vec<bool> =
        frames.iter().map(|(_, data)| serde_json::from_str::<Value>(data).is_ok()).collect();
    assert_eq!(good, [true, false, true, true, false], "the last one is [DONE]");

    let answer = post(&server.url(), "/model/m/converse-stream", &converse("hi")).send().await.unwrap();
    let bytes = answer.bytes().await.unwrap();
    assert!(std::panic::catch_unwind(|| aws_messages(&bytes)).is_err());
}

#[tokio::test]
async fn a_frame_comes_twice() {
    let server = frozen([Fixture::new().reply(Reply::from("Hi").duplicate_frame(1))]).await;
    let frames = events(&stream(&server).await);
    assert_eq!((frames.len(), &frames[1]), (6, &frames[2]));
    // One that is not there is not doubled.
    let server =
        frozen([Fixture::new().reply(Reply::from("Hi").duplicate_frame(99).corrupt_frame(99))]).await;
    assert_eq!(events(&stream(&server).await).len(), 5);
}

#[tokio::test]
async fn odd_framing_holds_the_same_events() {
    let plain = frozen([Fixture::new().reply("Grüße, 世界")]).await;
    let odd = frozen([Fixture::new().reply(Reply::from("Grüße, 世界").odd_framing())]).await;
    let text = stream(&odd).await;
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert!(text.contains(": keep-alive\r\n\r\n"));
    let cleaned = text.replace("\r\n", "\n").replace(": keep-alive\n\n", "");
    assert_eq!(cleaned, stream(&plain).await);
    // What is no event stream has no lines.
    let bytes = |server: &MockServer| post(&server.url(), "/model/m/converse-stream", &converse("hi")).send();
    let (plain, odd) = (bytes(&plain).await.unwrap(), bytes(&odd).await.unwrap());
    assert_eq!(plain.bytes().await.unwrap(), odd.bytes().await.unwrap());
}

#[tokio::test]
async fn waits_come_before_the_answer_and_before_the_first_frame() {
    let never = Duration::from_secs(3_600);
    let soon = Duration::from_millis(1);
    let server = frozen([
        Fixture::new().on_model("soon").reply(Reply::from("Hi").delay(soon).first_frame_after(soon)),
        Fixture::new().on_model("headers").reply(Reply::from("Hi").first_frame_after(never)),
        Fixture::new().on_model("nothing").reply(Reply::from("Hi").delay(never)),
    ])
    .await;
    let ask = |model: &str| post_chat(&server.url(), &streamed(chat(model, "hi"))).send();
    assert!(ask("soon").await.unwrap().text().await.unwrap().ends_with("data: [DONE]\n\n"));
    // The headers are here long before the first frame is due.
    assert_eq!(ask("headers").await.unwrap().status(), 200);
    let hanging = tokio::spawn(ask("nothing"));
    while server.requests().len() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.requests()[2].status(), None);
    hanging.abort();
}

#[tokio::test]
async fn a_stream_is_reset_in_the_middle_of_a_wait() {
    let never = Duration::from_secs(3_600);
    let reply = Reply::from("Hi").latency(never).reset_after(Duration::from_millis(20));
    let server = frozen([Fixture::new().reply(reply)]).await;
    let stream = post_chat(&server.url(), &streamed(chat("m", "hi"))).send().await.unwrap();
    assert!(stream.text().await.is_err());
    // One that ends before is not.
    let server = frozen([Fixture::new().reply(Reply::from("Hi").reset_after(never))]).await;
    assert!(post_chat(&server.url(), &streamed(chat("m", "hi"))).send().await.unwrap().text().await.is_ok());
}

#[tokio::test]
async fn a_fault_costs_a_use_and_is_remembered() {
    let server = ServerBuilder::new()
        .with_bearer_token_uses("k", 3)
        .fixture(Fixture::new().on_model("status").fault(Fault::status(418)))
        .fixture(Fixture::new().on_model("malformed").fault(Fault::Malformed))
        .fixture(Fixture::new().on_model("hang").fault(Fault::Hang))
        .build()
        .await
        .unwrap();
    let ask = |model: &str| post_chat(&server.url(), &chat(model, "hi")).bearer_auth("k").send();
    assert_eq!(ask("status").await.unwrap().status(), 418);
    assert!(ask("malformed").await.unwrap().json::<Value>().await.is_err());
    let hanging = tokio::spawn(ask("hang"));
    while server.uses_left("k") != Some(0) {
        tokio::task::yield_now().await;
    }
    hanging.abort();
    let statuses: Vec<_> = server.requests().iter().map(portunus_mock::Recorded::status).collect();
    assert_eq!(statuses, [Some(418), Some(200), None]);
}

#[tokio::test]
async fn the_next_requests_fail_in_their_own_dialects() {
    let server = frozen([Fixture::new().on_model("m")]).await;
    let url = server.url();
    server.fail_next(2, ApiError::overloaded());
    server.fail_next(1, ApiError::new(500, "boom"));
    // What is malformed is not one of them.
    assert_eq!(post_chat(&url, &json!({})).send().await.unwrap().status(), 400);
    assert_eq!(post_chat(&url, &chat("m", "hi")).send().await.unwrap().status(), 503);
    assert_eq!(post_message(&url, &message("m", "hi")).send().await.unwrap().status(), 529);
    assert_eq!(
        post(&url, "/v1/embeddings", &json!({"model": "m", "input": "x"})).send().await.unwrap().status(),
        500
    );
    assert_eq!(post_chat(&url, &chat("m", "hi")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn any_status_can_be_asked_for() {
    let server = ServerBuilder::new().with_auth(true).build().await.unwrap();
    let get = |path: &str| client().get(server.url() + path).send();
    for status in [200, 204, 404, 503, 599] {
        assert_eq!(get(&format!("/code/{status}")).await.unwrap().status(), status);
    }
    let moved = get("/code/302").await.unwrap();
    assert_eq!((moved.status().as_u16(), header(&moved, "location")), (302, Some("/")));
    for path in ["/code/99", "/code/600", "/code/", "/code/x"] {
        assert_eq!(get(path).await.unwrap().status(), 401, "{path}");
    }
}

#[tokio::test]
async fn a_limiter_limits_requests_and_says_what_is_left() {
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    let limiter = Limiter::per(Duration::from_secs(60)).requests(NonZeroU64::new(2).unwrap());
    let server = ServerBuilder::new().faithful().clock(clock.clone()).limiter(limiter).build().await.unwrap();
    let ask = || post_chat(&server.url(), &chat("m", "hi")).send();
    let first = ask().await.unwrap();
    assert_eq!(header(&first, "x-ratelimit-limit-requests"), Some("2"));
    assert_eq!(header(&first, "x-ratelimit-remaining-requests"), Some("1"));
    assert_eq!(header(&first, "x-ratelimit-reset-requests"), Some("1m0s"));
    clock.advance(Duration::from_secs(20));
    assert_eq!(header(&ask().await.unwrap(), "x-ratelimit-remaining-requests"), Some("0"));
    let refused = ask().await.unwrap();
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, Some("40")));
    assert_eq!(header(&refused, "x-ratelimit-reset-requests"), Some("40s"));
    let anthropic = post_message(&server.url(), &message("m", "hi")).send().await.unwrap();
    assert_eq!(
        (anthropic.status().as_u16(), header(&anthropic, "anthropic-ratelimit-requests-remaining")),
        (429, Some("0"))
    );
    assert_eq!(header(&anthropic, "anthropic-ratelimit-requests-reset"), Some("2023-11-14T22:14:20Z"));
    clock.advance(Duration::from_secs(40));
    assert_eq!(ask().await.unwrap().status(), 200);
    assert_eq!(ask().await.unwrap().status(), 200);
    // However long nobody asked, no reset is in the past.
    clock.advance(Duration::from_secs(1_000));
    let anthropic = post_message(&server.url(), &message("m", "hi")).send().await.unwrap();
    assert_eq!(header(&anthropic, "anthropic-ratelimit-requests-reset"), Some("2023-11-14T22:32:00Z"));
    server.fail_next(9, ApiError::overloaded());
    server.reset();
    assert_eq!(ask().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_limiter_limits_tokens_of_input_and_output() {
    let limiter = Limiter::per(Duration::from_secs(60)).tokens(NonZeroU64::new(30).unwrap());
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    let fixture = Fixture::new().reply(Reply::from("Hi").usage(10, 8));
    let server = ServerBuilder::new().clock(clock).limiter(limiter).fixture(fixture).build().await.unwrap();
    let ask = || post_chat(&server.url(), &chat("m", "hi")).send();
    assert_eq!(header(&ask().await.unwrap(), "x-ratelimit-remaining-tokens"), Some("12"));
    assert_eq!(header(&ask().await.unwrap(), "x-ratelimit-remaining-tokens"), Some("0"));
    assert_eq!(ask().await.unwrap().status(), 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limit_is_never_exceeded_by_many_at_once() {
    let limiter = Limiter::per(Duration::from_secs(60)).requests(NonZeroU64::new(7).unwrap());
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    let server = Arc::new(ServerBuilder::new().clock(clock).limiter(limiter).build().await.unwrap());
    let url = server.url();
    let client = client();
    let calls: Vec<_> = (0..48)
        .map(|_| {
            let request = client.post(format!("{url}/v1/chat/completions")).json(&chat("m", "hi"));
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        })
        .collect();
    let mut admitted = 0;
    for call in calls {
        admitted += usize::from(call.await.unwrap() == 200);
    }
    assert_eq!(admitted, 7);
}

#[tokio::test]
async fn the_account_is_named_where_the_provider_names_it() {
    let server = ServerBuilder::new().faithful().build().await.unwrap();
    let answer = post_chat(&server.url(), &chat("m", "hi")).send().await.unwrap();
    for (name, value) in
        [("openai-organization", "org-mock"), ("openai-processing-ms", "1"), ("openai-version", "2020-10-01")]
    {
        assert_eq!(header(&answer, name), Some(value));
    }
    let answer = post_message(&server.url(), &message("m", "hi")).send().await.unwrap();
    assert_eq!(header(&answer, "anthropic-organization-id"), Some("org-mock"));
    let large = ServerBuilder::new().faithful().body_limit(10).build().await.unwrap();
    let answer = post_message(&large.url(), &message("m", "hi")).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    let id = header(&answer, "request-id").unwrap().to_owned();
    assert_eq!(json_of(answer).await["request_id"], json!(id));
}
