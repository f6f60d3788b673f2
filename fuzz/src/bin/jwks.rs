//! Any bytes as a key set.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus_keyserver::KeySet;

fuzz_target!(|bytes: &[u8]| {
    let _ = KeySet::parse(bytes);
});
