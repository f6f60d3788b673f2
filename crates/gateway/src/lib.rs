#![doc = include_str!("../README.md")]

mod audit;
mod authn;
mod body;
mod call;
pub mod config;
mod control;
mod gateway;
mod limit;
mod meter;
mod origin;
mod pipeline;
mod providers;
mod reply;
mod routes;
mod server;
mod socket;
mod static_keys;
mod upstream;
mod worker;

pub use audit::AuditFile;
pub use config::{Config, ConfigError};
pub use gateway::{check, credentials, policies};
pub use providers::ProviderCredential;
pub use server::Server;
