//! Signature Version 4 beside the hashing that it cannot do without.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says where")]

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, Uri};
use portunus_credentials::{Credential, PayloadHash, Signer};

const HOST: &str = "bedrock-runtime.eu-central-1.amazonaws.com";

fn sign(criterion: &mut Criterion) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let credential = Credential::AwsCredentials {
        access_key_id: "ASIAEXAMPLE000000000".into(),
        secret_access_key: "s".repeat(40).into(),
        session_token: Some("t".repeat(800).into()),
    };
    let signer = Signer::new("eu-central-1", "bedrock");
    let uri: Uri = format!("https://{HOST}/model/anthropic.claude-v2%3A1/invoke").parse().unwrap();
    let mut group = criterion.benchmark_group("sign");
    for (name, size) in [("1 KB", 1_000), ("100 KB", 100_000)] {
        let body = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("sigv4", name), |bencher| {
            bencher.iter(|| {
                let mut headers = HeaderMap::new();
                headers.insert("host", HeaderValue::from_static(HOST));
                let hash = PayloadHash::of(black_box(&body));
                signer.sign(&credential, &Method::POST, &uri, &mut headers, &hash, now).unwrap();
                headers
            });
        });
        group.bench_function(BenchmarkId::new("hashes", name), |bencher| {
            bencher.iter(|| hashes(black_box(&body)));
        });
    }
    group.finish();
}

/// The body's digest, that of a canonical request, four keys derived one from the other, and the signature.
fn hashes(body: &[u8]) -> hmac::Tag {
    let body = digest::digest(&digest::SHA256, body);
    let request = digest::digest(&digest::SHA256, &[b'c'; 1_200]);
    let parts: [&[u8]; 4] = [b"20270115", b"eu-central-1", b"bedrock", b"aws4_request"];
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, &[b's'; 44]);
    for part in parts {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part).as_ref());
    }
    hmac::sign(&key, &[body.as_ref(), request.as_ref()].concat())
}

criterion_group!(benches, sign);
criterion_main!(benches);
