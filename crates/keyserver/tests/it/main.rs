//! The key server as its callers see it.

#![expect(clippy::unwrap_used, reason = "a test may end where it cannot go on")]

mod addresses;
mod administration;
mod attacks;
mod config;
mod contract;
mod direct;
mod documented;
mod exchange;
mod families;
mod hangups;
mod injection;
mod introspection;
mod issuers;
mod keys;
mod limits;
mod metadata;
mod outage;
mod policies;
mod policy_properties;
mod possession;
mod presets;
mod properties;
mod regressions;
mod secrets;
mod signer;
mod support;
mod vectors;
