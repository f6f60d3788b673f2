//! Any text as a token: it is read or refused, and never believed before it is verified.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus_auth_core::BearerToken;
use portunus_keyserver::UnverifiedJwt;

fuzz_target!(|text: &str| {
    let _ = UnverifiedJwt::read(&BearerToken::new(text));
});
