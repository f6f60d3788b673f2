//! `kill -9` loses nothing that was acknowledged.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portunus_mock::MockIdp;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::program::{Serving, client, config};

const ADMIN: &str = "admin-token-of-this-test";
const KEYS: usize = 1_000;
const CALLERS: usize = 16;

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    jti: String,
}

/// What the gateway has acknowledged.
#[derive(Default)]
struct Acknowledged {
    issued: Vec<Issued>,
    revoked: Vec<Issued>,
}

/// How often the gateway is killed while it works.
const KILLS: usize = 12;

/// A key in exchange for a token; `None` when the gateway died.
async fn exchange(client: &reqwest::Client, url: &str, token: &str, kind: &str) -> Option<Issued> {
    let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token),
        ("subject_token_type", &kind),
    ];
    let answer = client.post(format!("{url}/auth/token")).form(&form).send().await.ok()?;
    assert_eq!(answer.status(), 200);
    answer.json::<Issued>().await.ok()
}

/// Callers who issue keys, and revoke every fifth, half of them with one that descends from it, until `KEYS` have
/// been asked for or the gateway dies.
fn callers(
    url: &str,
    idp: &Arc<MockIdp>,
    next: &Arc<AtomicUsize>,
    known: &Arc<Mutex<Acknowledged>>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let caller = |_| {
        let (url, idp, next, known) = (url.to_owned(), idp.clone(), next.clone(), known.clone());
        tokio::spawn(async move {
            let client = client();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= KEYS {
                    return;
                }
                let token =
                    idp.mint(format!("user-{n}")).audience("portunus").claim("groups", ["eng"]).id_token();
                let Some(key) = exchange(&client, &url, &token, "id_token").await else { return };
                if n % 5 != 0 {
                    known.lock().await.issued.push(key);
                    continue;
                }
                let mut family = Vec::new();
                if n % 10 == 0 {
                    family.extend(exchange(&client, &url, &key.access_token, "access_token").await);
                }
                let revoke = client.delete(format!("{url}/auth/token/{}", key.jti)).bearer_auth(ADMIN);
                // One whose revocation was not answered may be either.
                if let Ok(answer) = revoke.send().await {
                    assert_eq!(answer.status(), 204);
                    family.push(key);
                    known.lock().await.revoked.extend(family);
                }
            }
        })
    };
    (0..CALLERS).map(caller).collect()
}

/// Whether the gateway knows the key: a request without a body is then malformed rather than unknown.
async fn is_known(client: &reqwest::Client, url: &str, key: &str) -> bool {
    let answer = client.post(format!("{url}/v1/chat/completions")).bearer_auth(key).send().await.unwrap();
    match answer.status().as_u16() {
        400 => true,
        401 => false,
        other => panic!("unexpected status {other}"),
    }
}

fn prepare(folder: &Path, issuer: &str) {
    std::fs::write(folder.join("admin.key"), ADMIN).unwrap();
    std::fs::write(folder.join("portunus.toml"), config(issuer)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_key_outlives_a_kill_and_every_revoked_one_stays_dead() {
    let folder = tempfile::tempdir().unwrap();
    let idp = Arc::new(MockIdp::builder().build().unwrap());
    prepare(folder.path(), idp.issuer());
    let known = Arc::new(Mutex::new(Acknowledged::default()));
    let next = Arc::new(AtomicUsize::new(0));

    // Killed again and again in the middle of the work, and once at its end.
    for after in (1..=KILLS).map(|kill| KEYS * kill / (KILLS + 1)).chain([KEYS]) {
        let mut serving = Serving::start(folder.path());
        let callers = callers(&serving.url, &idp, &next, &known);
        while next.load(Ordering::Relaxed) < after {
            tokio::task::yield_now().await;
        }
        if after < KEYS {
            serving.child.kill().unwrap();
        }
        for caller in callers {
            caller.await.unwrap();
        }
        serving.child.kill().unwrap();
        serving.child.wait().unwrap();
    }

    let serving = Serving::start(folder.path());
    let client = client();
    let known = known.lock().await;
    assert!(known.issued.len() > KEYS / 2 && known.revoked.len() > KEYS / 10, "too little was acknowledged");
    for key in &known.issued {
        assert!(
            is_known(&client, &serving.url, &key.access_token).await,
            "an issued key is lost: {}",
            key.jti
        );
    }
    for key in &known.revoked {
        assert!(
            !is_known(&client, &serving.url, &key.access_token).await,
            "a revoked key lives: {}",
            key.jti
        );
    }
}
