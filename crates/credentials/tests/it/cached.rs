use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use portunus_auth_core::Clock;
use portunus_auth_core::clock::ManualClock;
use portunus_credentials::{Cached, Credential, CredentialError, CredentialProvider, RefreshPolicy};
use proptest::prelude::*;

use crate::support::{Source, Step, clock, everything, seconds, text, unavailable};

struct Fixture {
    clock: Arc<ManualClock>,
    source: Source,
    cached: Arc<Cached<Source>>,
}

fn fixture() -> Fixture {
    let clock = clock();
    let source = Source::new(&clock);
    let cached = Arc::new(Cached::new(source.clone(), clock.clone()));
    Fixture { clock, source, cached }
}

impl Fixture {
    async fn token(&self) -> String {
        text(&self.cached.resolve().await.unwrap()).to_owned()
    }

    async fn error(&self) -> CredentialError {
        self.cached.resolve().await.unwrap_err()
    }

    /// Waits for a refresh that nobody waits for to land, by giving it turns to run.
    async fn until_held(&self, token: &str) {
        while self.cached.held().is_none_or(|held| text(&held) != token) {
            tokio::task::yield_now().await;
        }
    }

    async fn until_fetches(&self, count: usize) {
        while self.source.fetches() < count {
            tokio::task::yield_now().await;
        }
    }

    /// Asks from a thousand tasks at once.
    async fn thousand(&self) -> Vec<Result<Credential, CredentialError>> {
        let barrier = Arc::new(tokio::sync::Barrier::new(1_000));
        let callers: Vec<_> = (0..1_000)
            .map(|_| {
                let (cached, barrier) = (self.cached.clone(), barrier.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    cached.resolve().await
                })
            })
            .collect();
        let mut answers = Vec::new();
        for caller in callers {
            answers.push(caller.await.unwrap());
        }
        answers
    }
}

