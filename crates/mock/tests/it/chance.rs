//! What is left to chance is the same for the same seed, and fixtures of a running server can be replaced.

use portunus_mock::{Fixture, ServerBuilder, StartError};
use proptest::prelude::*;

use crate::support::{chat, client, post_chat};

/// Which of 40 requests fail, when each does with a probability of 0.3.
async fn failures(builder: ServerBuilder, own_seed: Option<u64>) -> Vec<bool> {
    let chaos = Fixture::new().probability(0.3).respond_with_error(503, "chaos");
    let chaos = own_seed.into_iter().fold(chaos, Fixture::seed);
    let server = builder.fixture(chaos).fixture(Fixture::new()).build().await.unwrap();
    let (client, url) = (client(), format!("{}/v1/chat/completions", server.url()));
    let mut failed = Vec::new();
    for _ in 0..40 {
        let answer = client.post(&url).json(&chat("m", "hi")).send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 200 | 503));
        failed.push(answer.status() == 503);
    }
    failed
}

#[tokio::test]
async fn the_same_seed_draws_the_same() {
    let first = failures(ServerBuilder::new().seed(7), None).await;
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
    assert_eq!(failures(ServerBuilder::new().seed(7), None).await, first);
    assert_ne!(failures(ServerBuilder::new().seed(8), None).await, first);

    let own = failures(ServerBuilder::new().seed(7), Some(99)).await;
    assert_ne!(own, first);
    let before = ServerBuilder::new().fixture(Fixture::new().on_model("other").priority(1));
    assert_eq!(failures(before, Some(99)).await, own, "a fixture's own seed does not depend on others");
}

#[tokio::test]
async fn a_reset_draws_the_same_again() {
    let chaos = Fixture::new().probability(0.5).respond_with_error(503, "chaos");
    let server = ServerBuilder::new().fixture(chaos).fixture(Fixture::new()).build().await.unwrap();
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut statuses = Vec::new();
        for _ in 0..20 {
            let answer = post_chat(&server.url(), &chat("m", "hi")).send().await.unwrap();
            statuses.push(answer.status().as_u16());
        }
        runs.push(statuses);
        server.reset();
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn fixtures_are_replaced_as_a_whole_or_not_at_all() {
    let server = ServerBuilder::new().fixture(Fixture::new().up_to(1)).build().await.unwrap();
    let status = || async { post_chat(&server.url(), &chat("m", "hi")).send().await.unwrap().status() };
    assert_eq!(status().await, 200);
    assert_eq!(status().await, 404, "used up");

    let wrong = [Fixture::new(), Fixture::new().user_contains("")];
    assert!(matches!(server.set_fixtures(wrong), Err(StartError::Fixture { index: 1, .. })));
    assert_eq!(status().await, 404, "the old ones go on");

    server.set_fixtures([Fixture::new().up_to(1)]).unwrap();
    assert_eq!(status().await, 200, "nothing was counted yet");
    assert_eq!(status().await, 404);
    server.set_fixtures([]).unwrap();
    assert_eq!(status().await, 200, "without fixtures it answers a fixed text");
}

proptest! {
    #[test]
    fn a_probability_is_a_number_from_0_to_1(probability in prop_oneof![-2.0..3.0, Just(f64::NAN), any::<f64>()]) {
        let fixture = Fixture::new().probability(probability);
        let built = futures_util::FutureExt::now_or_never(ServerBuilder::new().fixture(fixture).build());
        prop_assert_eq!(built.is_some_and(|built| built.is_ok()), (0.0..=1.0).contains(&probability));
    }
}
