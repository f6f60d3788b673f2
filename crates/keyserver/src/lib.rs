#![doc = include_str!("../README.md")]

mod check;
mod config;
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
mod policy;
mod replay;
mod scope;
mod server;
mod setup;
mod verified;

pub use config::{
    AdminConfig, Config, DenyEffect, GrantConfig, IssuerConfig, KeyServerConfig, MatchConfig, OneOrMany,
    PolicyConfig, SpanOutOfRange, Ttl,
};
pub use exchange::{ExchangeError, IssuedKey, TokenRequest};
#[cfg(feature = "axum")]
pub use http::router;
pub use identity::Identity;
pub use issuer::{Audiences, Issuer, NoAudience, TokenKind};
pub use jose::{Algorithm, Refused, UnverifiedJwt};
pub use jwk::{BadKeySet, KeySet};
pub use key::{KeyDigest, PREFIX, Pepper, TempKey};
pub use keys::Revoke;
pub use policy::{
    Case, CaseResult, Considered, Difference, Expected, ExpectedGrant, Explanation, Finding, Fixtures, Got,
    Holds, Looked, Offer, Policies, PolicyEffect, Question, Ruling, Unanswerable,
};
pub use server::{ExplainError, KeyServer, Peer, ReloadError, RevokeError};
pub use setup::{Parts, SetupError};
