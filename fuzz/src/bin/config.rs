//! Any text as a configuration of the key server, and of a credential.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus_credentials::ProviderConfig;
use portunus_keyserver::Config;

fuzz_target!(|text: &str| {
    let _ = toml::from_str::<Config>(text);
    let _ = toml::from_str::<ProviderConfig>(text);
});
