//! A credential that is held, read by several tasks at once: `Cached` beside the usual cache behind a
//! `tokio::sync::RwLock`.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says where")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use portunus_auth_core::{Clock, SystemClock};
use portunus_credentials::{
    Cached, Credential, CredentialError, CredentialProvider, CredentialSource, Issued,
};
use tokio::runtime::Runtime;
use tokio::sync::RwLock;

const HOUR: Duration = Duration::from_secs(3_600);
const MARGIN: Duration = Duration::from_secs(300);
/// So many reads are one measurement, shared among the tasks.
const READS: u64 = 8_000;

#[derive(Debug)]
struct Issuer(Arc<dyn Clock>);

impl Issuer {
    fn issue(&self) -> Issued {
        // As long as a token of Microsoft Entra ID.
        Issued::new(Credential::BearerToken("t".repeat(1_500).into()), self.0.now() + HOUR)
    }
}

#[async_trait]
impl CredentialSource for Issuer {
    async fn fetch(&self) -> Result<Issued, CredentialError> {
        Ok(self.issue())
    }
}

/// A read lock for each caller, a write lock for the one that refreshes.
#[derive(Debug)]
struct Locked {
    issuer: Issuer,
    held: RwLock<Option<(Credential, SystemTime)>>,
}

#[async_trait]
impl CredentialProvider for Locked {
    async fn resolve(&self) -> Result<Credential, CredentialError> {
        let now = self.issuer.0.now();
        if let Some((credential, end)) = &*self.held.read().await
            && now + MARGIN < *end
        {
            return Ok(credential.clone());
        }
        let mut held = self.held.write().await;
        let issued = self.issuer.issue();
        *held = Some((issued.credential.clone(), issued.expires_at.unwrap_or(now)));
        Ok(issued.credential)
    }
}

fn run<P: Send + Sync + 'static, F: Future<Output = ()> + Send>(
    runtime: &Runtime,
    tasks: u64,
    provider: &Arc<P>,
    read: impl Fn(Arc<P>) -> F + Copy + Send + 'static,
) {
    runtime.block_on(async {
        let task = || {
            let provider = provider.clone();
            tokio::spawn(async move {
                for _ in 0..READS / tasks {
                    read(provider.clone()).await;
                }
            })
        };
        for task in (0..tasks).map(|_| task()).collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

fn resolve(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cached = Arc::new(Cached::new(Issuer(clock.clone()), clock.clone()));
    let locked = Arc::new(Locked { issuer: Issuer(clock), held: RwLock::default() });
    runtime.block_on(async {
        cached.resolve().await.unwrap();
        locked.resolve().await.unwrap();
    });
    let mut group = criterion.benchmark_group("resolve");
    group.throughput(Throughput::Elements(READS));
    for tasks in [1, 2, 8] {
        group.bench_function(BenchmarkId::new("held", tasks), |bencher| {
            bencher.iter(|| {
                run(&runtime, tasks, &cached, async |cached| {
                    black_box(cached.held());
                });
            });
        });
        group.bench_function(BenchmarkId::new("cached", tasks), |bencher| {
            bencher.iter(|| {
                run(&runtime, tasks, &cached, async |cached| {
                    black_box(cached.resolve().await.ok());
                });
            });
        });
        group.bench_function(BenchmarkId::new("rwlock", tasks), |bencher| {
            bencher.iter(|| {
                run(&runtime, tasks, &locked, async |locked| {
                    black_box(locked.resolve().await.ok());
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, resolve);
criterion_main!(benches);
