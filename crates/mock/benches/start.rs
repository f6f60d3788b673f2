//! What it costs to start a server and to end it, as every test does.
//!
//! `cargo bench -p portunus-mock`
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says where")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portunus_mock::{Fixture, ServerBuilder};

fn start(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("start and drop");
    let llm = || ServerBuilder::new().fixture(Fixture::new().respond_with_content("Hi"));
    group.bench_function("llm", |bencher| {
        bencher.iter(|| black_box(llm().build_blocking().unwrap()));
    });
    group.bench_function("llm with 100 fixtures", |bencher| {
        let fixtures = (0..100).map(|n| Fixture::new().on_model(format!("m{n}")));
        let fixtures: Vec<_> = fixtures.collect();
        bencher.iter(|| {
            black_box(fixtures.iter().cloned().fold(llm(), ServerBuilder::fixture).build_blocking().unwrap())
        });
    });
    #[cfg(feature = "oauth")]
    group.bench_function("llm and oauth", |bencher| {
        bencher.iter(|| black_box(llm().with_oauth_defaults().build_blocking().unwrap()));
    });
    group.finish();
}

criterion_group!(benches, start);
criterion_main!(benches);
