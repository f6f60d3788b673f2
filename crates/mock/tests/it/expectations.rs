//! Fixtures that are to answer so often, and the report when they did not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use portunus_mock::{Fixture, MockServer, ServerBuilder, StartError};

use crate::support::{chat, client, message, post_chat, post_message};

async fn ask(server: &MockServer, model: &str) -> u16 {
    post_chat(&server.url(), &chat(model, "canary-prompt")).send().await.unwrap().status().as_u16()
}

/// The text of the panic that this ends with.
fn panic_of<R>(ends: impl FnOnce() -> R) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(ends)) else { panic!("it did not panic") };
    panic.downcast_ref::<String>().unwrap().clone()
}

#[tokio::test]
async fn a_server_is_content_with_as_many_answers_as_were_expected() {
    let server = MockServer::start().await;
    server.mount(Fixture::new().on_model("twice").expect(2));
    server.mount(Fixture::new().on_model("some").expect(1..));
    server.mount(Fixture::new().on_model("never").expect(0));
    server.mount(Fixture::new().on_model("whatever"));
    for model in ["twice", "some", "some", "twice", "whatever", "some"] {
        assert_eq!(ask(&server, model).await, 200);
    }
    server.verify().unwrap();
    server.assert_no_unmatched();
    server.shutdown().await;
}

#[tokio::test]
async fn the_report_names_what_was_expected_what_came_and_what_was_nearest() {
    let server = ServerBuilder::new()
        .with_bearer_token("sk-canary-1")
        .fixture(Fixture::new().named("weather").on_model("gpt-4o").user_contains("weather").expect(1))
        .fixture(Fixture::new().on_model("gpt-4o-mini").expect(2..=3))
        .fixture(Fixture::new().named("once").on_model("once").up_to(1))
        .build()
        .await
        .unwrap();
    let url = server.url();
    for model in ["gpt-4o", "gpt-4o-mini", "once", "once"] {
        let request =
            post_chat(&url, &chat(model, "canary-prompt")).header("authorization", "Bearer sk-canary-1");
        request.send().await.unwrap();
    }
    post_message(&url, &message("gpt-4o", "canary-prompt"))
        .header("x-api-key", "canary")
        .send()
        .await
        .unwrap();
    client().get(format!("{url}/v1/nothing?q=canary")).bearer_auth("sk-canary-1").send().await.unwrap();

    let unmet = server.verify().unwrap_err();
    assert_eq!(format!("{unmet}"), format!("{unmet:?}"));
    let expected = "\
fixtures did not answer as expected:
  `weather` was to answer once, and answered never
  `fixture 1` was to answer 2 to 3 times, and answered once
requests that came, 6:
  POST /v1/chat/completions for \"gpt-4o\" with sk-c…y-1: 404, no fixture matched; the nearest, `weather`, asks for another user's text
  POST /v1/chat/completions for \"gpt-4o-mini\" with sk-c…y-1: 200, answered by `fixture 1`
  POST /v1/chat/completions for \"once\" with sk-c…y-1: 200, answered by `once`
  POST /v1/chat/completions for \"once\" with sk-c…y-1: 404, no fixture matched; `once` would, but it is used up, waits for a state or was not drawn
  POST /v1/messages for \"gpt-4o\" with …: 401
  GET /v1/nothing with sk-c…y-1: 404, no such route";
    assert_eq!(unmet.to_string(), expected);
    // Dropping the server says the same.
    assert_eq!(panic_of(|| drop(server)), expected);
}

#[tokio::test]
async fn a_report_shows_the_last_requests_of_many() {
    let server = MockServer::start().await;
    server.mount(Fixture::new().on_model("other").expect(1));
    for n in 0..25 {
        ask(&server, &format!("model-{n}")).await;
    }
    let report = server.verify().unwrap_err().to_string();
    assert!(
        report.contains("the last 20 of 25") && !report.contains("model-4\"") && report.contains("model-5\"")
    );
    server.forget_requests();
    assert!(server.verify().unwrap_err().to_string().ends_with("no request came"));
    server.set_fixtures([]).unwrap();
}

