//! A right token with some of its bytes changed: only the token itself is ever accepted.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use portunus_auth_core::{BearerToken, TenantId};
use portunus_keyserver::{Audiences, Issuer, KeySet, TokenKind, UnverifiedJwt};

/// Signed once with a key that was thrown away; `exp` is far off.
const TOKEN: &str = include_str!("../token.jwt");
const KEYS: &[u8] = include_bytes!("../keys.json");

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let audiences = Audiences::new(["portunus"]).expect("one audience");
    Issuer::new("idp", "https://idp.example", TenantId::new("acme").expect("a tenant"), audiences)
});
static KEY_SET: LazyLock<KeySet> = LazyLock::new(|| KeySet::parse(KEYS).expect("a key set"));

fn accepts(token: &str) -> bool {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let token = BearerToken::new(token);
    let Ok(jwt) = UnverifiedJwt::read(&token) else { return false };
    ISSUER.verify(&jwt, TokenKind::Any, &KEY_SET, now).is_ok()
}

fuzz_target!(|changes: Vec<(u16, u8)>| {
    let genuine = TOKEN.trim_end();
    let mut bytes = genuine.as_bytes().to_vec();
    for (place, byte) in changes {
        let place = usize::from(place) % bytes.len();
        bytes[place] = byte;
    }
    if let Ok(token) = std::str::from_utf8(&bytes) {
        assert_eq!(accepts(token), token == genuine, "a changed token was accepted, or the genuine one refused");
    }
});
