//! The cache's own source under a model checker, which tries out how its threads can interleave.
//!
//! Only what it is synchronised with is replaced (`sync.rs`); a schedule that fails is printed and can be
//! replayed. A binary of its own, because the source is compiled a second time here.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../../src/cached/mod.rs"]
#[cfg_attr(
    any(
        feature = "anthropic-auth",
        feature = "azure-auth",
        feature = "bedrock-auth",
        feature = "openai-auth",
        feature = "vertex-auth"
    ),
    expect(dead_code, reason = "the model changes no source")
)]
#[expect(unreachable_pub, reason = "the model uses a part of the cache's interface")]
mod cached;
mod sync;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use cached::Cached;
use portunus_auth_core::clock::ManualClock;
use portunus_auth_core::secret::ExposeSecret;
use portunus_auth_core::{Clock, Credential, CredentialError, CredentialSource, Issued};
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};

/// Interleavings per property: half at random, half of them with few, well placed preemptions.
const SCHEDULES: usize = 2_000;
const PREEMPTIONS: usize = 3;

const LIFE: Duration = Duration::from_secs(3_600);

fn explore(model: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(model.clone(), SCHEDULES / 2);
    shuttle::check_pct(model, SCHEDULES / 2, PREEMPTIONS);
}

/// Issues `token-1`, `token-2`, …, or fails.
#[derive(Clone, Debug)]
struct Issuer {
    clock: Arc<ManualClock>,
    fetches: Arc<AtomicUsize>,
    fails: bool,
}

#[async_trait]
impl CredentialSource for Issuer {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        let n = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        yield_now().await;
        if self.fails {
            return Err(CredentialError::Rejected("no".into()));
        }
        Ok(Issued::new(Credential::BearerToken(format!("token-{n}").into()), self.clock.now() + LIFE))
    }
}

struct Model {
    clock: Arc<ManualClock>,
    issuer: Issuer,
    cache: Cached<Issuer>,
}

fn model(fails: bool) -> Model {
    let clock = Arc::new(ManualClock::at_unix(1_700_000_000));
    let issuer = Issuer { clock: clock.clone(), fetches: Arc::default(), fails };
    let cache = Cached::new(issuer.clone(), clock.clone());
    Model { clock, issuer, cache }
}

impl Model {
    fn fetches(&self) -> usize {
        self.issuer.fetches.load(Ordering::SeqCst)
    }

    fn callers(&self, count: usize) -> Vec<JoinHandle<Result<String, CredentialError>>> {
        let call = || {
            let cache = self.cache.clone();
            spawn(async move { cache.current().await.map(|credential| token(&credential)) })
        };
        (0..count).map(|_| call()).collect()
    }
}

fn token(credential: &Credential) -> String {
    match credential {
        Credential::BearerToken(token) => token.expose_secret().to_owned(),
        other => panic!("not a bearer token: {other:?}"),
    }
}

#[test]
fn callers_without_a_credential_share_one_fetch() {
    explore(|| {
        block_on(async {
            let model = model(false);
            for caller in model.callers(3) {
                assert_eq!(caller.await.unwrap().unwrap(), "token-1");
            }
            assert_eq!(model.fetches(), 1);
        });
    });
}

#[test]
fn nobody_waits_for_a_refresh_and_there_is_one() {
    explore(|| {
        block_on(async {
            let model = model(false);
            model.cache.current().await.unwrap();
            model.clock.advance(LIFE - Duration::from_secs(60));
            for caller in model.callers(3) {
                let served = caller.await.unwrap().unwrap();
                assert!(served == "token-1" || served == "token-2", "{served}");
            }
            while model.cache.held().is_none() {
                yield_now().await;
            }
            assert_eq!(model.fetches(), 2);
            // A call that finds an old credential answers in its first poll.
            model.clock.advance(LIFE - Duration::from_secs(60));
            let first = pin!(model.cache.current()).as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(first, Poll::Ready(Ok(_))));
        });
    });
}

#[test]
fn a_failure_is_shared_and_not_repeated() {
    explore(|| {
        block_on(async {
            let model = model(true);
            for caller in model.callers(3) {
                let error = caller.await.unwrap().unwrap_err();
                assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
            }
            assert_eq!(model.fetches(), 1);
            model.clock.advance(Duration::from_secs(5));
            model.cache.current().await.unwrap_err();
            assert_eq!(model.fetches(), 2);
        });
    });
}

#[test]
fn a_caller_that_goes_away_takes_nothing_along() {
    explore(|| {
        block_on(async {
            let model = model(false);
            let callers = model.callers(3);
            callers[0].abort();
            for caller in callers.into_iter().skip(1) {
                assert_eq!(caller.await.unwrap().unwrap(), "token-1");
            }
            assert_eq!(token(&model.cache.current().await.unwrap()), "token-1");
            assert_eq!(model.fetches(), 1);
        });
    });
}

#[test]
fn a_refused_credential_is_replaced_once_and_never_a_newer_one() {
    explore(|| {
        block_on(async {
            let model = model(false);
            let refused = model.cache.current().await.unwrap();
            let refuse = || {
                let (cache, refused) = (model.cache.clone(), refused.clone());
                let clock = model.clock.clone();
                spawn(async move {
                    cache.invalidate(&refused);
                    // The next refusal would be heeded again, were it about what is held by then.
                    clock.advance(Duration::from_secs(10));
                    cache.current().await.map(|credential| token(&credential))
                })
            };
            let callers = [refuse(), refuse(), refuse()];
            for caller in callers {
                assert_eq!(caller.await.unwrap().unwrap(), "token-2");
            }
            assert_eq!(model.fetches(), 2);
        });
    });
}
