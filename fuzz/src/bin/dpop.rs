//! Any text as a proof of possession, and a right one with some of its bytes changed: only the proof itself is
//! ever accepted.
#![no_main]

use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use http::Method;
use libfuzzer_sys::fuzz_target;
use portunus_auth_core::audit::MemorySink;
use portunus_auth_core::clock::ManualClock;
use portunus_auth_core::{
    Allow, AuthError, BearerToken, Confirmation, Grant, Principal, PrincipalId, Reason, SecretSource,
    TenantId, TierName, Via,
};
use portunus_keyserver::{Config, KeyServer, Parts, Possession};
use portunus_store::Memory;
use tokio::runtime::Runtime;

/// Signed once, for a POST to `/v1/messages` with the token `token`, by the key of this thumbprint.
const PROOF: &str = include_str!("../proof.jwt");
const THUMBPRINT: &str = "IjnPaBaau-8diI04bAHhrFIiUNl4DzbfLWHgy9oXfXk";
const ISSUED_AT: u64 = 1_767_225_600;

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"));

static SERVER: LazyLock<KeyServer> = LazyLock::new(|| {
    let clock = Arc::new(ManualClock::at_unix(ISSUED_AT));
    let store = Arc::new(Memory::new(clock.clone()));
    let config: Config = toml::from_str(
        "[server]\npublic_url = \"https://llm.example.com\"\n[key_server]\naudience = \"portunus\"\n",
    )
    .expect("a configuration");
    let parts = Parts::new(store, clock, Arc::new(MemorySink::default()), &NoSecrets);
    RUNTIME.block_on(KeyServer::new(config, parts)).expect("a key server")
});

/// Somebody whose token is bound to that key.
static HOLDER: LazyLock<Principal> = LazyLock::new(|| {
    let id = PrincipalId {
        tenant: TenantId::new("acme").expect("a tenant"),
        issuer: "idp".into(),
        subject: "alice".into(),
    };
    let grant = Grant {
        models: Allow::All,
        tools: Allow::All,
        upstreams: Allow::All,
        roles: Allow::none(),
        tier: TierName::new("standard").expect("a tier"),
        expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(ISSUED_AT + 3600),
        confirmation: Some(Confirmation::Jkt(THUMBPRINT.into())),
    };
    Principal::authenticated(id, grant, Via::Jwt)
});

fn accepts(proof: &str) -> bool {
    let shown = Possession::new(Method::POST, "/v1/messages").with_proof(BearerToken::new(proof));
    match SERVER.prove(&HOLDER, &BearerToken::new("token"), &shown) {
        Ok(()) | Err(AuthError::Unproven(Reason::ReplayedProof)) => true,
        Err(_) => false,
    }
}

fuzz_target!(|input: (&str, Vec<(u16, u8)>)| {
    let (text, changes) = input;
    let genuine = PROOF.trim_end();
    assert!(text == genuine || !accepts(text), "a proof out of nothing was accepted");
    let mut bytes = genuine.as_bytes().to_vec();
    for (place, byte) in changes {
        let place = usize::from(place) % bytes.len();
        bytes[place] = byte;
    }
    if let Ok(proof) = std::str::from_utf8(&bytes) {
        assert_eq!(
            accepts(proof),
            proof == genuine,
            "a changed proof was accepted, or the genuine one refused"
        );
    }
});
