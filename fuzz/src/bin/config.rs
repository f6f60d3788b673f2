//! Any text as a configuration of the key server, as examples of who gets what, and as a credential's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus_credentials::ProviderConfig;
use portunus_keyserver::{Config, Fixtures, Policies};

fuzz_target!(|text: &str| {
    if let Ok(config) = toml::from_str::<Config>(text) {
        let _ = Policies::new(&config);
    }
    let _ = toml::from_str::<Fixtures>(text);
    let _ = toml::from_str::<ProviderConfig>(text);
});
