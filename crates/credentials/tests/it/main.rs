//! What the crate promises, through its public interface.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod alloc;
#[cfg(feature = "anthropic-auth")]
mod anthropic;
#[cfg(feature = "bedrock-auth")]
mod aws;
#[cfg(all(feature = "azure-auth", feature = "bedrock-auth"))]
mod aws_canary;
#[cfg(feature = "bedrock-auth")]
mod aws_config;
#[cfg(feature = "azure-auth")]
mod azure;
#[cfg(feature = "azure-auth")]
mod azure_canary;
#[cfg(feature = "azure-auth")]
mod azure_identity;
mod cached;
#[cfg(feature = "azure-auth")]
mod canary;
#[cfg(all(unix, feature = "command"))]
mod command;
mod config;
#[cfg(feature = "azure-auth")]
mod entra;
#[cfg(all(feature = "anthropic-auth", feature = "azure-auth", feature = "openai-auth"))]
mod federation_canary;
#[cfg(feature = "vertex-auth")]
mod google;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod identity;
#[cfg(feature = "openai-auth")]
mod openai;
#[cfg(feature = "schema")]
mod schema;
#[cfg(feature = "bedrock-auth")]
mod sign;
mod sources;
mod support;
#[cfg(feature = "bedrock-auth")]
mod web_identity;
