//! What a key costs: to be issued, to be looked up among many, and beside the token that it stands for.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says where")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portunus_auth_core::{
    AuditEvent, AuditFull, AuditSink, BearerToken, Clock as _, SecretSource, SystemClock, TenantId,
};
use portunus_keyserver::{
    Audiences, Config, Issuer, KeyServer, KeySet, Parts, Peer, Revoke, TokenKind, TokenRequest, UnverifiedJwt,
};
use portunus_mock::{Algorithm, MockIdp};
use portunus_store::{Held, Memory, NewValue, Reservation, Store, StoreError, Subscription, Window};
use serde_json::Value;
use tokio::runtime::Runtime;

/// So many people hold the keys, ten each where there are a million.
const OWNERS: usize = 100_000;

#[derive(Debug)]
struct NoAudit;

impl AuditSink for NoAudit {
    fn admit(&self) -> Result<(), AuditFull> {
        Ok(())
    }

    fn record(&self, event: AuditEvent) {
        black_box(event);
    }
}

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

/// One identity token is good for any number of keys here.
fn server(runtime: &Runtime, issuer: &str, store: Arc<dyn Store>) -> KeyServer {
    let text = format!(
        r#"
[key_server]
audience = "portunus"
max_keys_per_identity = 10_000

[[issuers]]
name = "idp"
issuer = "{issuer}"
tenant = "acme"
algorithms = ["RS256", "ES256", "EdDSA"]

[[policies]]
name = "engineers"
match = {{ issuer = "idp", groups = ["eng"] }}
grant = {{ models = ["gpt-4o*", "claude-*"], tier = "standard", ttl = "1h" }}
reusable_subject_token = true
"#
    );
    let config: Config = toml::from_str(&text).unwrap();
    runtime.block_on(async {
        let parts = Parts::new(store, Arc::new(SystemClock), Arc::new(NoAudit), &NoSecrets);
        KeyServer::new(config, parts).await.unwrap()
    })
}

/// A store that holds nothing, so that all memory is the key server's own.
#[derive(Debug)]
struct Nothing(Memory);

#[async_trait]
impl Store for Nothing {
    async fn get(&self, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    async fn put(&self, _: &str, _: &[u8], _: Option<SystemTime>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn put_if_absent(&self, _: &str, _: &[u8], _: Option<SystemTime>) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn compare_and_swap(
        &self,
        _: &str,
        _: Option<&[u8]>,
        _: Option<NewValue<'_>>,
    ) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn delete(&self, _: &str) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn scan(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }

    async fn reserve(&self, a: &str, b: u64, c: u64, d: Window) -> Result<Reservation, StoreError> {
        self.0.reserve(a, b, c, d).await
    }

    async fn settle(&self, counter: &str, reservation: Held, used: u64) -> Result<(), StoreError> {
        self.0.settle(counter, reservation, used).await
    }

    async fn publish(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        self.0.subscribe(channel).await
    }
}

fn store(state: &str) -> Arc<dyn Store> {
    portunus_store::open(state, Arc::new(SystemClock)).unwrap()
}

fn tokens(idp: &MockIdp, algorithm: Algorithm, count: usize) -> Vec<BearerToken> {
    (0..count).map(|n| token(idp, &format!("user-{n}"), algorithm)).collect()
}

fn token(idp: &MockIdp, subject: &str, algorithm: Algorithm) -> BearerToken {
    let mint = idp.mint(subject).audience("portunus").claim("groups", ["eng"]).algorithm(algorithm);
    BearerToken::new(mint.id_token())
}

async fn issue(server: &KeyServer, subject: &BearerToken) -> portunus_keyserver::IssuedKey {
    let request = TokenRequest::new(subject.clone(), TokenKind::Identity);
    server.exchange(request, Peer::default()).await.unwrap()
}

fn exchange(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let idp = MockIdp::builder().build().unwrap();
    let mut group = criterion.benchmark_group("exchange");
    for (name, algorithm) in [("RS256", Algorithm::Rs256), ("ES256", Algorithm::Es256)] {
        let server = server(&runtime, idp.issuer(), store("memory:"));
        let subjects = tokens(&idp, algorithm, 1_000);
        let mut turn = 0;
        group.throughput(criterion::Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % subjects.len();
                runtime.block_on(issue(&server, &subjects[turn]))
            });
        });
    }
    group.finish();
}

