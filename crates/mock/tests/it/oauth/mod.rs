//! The OAuth server beyond the code flow: an endpoint, or an idea, in each file.

mod clients;
mod control;
mod device;
mod dpop;
mod exchange;
pub(crate) mod flows;
mod introspection;
mod login;
mod presets;
mod races;
mod refresh;
mod script;
mod tenants;
mod typed;
