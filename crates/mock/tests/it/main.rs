//! The mock as its users meet it: over HTTP, and through its handles.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod address;
mod anthropic_login;
mod asked;
mod auth;
mod aws;
mod bedrock;
mod blocking;
mod capture;
mod chance;
mod clock;
mod cloud;
#[cfg(feature = "oauth")]
mod code_flow;
mod control;
mod determinism;
#[cfg(feature = "oauth")]
mod documented;
mod embeddings;
mod errors;
mod expectations;
mod faults;
mod federation;
#[cfg(feature = "fixtures")]
mod files;
mod fixtures;
mod gemini;
mod google;
#[cfg(feature = "oauth")]
mod idp;
mod lifecycle;
mod llm;
mod many;
mod matching;
#[cfg(feature = "oauth")]
mod oauth;
mod parts;
mod raw;
mod responses;
mod shared;
mod sse;
mod streams;
mod support;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "oauth")]
mod tokens;
