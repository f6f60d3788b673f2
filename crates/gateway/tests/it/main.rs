//! The gateway as its callers meet it: over sockets, in front of the mock provider, with keys from the
//! mock identity provider.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
mod callers;
mod canary;
mod configuration;
mod connections;
mod federation;
mod forwarding;
mod framing;
mod keys;
mod llhttp;
mod possession;
mod refusals;
mod regressions;
mod serving;
mod wire;
mod world;
