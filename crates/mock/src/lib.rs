#![doc = include_str!("../README.md")]

mod address;
mod answer;
mod api_error;
mod body;
mod capture;
mod clock;
mod cloud;
mod condition;
mod control;
mod desk;
mod error;
mod fault;
mod fixture;
#[cfg(feature = "fixtures")]
mod fixture_file;
mod form;
mod host;
mod key;
mod limiter;
mod llm;
mod log;
mod loopback;
mod mounted;
#[cfg(feature = "oauth")]
mod oauth;
mod observer;
mod outcome;
mod packed;
mod rate_limits;
mod reply;
mod requests;
mod secrets;
pub mod server;
mod socket;
mod step;
mod subject;
#[cfg(feature = "fixtures")]
mod template;
mod text;
mod times;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;

pub use api_error::ApiError;
pub use capture::Recorded;
pub use clock::VirtualClock;
pub use cloud::{
    AnthropicLogin, CloudBuilder, ContainerRole, EntraApp, FederationRule, GitHubJob, GoogleAccount,
    GoogleCloud, GoogleMetadata, GooglePool, GoogleUser, InstanceRole, ManagedIdentity, MockCloud,
    OpenAiMapping, StsRole,
};
pub use error::StartError;
pub use fault::Fault;
pub use fixture::Fixture;
#[cfg(feature = "fixtures")]
pub use fixture_file::FixtureError;
pub use key::Key;
pub use limiter::Limiter;
pub use log::CAPACITY;
pub use mounted::{Mounted, Unmet};
#[cfg(feature = "oauth")]
pub use oauth::{
    Algorithm, DevicePoll, DpopKey, DpopProof, GrantType, IdpBuilder, JOB_REQUEST_TOKEN, Mint, MockIdp,
    OAuthClient, OAuthConfig, Preset, RefreshPolicy, TokenFault, UnknownUserCode, User,
};
pub use portunus_auth_core::Dialect;
pub use rate_limits::{Quota, RateLimits};
pub use reply::{Reply, Stop};
pub use requests::Requests;
pub use server::{MockServer, ServerBuilder};
pub use step::Step;
pub use text::Text;
pub use times::Times;
