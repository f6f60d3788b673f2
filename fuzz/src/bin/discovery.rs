//! Any bytes as a discovery document: what it leads to is nothing but an address that keys may be fetched from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus_keyserver::Discovery;

fuzz_target!(|bytes: &[u8]| {
    let Ok(discovery) = Discovery::parse(bytes, "https://idp.example") else { return };
    let url = discovery.jwks_uri();
    assert_eq!(url.scheme(), "https");
    assert!(url.username().is_empty() && url.password().is_none());
    assert!(url.query().is_none() && url.fragment().is_none());
    let host = url.host_str().expect("a host");
    assert!(host != "localhost" && host != "[::1]" && !host.starts_with("127."), "{host}");
});