fn refused(token: &str) -> Credential {
    Credential::BearerToken(token.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_callers_cause_one_fetch_cold_and_again_at_expiry() {
    let f = fixture();
    f.source.yields(20);
    for round in 1..=3 {
        let expected = format!("token-{round}");
        for answer in f.thousand().await {
            assert_eq!(text(&answer.unwrap()), expected);
        }
        assert_eq!(f.source.fetches(), round);
        f.clock.advance(seconds(3600));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_meet_a_landing_refresh_do_not_start_another() {
    for _ in 0..300 {
        let f = fixture();
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let cached = f.cached.clone();
                tokio::spawn(async move { cached.resolve().await })
            })
            .collect();
        for caller in callers {
            assert_eq!(text(&caller.await.unwrap().unwrap()), "token-1");
        }
        assert_eq!(f.source.fetches(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn inside_the_margin_nobody_waits_and_one_refresh_runs() {
    let f = fixture();
    assert_eq!(f.token().await, "token-1");
    f.clock.advance(seconds(3600 - 260));
    f.source.hold();
    // The refresh hangs, and still a thousand callers are answered.
    for answer in f.thousand().await {
        assert_eq!(text(&answer.unwrap()), "token-1");
    }
    assert!(f.cached.held().is_none(), "something is to be done, so the fast path does not answer");
    f.until_fetches(2).await;
    f.source.let_one_go();
    f.until_held("token-2").await;
    assert_eq!(f.source.fetches(), 2);
}

#[tokio::test]
async fn a_fresh_credential_is_not_fetched_again() {
    let f = fixture();
    f.token().await;
    f.clock.advance(seconds(3600 - 301));
    assert_eq!(f.token().await, "token-1");
    assert_eq!(text(&f.cached.held().unwrap()), "token-1");
    assert_eq!(f.source.fetches(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failing_issuer_is_asked_once_per_cool_down_and_everybody_gets_its_error() {
    let f = fixture();
    f.source.yields(20);
    f.source.then(Step::Fail(unavailable(None))).then(Step::Fail(unavailable(None)));
    for fetches in 1..=2 {
        for _ in 0..2 {
            for answer in f.thousand().await {
                let error = answer.unwrap_err();
                assert!(matches!(error, CredentialError::Unavailable { .. }), "{error:?}");
                assert!(everything(&error).contains("the issuer is down"), "{error:?}");
            }
        }
        assert_eq!(f.source.fetches(), fetches);
        f.clock.advance(seconds(5));
    }
    assert_eq!(f.token().await, "token-3");
}

#[tokio::test]
async fn every_kind_of_failure_is_remembered_as_that_kind() {
    type Is = fn(&CredentialError) -> bool;
    let kinds: [(CredentialError, Is); 3] = [
        (CredentialError::NotConfigured, |e| matches!(e, CredentialError::NotConfigured)),
        (CredentialError::Invalid("i".into()), |e| matches!(e, CredentialError::Invalid(_))),
        (CredentialError::Rejected("r".into()), |e| matches!(e, CredentialError::Rejected(_))),
    ];
    for (error, is) in kinds {
        let f = fixture();
        f.source.then(Step::Fail(error));
        assert!(is(&f.error().await), "as one who waited");
        f.clock.advance(Duration::from_millis(4_999));
        assert!(is(&f.error().await), "as one who came later");
        assert_eq!(f.source.fetches(), 1);
        f.clock.advance(Duration::from_millis(1));
        f.token().await;
    }
}

#[tokio::test]
async fn retry_after_sets_the_cool_down_within_bounds() {
    for (asked, waits) in [(0, 1), (20, 20), (86_400, 60)] {
        let f = fixture();
        f.source.then(Step::Fail(unavailable(Some(asked))));
        f.error().await;
        f.clock.advance(seconds(waits) - Duration::from_millis(1));
        match f.error().await {
            CredentialError::Unavailable { retry_after, .. } => {
                assert_eq!(retry_after, Some(Duration::from_millis(1)), "what is left of the wait");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(f.source.fetches(), 1);
        f.clock.advance(Duration::from_millis(1));
        f.token().await;
    }
}

#[tokio::test]
async fn a_failed_refresh_leaves_the_held_credential_in_service_to_its_end() {
    let f = fixture();
    f.token().await;
    for _ in 0..3 {
        f.source.then(Step::Fail(unavailable(None)));
    }
    f.clock.advance(seconds(3600 - 11));
    for second in 0..11 {
        assert_eq!(f.token().await, "token-1", "second {second}");
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        f.clock.advance(seconds(1));
    }
    // Three attempts in eleven seconds, with five between them; then nothing that works is left.
    assert_eq!(f.source.fetches(), 1 + 3);
    assert!(matches!(f.error().await, CredentialError::Unavailable { .. }));
    f.clock.advance(seconds(5));
    assert_eq!(f.token().await, "token-5");
}

#[tokio::test]
async fn a_caller_that_goes_away_at_any_point_leaves_the_refresh_running() {
    for polls in 1..=12 {
        let f = fixture();
        f.source.yields(5);
        let mut call = Box::pin(f.cached.resolve());
        let mut answered = false;
        for _ in 0..polls {
            if let Poll::Ready(answer) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                assert_eq!(text(&answer.unwrap()), "token-1");
                answered = true;
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
        f.until_held("token-1").await;
        assert_eq!(f.token().await, "token-1");
        assert_eq!(f.source.fetches(), 1, "after {polls} polls");
        assert!(polls < 12 || answered, "the last round must reach the end");
    }
}

#[tokio::test]
async fn a_call_that_is_never_polled_fetches_nothing() {
    let f = fixture();
    drop(f.cached.resolve());
    tokio::task::yield_now().await;
    assert_eq!(f.source.fetches(), 0);
}

#[tokio::test]
async fn a_refused_credential_is_dropped_and_fetched_anew_once() {
    let f = fixture();
    let old = f.cached.resolve().await.unwrap();
    for _ in 0..100 {
        f.cached.invalidate(&old);
    }
    assert!(f.cached.held().is_none());
    assert_eq!(f.token().await, "token-2");
    // A call that began with the old one, and is refused only now, does not cost the newer one.
    f.cached.invalidate(&old);
    assert_eq!(text(&f.cached.held().unwrap()), "token-2");
    assert_eq!(f.source.fetches(), 2);
}

#[tokio::test]
async fn a_late_refusal_of_an_old_credential_does_not_cost_the_newer_one() {
    let f = fixture();
    let old = f.cached.resolve().await.unwrap();
    f.clock.advance(seconds(3600));
    assert_eq!(f.token().await, "token-2");
    f.cached.invalidate(&old);
    assert_eq!(text(&f.cached.held().unwrap()), "token-2");
}

#[tokio::test]
async fn a_refusal_during_a_refresh_waits_for_that_refresh() {
    let f = fixture();
    let old = f.cached.resolve().await.unwrap();
    f.clock.advance(seconds(3600 - 200));
    f.source.hold();
    assert_eq!(f.token().await, "token-1");
    f.until_fetches(2).await;
    f.cached.invalidate(&old);
    let waiting = tokio::spawn({
        let cached = f.cached.clone();
        async move { cached.resolve().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "the refused one must not be served");
    f.source.let_one_go();
    assert_eq!(text(&waiting.await.unwrap().unwrap()), "token-2");
    f.cached.invalidate(&old);
    assert_eq!(f.token().await, "token-2");
    assert_eq!(f.source.fetches(), 2);
}

#[tokio::test]
async fn an_upstream_that_refuses_everything_does_not_flood_the_issuer() {
    let f = fixture();
    for _ in 0..100 {
        let token = f.cached.resolve().await.unwrap();
        f.cached.invalidate(&token);
    }
    assert_eq!(f.source.fetches(), 2, "the first fetch, and one forced by the first refusal");
    f.clock.advance(seconds(10));
    f.cached.invalidate(&refused("token-2"));
    assert_eq!(f.token().await, "token-3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refusals_race_with_refreshes_and_never_cost_the_newer_one() {
    let f = fixture();
    let first = f.cached.resolve().await.unwrap();
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (cached, first) = (f.cached.clone(), first.clone());
            tokio::spawn(async move {
                cached.invalidate(&first);
                cached.resolve().await
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(text(&caller.await.unwrap().unwrap()), "token-2");
    }
    assert_eq!(f.source.fetches(), 2);
}

#[tokio::test]
async fn without_an_end_it_is_kept_until_it_is_refused() {
    let f = fixture();
    f.source.then(Step::Token("for-ever", None));
    f.token().await;
    f.clock.advance(seconds(400 * 24 * 3600));
    assert_eq!(text(&f.cached.held().unwrap()), "for-ever");
    f.cached.invalidate(&refused("for-ever"));
    assert_eq!(f.token().await, "token-2");
}

#[tokio::test]
async fn what_has_expired_on_arrival_is_never_served_and_not_asked_for_again_at_once() {
    for life in [0, -1, -3600] {
        let f = fixture();
        for _ in 0..2 {
            f.source.then(Step::Token("dead", Some(life)));
        }
        for fetches in 1..=2 {
            for _ in 0..100 {
                assert!(matches!(f.error().await, CredentialError::Unavailable { .. }));
                assert!(f.cached.held().is_none());
            }
            assert_eq!(f.source.fetches(), fetches, "life {life}");
            f.clock.advance(seconds(5));
        }
        assert_eq!(f.token().await, "token-3");
    }
}

#[tokio::test]
async fn an_expired_replacement_does_not_cost_the_working_one() {
    let f = fixture();
    f.token().await;
    f.clock.advance(seconds(3500));
    f.source.then(Step::Token("dead", Some(-5)));
    for _ in 0..100 {
        assert_eq!(f.token().await, "token-1");
        tokio::task::yield_now().await;
    }
    assert_eq!(f.source.fetches(), 2);
}

#[tokio::test]
async fn a_server_that_hands_out_the_same_token_again_is_asked_every_ten_seconds_at_most() {
    let f = fixture();
    let mut asked_at = Vec::new();
    for second in 0..100 {
        f.source.clear();
        f.source.then(Step::Token("same", Some(100 - second)));
        let before = f.source.fetches();
        for _ in 0..20 {
            assert_eq!(f.token().await, "same");
            tokio::task::yield_now().await;
        }
        if f.source.fetches() > before {
            assert_eq!(f.source.fetches(), before + 1);
            asked_at.push(second);
        }
        f.clock.advance(seconds(1));
    }
    assert!(asked_at.len() >= 4, "{asked_at:?}");
    assert!(asked_at.windows(2).all(|pair| pair[1] - pair[0] >= 10), "{asked_at:?}");
}

#[tokio::test]
async fn a_token_of_a_minute_is_renewed_at_half_of_it() {
    let f = fixture();
    f.source.then(Step::Token("minute", Some(60)));
    f.token().await;
    f.clock.advance(seconds(29));
    assert_eq!(f.token().await, "minute");
    assert_eq!(f.source.fetches(), 1);
    f.clock.advance(seconds(5));
    assert_eq!(f.token().await, "minute");
    f.until_held("token-2").await;
}

#[tokio::test]
async fn the_wall_clock_set_forward_ends_a_life_early() {
    let f = fixture();
    f.token().await;
    f.clock.jump_to(f.clock.now() + seconds(3600));
    assert_eq!(f.token().await, "token-2");
}

#[tokio::test]
async fn the_wall_clock_set_back_does_not_prolong_a_life() {
    let f = fixture();
    f.token().await;
    f.clock.jump_to(f.clock.now() - seconds(600));
    assert_eq!(text(&f.cached.held().unwrap()), "token-1");
    f.clock.advance(seconds(3600 - 200));
    assert_eq!(f.token().await, "token-1");
    f.until_held("token-2").await;
    f.clock.jump_to(SystemTime::UNIX_EPOCH);
    f.clock.advance(seconds(3600));
    assert_eq!(f.token().await, "token-3");
}

#[tokio::test]
async fn the_wall_clock_does_not_move_a_cool_down() {
    let f = fixture();
    f.source.then(Step::Fail(unavailable(None)));
    f.error().await;
    f.clock.jump_to(f.clock.now() + seconds(600));
    f.error().await;
    f.clock.jump_to(f.clock.now() - seconds(1200));
    f.error().await;
    assert_eq!(f.source.fetches(), 1);
    f.clock.advance(seconds(5));
    f.token().await;
}

#[tokio::test]
async fn a_source_that_panics_is_unavailable_and_asked_again_by_the_next_call() {
    let f = fixture();
    f.source.then(Step::Panic);
    assert!(matches!(f.error().await, CredentialError::Unavailable { .. }));
    assert_eq!(f.token().await, "token-2");
}

#[test]
fn without_a_runtime_there_is_an_error_unless_something_works() {
    let f = fixture();
    let poll = || {
        let mut call = Box::pin(f.cached.resolve());
        match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("it must not wait"),
        }
    };
    assert!(matches!(poll(), Err(CredentialError::Unavailable { .. })));
    assert_eq!(f.source.fetches(), 0);

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(f.token()), "token-1");
    f.clock.advance(seconds(3600 - 100));
    assert_eq!(text(&poll().unwrap()), "token-1");
    f.clock.advance(seconds(100));
    assert!(poll().is_err());
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_a_refresh_is_replaced_by_the_next() {
    let f = fixture();
    f.source.hold();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut call = Box::pin(f.cached.resolve());
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        f.until_fetches(1).await;
    });
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    f.source.let_one_go();
    assert_eq!(runtime.block_on(f.token()), "token-2");
}

#[tokio::test]
async fn instances_spread_their_refreshes() {
    let clock = clock();
    let mut due = std::collections::BTreeSet::new();
    let instances: Vec<_> = (0..50)
        .map(|_| {
            let source = Source::new(&clock);
            (source.clone(), Cached::new(source, clock.clone()))
        })
        .collect();
    for (_, cached) in &instances {
        cached.resolve().await.unwrap();
    }
    clock.advance(seconds(3600 - 300));
    for second in 0..=30 {
        for (i, (_, cached)) in instances.iter().enumerate() {
            if cached.held().is_none() && due.iter().all(|(_, seen)| *seen != i) {
                due.insert((second, i));
            }
        }
        clock.advance(seconds(1));
    }
    assert_eq!(due.len(), 50, "each is due within the tenth of the margin");
    let moments: std::collections::BTreeSet<_> = due.iter().map(|(second, _)| second).collect();
    assert!(moments.len() > 3, "{moments:?}");
}

#[test]
fn debug_shows_no_credential() {
    let f = fixture();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    f.source.then(Step::Token("canary-1", None));
    runtime.block_on(f.token());
    assert!(!format!("{:?}", f.cached).contains("canary"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the issuer does and however time passes: what is served works, and the issuer is
    /// asked at most once a second.
    #[test]
    fn only_what_works_is_served_and_the_issuer_is_not_flooded(
        steps in proptest::collection::vec((0u8..4, -5i64..700, 0u64..400), 1..60),
        margin in 0u64..600,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let clock = clock();
        let source = Source::new(&clock);
        let policy = RefreshPolicy { margin: seconds(margin), ..RefreshPolicy::default() };
        let cached = Cached::with_policy(source.clone(), clock.clone(), policy);
        let start = clock.monotonic();
        let mut ends = None;
        runtime.block_on(async {
            for (kind, life, pause) in steps {
                let before = source.fetches();
                let step = match kind {
                    0 => Step::Fail(unavailable(None)),
                    _ => Step::Token("t", Some(life)),
                };
                let issues = kind != 0 && life >= 1;
                source.then(step);
                let now = clock.monotonic();
                let served = cached.resolve().await.is_ok();
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                let fetched = source.fetches() - before;
                if fetched == 1 && issues {
                    ends = ends.max(Some(now + seconds(life as u64)));
                }
                assert!(fetched <= 1);
                if served {
                    assert!(ends.is_some_and(|ends| now < ends), "served past its end");
                }
                // What was scripted and not fetched must not be left for the next step.
                source.clear();
                clock.advance(seconds(pause));
            }
        });
        let passed = (clock.monotonic() - start).as_secs() as usize;
        prop_assert!(source.fetches() <= passed + 1);
    }
}

#[tokio::test]
async fn a_refusal_is_asked_about_less_and_less_often() {
    let clock = clock();
    let source = Source::new(&clock);
    for _ in 0..7 {
        source.then(Step::Fail(CredentialError::Rejected("no".into())));
    }
    let cached = Cached::new(source.clone(), clock.clone());
    for (n, pause) in [5, 10, 20, 40, 60, 60].into_iter().enumerate() {
        cached.resolve().await.unwrap_err();
        clock.advance(seconds(pause) - Duration::from_millis(1));
        cached.resolve().await.unwrap_err();
        assert_eq!(source.fetches(), n + 1, "after {pause} s");
        clock.advance(Duration::from_millis(1));
    }
    source.clear();
    cached.resolve().await.unwrap();
}

#[tokio::test]
async fn a_fetch_that_hangs_is_given_up_and_may_land_late() {
    let clock = clock();
    let source = Source::new(&clock);
    let cached = Cached::new(source.clone(), clock.clone());
    source.hold();
    let first = tokio::spawn({
        let cached = cached.clone();
        async move { cached.resolve().await }
    });
    while source.fetches() < 1 {
        tokio::task::yield_now().await;
    }
    clock.advance(seconds(180));
    let second = tokio::spawn({
        let cached = cached.clone();
        async move { cached.resolve().await }
    });
    while source.fetches() < 2 {
        tokio::task::yield_now().await;
    }
    source.let_one_go();
    source.let_one_go();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(source.fetches(), 2);
}
