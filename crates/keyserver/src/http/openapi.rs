//! The description of these routes, made from the types that they read and write.

use axum::extract::State;
use axum::response::Response;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Description, Server};
use utoipa::{Modify, OpenApi};

use super::reply::published;
use super::{admin, explain, introspect, listing, metadata, revocations, revoke, token};
use crate::server::KeyServer;

pub(super) const ROUTE: &str = "/auth/openapi.json";

/// The routes of a key server.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Portunus key server",
        description = "An identity becomes a short-lived, narrowly scoped key.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        token::auth_token,
        token::oauth_token,
        introspect::introspect,
        revoke::revoke,
        admin::revoke_one_as_documented,
        admin::revoke_one,
        listing::list,
        revocations::revoke_many,
        explain::explain,
        metadata::audience,
        metadata::server,
        metadata::server_below,
        metadata::resource,
        metadata::resource_below,
        document,
    ),
    modifiers(&Schemes),
    tags(
        (name = "keys", description = "Issued, explained and given back."),
        (name = "admin", description = "For the administrator alone."),
        (name = "metadata", description = "What the server says about itself."),
    ),
)]
struct Routes;

/// How callers authenticate.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, description: &mut Description) {
        let scheme = |scheme, says: &str| {
            let mut http = Http::new(scheme);
            http.description = Some(says.to_owned());
            SecurityScheme::Http(http)
        };
        let components = description.components.get_or_insert_default();
        let bearer = HttpAuthScheme::Bearer;
        components.add_security_scheme("admin", scheme(bearer.clone(), "The administrator's token."));
        components.add_security_scheme("key", scheme(bearer, "A live key of the same tenant."));
        components.add_security_scheme(
            "client",
            scheme(HttpAuthScheme::Basic, "A configured client and its secret."),
        );
    }
}

/// The OpenAPI description of [`crate::router`], as JSON.
pub fn openapi() -> serde_json::Value {
    serde_json::to_value(Routes::openapi()).unwrap_or_default()
}

/// This description.
#[utoipa::path(
    get,
    path = "/auth/openapi.json",
    operation_id = "openapi",
    tag = "metadata",
    responses((status = 200, description = "An OpenAPI document.", body = Object)),
)]
pub(super) async fn document(State(server): State<KeyServer>) -> Response {
    let mut description = Routes::openapi();
    description.servers = server.public_url().map(|url| vec![Server::new(url.as_str())]);
    published(&description)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_parameter_that_is_read_is_described_and_no_other() {
        // Delegation is recognised to be refused.
        let refused = ["actor_token", "actor_token_type"];
        let description = openapi();
        for (schema, known) in [
            ("TokenParameters", &token::KNOWN),
            ("IntrospectionParameters", &introspect::KNOWN),
            ("RevocationParameters", &revoke::KNOWN),
        ] {
            let described = &description["components"]["schemas"][schema]["properties"];
            let described: BTreeSet<&str> =
                described.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            let read = known.once.iter().chain(known.often).copied();
            let read: BTreeSet<&str> = read.filter(|name| !refused.contains(name)).collect();
            assert_eq!(described, read, "{schema}");
        }
    }
}
