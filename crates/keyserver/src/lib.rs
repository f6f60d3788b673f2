#![doc = include_str!("../README.md")]

mod check;
mod clients;
mod config;
mod discovery;
mod dpop;
mod exchange;
mod expiring;
mod fetch;
#[cfg(feature = "axum")]
mod http;
mod identity;
mod index;
mod issuer;
mod jose;
mod json;
mod jwk;
mod jwks;
mod key;
mod keys;
mod limits;
mod naming;
mod policy;
mod possession;
mod preset;
mod public_url;
mod reach;
mod replay;
mod scope;
mod server;
mod setup;
mod tenants;
mod thumbprint;
mod verified;

pub use clients::ClientConfig;
pub use config::{
    AdminConfig, Config, DenyEffect, GrantConfig, IssuerConfig, KeyServerConfig, MatchConfig, OneOrMany,
    PolicyConfig, SpanOutOfRange, Ttl,
};
pub use discovery::{BadDiscovery, Discovery};
pub use dpop::DPOP_ALGORITHMS;
pub use exchange::{ExchangeError, IssuedKey, TokenRequest};
#[cfg(feature = "axum")]
pub use http::{openapi, router};
pub use identity::Identity;
pub use issuer::{Audiences, Issuer, NoAudience, TokenKind};
pub use jose::{Algorithm, Refused, UnverifiedJwt};
pub use jwk::{BadKeySet, KeySet};
pub use key::{KeyDigest, PREFIX, Pepper, TempKey};
pub use keys::{KeyInfo, KeyPage, Matched, Revoke};
pub use policy::{
    Case, CaseResult, Considered, Difference, Expected, ExpectedGrant, Explanation, Finding, Fixtures, Got,
    Holds, Looked, Offer, Policies, PolicyEffect, Question, Ruling, Unanswerable,
};
pub use possession::{ClientCertificate, Possession};
pub use preset::Preset;
pub use public_url::{BadPublicUrl, PublicUrl, ServerConfig};
pub use server::{Asker, BadReason, ExplainError, KeyServer, Peer, ReloadError, RevokeError, StatedReason};
pub use setup::{Parts, SetupError};
pub use tenants::TenantsConfig;
