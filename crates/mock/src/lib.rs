#![doc = include_str!("../README.md")]

mod answer;
mod body;
mod capture;
mod cloud;
mod desk;
mod error;
mod fault;
mod fixture;
mod form;
mod host;
mod llm;
#[cfg(feature = "oauth")]
mod oauth;
mod secrets;
pub mod server;
mod socket;

pub use capture::{CAPACITY, Recorded};
pub use cloud::{
    AnthropicLogin, CloudBuilder, ContainerRole, EntraApp, FederationRule, GitHubJob, GoogleAccount,
    GoogleCloud, GoogleMetadata, GooglePool, GoogleUser, InstanceRole, ManagedIdentity, MockCloud,
    OpenAiMapping, StsRole,
};
pub use error::StartError;
pub use fault::Fault;
pub use fixture::Fixture;
#[cfg(feature = "oauth")]
pub use oauth::{
    Algorithm, DevicePoll, DpopKey, DpopProof, GrantType, IdpBuilder, JOB_REQUEST_TOKEN, Mint, MockIdp,
    OAuthClient, OAuthConfig, Preset, RefreshPolicy, TokenFault, UnknownUserCode, User,
};
pub use server::{MockServer, ServerBuilder};
