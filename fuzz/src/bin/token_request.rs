//! Any bytes as a token request, in a form and in JSON: refused with the errors of RFC 6749, never with a crash.
#![no_main]

use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::Router;
use http::Request;
use libfuzzer_sys::fuzz_target;
use portunus_auth_core::audit::MemorySink;
use portunus_auth_core::clock::ManualClock;
use portunus_auth_core::SecretSource;
use portunus_keyserver::{Config, KeyServer, KeyServerConfig, Parts, router};
use portunus_store::Memory;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
});

fn server() -> Router {
    let clock = Arc::new(ManualClock::at_unix(1_767_225_600));
    let store = Arc::new(Memory::new(clock.clone()));
    let config = Config::new(KeyServerConfig::new("portunus"));
    let parts = Parts::new(store, clock, Arc::new(MemorySink::default()), &NoSecrets);
    router(RUNTIME.block_on(KeyServer::new(config, parts)).expect("a key server"))
}

thread_local! {
    static SERVER: Router = server();
}

fuzz_target!(|bytes: &[u8]| {
    for media in ["application/x-www-form-urlencoded", "application/json"] {
        let request = Request::post("/oauth/token").header("content-type", media);
        let request = request.body(Body::from(bytes.to_vec())).expect("a request");
        let answer = RUNTIME.block_on(SERVER.with(Router::clone).oneshot(request)).expect("an answer");
        let status = answer.status().as_u16();
        assert!([400, 413, 429].contains(&status), "{media}: {status}");
    }
});
