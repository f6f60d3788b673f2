//! The key server as its callers see it.

mod config;
mod contract;
mod direct;
mod exchange;
mod issuers;
mod keys;
mod properties;
mod regressions;
mod secrets;
mod support;
mod vectors;