#[tokio::test]
async fn a_shutdown_checks_as_well_and_a_failed_test_is_not_failed_twice() {
    let server = MockServer::start().await;
    server.mount(Fixture::new().expect(1));
    let ended = tokio::spawn(server.shutdown()).await;
    assert!(ended.unwrap_err().is_panic());

    let server = ServerBuilder::new().fixture(Fixture::new().expect(1)).build().await.unwrap();
    let said = panic_of(|| {
        let _scoped = server.mount_scoped(Fixture::new().expect(1));
        let _server = server;
        panic!("{}", "the test's own failure");
    });
    assert_eq!(said, "the test's own failure");

    let server = ServerBuilder::new().fixture(Fixture::new().expect(1)).build_blocking().unwrap();
    assert!(panic_of(|| server.shutdown_blocking()).contains("was to answer once"));
}

#[tokio::test]
async fn a_scoped_fixture_ends_with_its_guard_which_checks_it() {
    let server = MockServer::start().await;
    server.mount(Fixture::new().on_model("always"));
    {
        let _scoped = server.mount_scoped(Fixture::new().on_model("now").expect(1));
        assert_eq!(ask(&server, "now").await, 200);
    }
    assert_eq!(ask(&server, "now").await, 404);
    assert_eq!(ask(&server, "always").await, 200);
    let unused = server.mount_scoped(Fixture::new().named("unused").expect(1..));
    assert_eq!(format!("{unused:?}"), "Mounted(\"unused\")");
    let said = panic_of(|| drop(unused));
    assert!(said.contains("`unused` was to answer at least once, and answered never"), "{said}");
    // It is gone, and so is what was expected of it.
    server.verify().unwrap();
}

#[tokio::test]
async fn what_is_mounted_has_its_place_among_what_is_there() {
    let server = ServerBuilder::new()
        .fixture(Fixture::new().catch_all().named("last"))
        .fixture(Fixture::new().on_model("m").named("first"))
        .build()
        .await
        .unwrap();
    server.mount(Fixture::new().on_model("m").named("second"));
    server.mount(Fixture::new().on_model("n").named("third"));
    let urgent = server.mount_scoped(Fixture::new().on_model("n").priority(1));
    for model in ["m", "n", "o"] {
        ask(&server, model).await;
    }
    drop(urgent);
    ask(&server, "n").await;
    let requests = server.requests();
    let answered: Vec<_> = requests.iter().map(|request| request.fixture().unwrap()).collect();
    assert_eq!(answered, ["first", "fixture 4", "last", "third"]);
    requests.for_fixture("third").assert_count(1);
}

#[tokio::test]
async fn what_no_fixture_matched_is_found() {
    let server = MockServer::start().await;
    // A server without fixtures matches everything.
    ask(&server, "m").await;
    server.assert_no_unmatched();
    server.mount(Fixture::new().named("n only").on_model("n"));
    ask(&server, "n").await;
    server.assert_no_unmatched();
    ask(&server, "m").await;
    let said = panic_of(|| server.assert_no_unmatched());
    assert!(said.contains("`n only`, asks for another model") && !said.contains("canary"), "{said}");
    server.forget_requests();
    client().get(server.url() + "/v1/mesages").send().await.unwrap();
    assert!(panic_of(|| server.assert_no_unmatched()).contains("/v1/mesages: 404, no such route"));
}

#[tokio::test]
async fn a_reset_begins_to_count_again() {
    let server = ServerBuilder::new().fixture(Fixture::new().expect(1)).build().await.unwrap();
    ask(&server, "m").await;
    server.reset();
    server.verify().unwrap_err();
    ask(&server, "m").await;
}

#[tokio::test]
async fn a_fixture_that_can_do_nothing_is_not_mounted() {
    let server = MockServer::start().await;
    server.mount(Fixture::new().named("good"));
    assert_eq!(
        panic_of(|| server.mount(Fixture::new().user_contains(""))),
        "fixture 1: an empty text would match everything; leave the condition out to say so"
    );
    let built = ServerBuilder::new().fixture(Fixture::new().expect(2..2)).build().await;
    assert!(matches!(built, Err(StartError::Fixture { index: 0, .. })));
    assert_eq!(ask(&server, "m").await, 200);
}
