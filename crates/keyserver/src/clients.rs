//! Resource servers that may ask what a key is good for.

use std::collections::HashSet;
use std::sync::Arc;

use portunus_auth_core::{BearerToken, ConfigProblem, SecretRef, SecretSource, TenantId};
use serde::Deserialize;

use crate::check::is_name;
use crate::key::SecretDigest;

/// One of `[[key_server.clients]]`: a resource server that may introspect keys (RFC 7662).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Its name, the `client_id`.
    pub id: String,
    /// Its secret, at least 16 characters without white space.
    pub secret: SecretRef,
    /// The tenant whose keys it may ask about. Of all others it is told that they are not active.
    pub tenant: TenantId,
}

impl ClientConfig {
    /// A client of that name, which presents this secret.
    pub fn new(id: impl Into<String>, secret: SecretRef, tenant: TenantId) -> Self {
        Self { id: id.into(), secret, tenant }
    }
}

/// The configured clients.
#[derive(Debug, Default)]
pub(crate) struct Clients(Vec<Client>);

/// A configured client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: Arc<str>,
    pub(crate) tenant: TenantId,
    secret: SecretDigest,
}

impl Clients {
    /// Opens their secrets, and says what is wrong with them.
    pub(crate) fn open(
        configured: &[ClientConfig],
        source: &dyn SecretSource,
        problems: &mut Vec<ConfigProblem>,
    ) -> Self {
        let mut ids = HashSet::new();
        let mut clients = Vec::new();
        for (place, client) in configured.iter().enumerate() {
            let at = |field| format!("key_server.clients.{place}.{field}");
            if !is_name(&client.id) {
                let says = "a name of 1 to 64 characters out of a-z, A-Z, 0-9, `.`, `_` and `-` is needed";
                problems.push(ConfigProblem::new(at("id"), says));
            } else if !ids.insert(client.id.as_str()) {
                problems.push(ConfigProblem::new(at("id"), "another client has this name"));
            }
            match client.secret.resolve(source) {
                Ok(secret) => match SecretDigest::new(&BearerToken::from(secret)) {
                    Ok(secret) => clients.push(Client {
                        id: client.id.as_str().into(),
                        tenant: client.tenant.clone(),
                        secret,
                    }),
                    Err(unfit) => problems.push(ConfigProblem::new(at("secret"), unfit)),
                },
                Err(absent) => problems.push(ConfigProblem::new(at("secret"), absent)),
            }
        }
        Self(clients)
    }

    /// The client of that name, if one of these is its secret: clients disagree on whether it is encoded in
    /// the `Authorization` field (RFC 6749 section 2.3.1), so there may be two readings of one.
    pub(crate) fn authenticate(&self, id: &str, presented: &[BearerToken]) -> Option<&Client> {
        let client = self.0.iter().find(|client| *client.id == *id)?;
        presented.iter().any(|secret| client.secret.is(secret)).then_some(client)
    }
}
