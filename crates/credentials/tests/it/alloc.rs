use std::hint::black_box;

use portunus_credentials::{Cached, CredentialProvider};

use crate::support::{Source, clock};

#[test]
fn reading_a_fresh_credential_allocates_nothing() {
    let clock = clock();
    let cached = Cached::new(Source::new(&clock), clock);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(cached.resolve()).unwrap();
    let provider: &dyn CredentialProvider = &cached;

    assert!(allocation_counter::measure(|| drop(black_box(vec![1_u8]))).count_total > 0, "it counts");
    let counted = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            black_box(provider.held().unwrap());
        }
    });
    assert_eq!(counted.count_total, 0);
}