fn find(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let idp = MockIdp::builder().build().unwrap();
    let subjects = tokens(&idp, Algorithm::EdDsa, OWNERS);
    let mut group = criterion.benchmark_group("find");
    for live in [10, 10_000, 1_000_000] {
        let store = Arc::new(Nothing(Memory::new(Arc::new(SystemClock))));
        let server = server(&runtime, idp.issuer(), store);
        let before = resident();
        let keys: Vec<_> = runtime.block_on(async {
            let mut kept = Vec::new();
            for n in 0..live {
                let key = issue(&server, &subjects[n % OWNERS]).await.access_token;
                // Looked up in turn, so that neither the key nor its record is in a processor's cache.
                if kept.len() < 10_000 || n % 100 == 0 {
                    kept.push(key);
                }
            }
            kept
        });
        eprintln!("{live} live keys: {} bytes each", resident().saturating_sub(before) / live);
        // Ten that are in use, wherever among the others; and all in turn, which no processor's cache holds.
        let spread = keys.len() / 10;
        let in_use: Vec<_> = keys.iter().step_by(spread).take(10).collect();
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("ten in use among", live), |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % in_use.len();
                server.find(black_box(in_use[turn])).unwrap()
            });
        });
        group.bench_function(BenchmarkId::new("all in turn among", live), |bencher| {
            bencher.iter(|| {
                turn = (turn + 7_919) % keys.len();
                server.find(black_box(&keys[turn])).unwrap()
            });
        });
    }
    group.finish();
}

/// Of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
}

fn jwt(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let idp = MockIdp::builder().build().unwrap();
    let server = server(&runtime, idp.issuer(), store("memory:"));
    let issuer = Issuer::new(
        "idp",
        idp.issuer(),
        TenantId::new("acme").unwrap(),
        Audiences::new(["portunus"]).unwrap(),
    );
    let set = runtime.block_on(async {
        let url = format!("{}/.well-known/openid-configuration", idp.issuer());
        let about: Value = serde_json::from_slice(&get(&url).await).unwrap();
        get(about["jwks_uri"].as_str().unwrap()).await
    });
    let keys = KeySet::parse(&set).unwrap();
    let mut group = criterion.benchmark_group("jwt");
    for (name, algorithm) in [("RS256", Algorithm::Rs256), ("ES256", Algorithm::Es256)] {
        let (token, now) = (token(&idp, "alice", algorithm), SystemClock.now());
        runtime.block_on(server.verify(&token)).unwrap();
        group.bench_function(BenchmarkId::new("cold", name), |bencher| {
            bencher.iter(|| {
                let jwt = UnverifiedJwt::read(black_box(&token)).unwrap();
                issuer.verify(&jwt, TokenKind::Any, &keys, now).unwrap()
            });
        });
        let (signed, signature) = token.expose().rsplit_once('.').unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        let raw = raw(&set, name);
        group.bench_function(BenchmarkId::new("signature alone", name), |bencher| {
            bencher.iter(|| raw(black_box(signed.as_bytes()), &signature));
        });
        group.bench_function(BenchmarkId::new("warm", name), |bencher| {
            bencher.iter(|| server.verified(black_box(&token)).unwrap());
        });
    }
    group.finish();
}

type Verify = Box<dyn Fn(&[u8], &[u8])>;

/// aws-lc-rs, and nothing around it.
fn raw(set: &[u8], algorithm: &str) -> Verify {
    let set: Value = serde_json::from_slice(set).unwrap();
    let keys = set["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["alg"] == algorithm).unwrap();
    let part = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    if algorithm == "RS256" {
        let key = RsaPublicKeyComponents { n: part("n"), e: part("e") };
        return Box::new(move |signed, signature| {
            key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).unwrap();
        });
    }
    let point = [&[4][..], &part("x"), &part("y")].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    Box::new(move |signed, signature| key.verify(signed, signature).unwrap())
}

async fn get(url: &str) -> Vec<u8> {
    reqwest::get(url).await.unwrap().bytes().await.unwrap().to_vec()
}

/// In the embedded store, where what is acknowledged survives; 64 callers share a commit.
fn embedded(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let idp = MockIdp::builder().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = format!("file:{}", folder.path().join("keys.redb").display());
    let server = server(&runtime, idp.issuer(), store(&state));
    let subjects = tokens(&idp, Algorithm::EdDsa, 64);
    let mut group = criterion.benchmark_group("issue and revoke, embedded");
    group.sample_size(10);
    for callers in [1, 64] {
        group.throughput(criterion::Throughput::Elements(callers as u64));
        group.bench_function(BenchmarkId::new("callers", callers), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let call = |subject: &BearerToken| {
                        let (server, subject) = (server.clone(), subject.clone());
                        tokio::spawn(async move {
                            let key = issue(&server, &subject).await;
                            server.revoke(Revoke::Key(key.key_id)).await.unwrap();
                        })
                    };
                    for call in subjects.iter().take(callers).map(call).collect::<Vec<_>>() {
                        call.await.unwrap();
                    }
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, exchange, jwt, find, embedded);
criterion_main!(benches);
