//! What the server says about itself to whoever asks: from its configuration, never from a request's `Host`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::reply::{Problem, Refused, json, published};
use super::{introspect, revoke, token};
use crate::dpop::ALGORITHMS;
use crate::jose::Algorithm;
use crate::public_url::PublicUrl;
use crate::server::KeyServer;

pub(super) const AUDIENCE: &str = "/auth/audience";
pub(super) const SERVER: &str = "/.well-known/oauth-authorization-server";
pub(super) const SERVER_BELOW: &str = "/.well-known/oauth-authorization-server/{*path}";
pub(super) const RESOURCE: &str = "/.well-known/oauth-protected-resource";
pub(super) const RESOURCE_BELOW: &str = "/.well-known/oauth-protected-resource/{*path}";

/// What identity tokens must be made for.
#[derive(Serialize, ToSchema)]
pub(super) struct Audience {
    /// The audience.
    audience: String,
}

/// What identity tokens must be made for.
#[utoipa::path(
    get,
    path = "/auth/audience",
    operation_id = "audience",
    tag = "metadata",
    responses((status = 200, description = "The audience.", body = Audience)),
)]
pub(super) async fn audience(State(server): State<KeyServer>) -> Response {
    json(StatusCode::OK, &Audience { audience: server.audience().to_owned() })
}

/// An authorization server (RFC 8414 section 2).
#[derive(Serialize, ToSchema)]
pub(super) struct AuthorizationServer {
    /// Its name, which is its address.
    issuer: String,
    /// Where keys are issued.
    token_endpoint: String,
    /// Nobody authenticates there but by the subject token.
    #[schema(value_type = Vec<String>)]
    token_endpoint_auth_methods_supported: [&'static str; 1],
    /// Token exchange (RFC 8693).
    #[schema(value_type = Vec<String>)]
    grant_types_supported: [&'static str; 1],
    /// None: there is no authorization endpoint.
    #[schema(value_type = Vec<String>)]
    response_types_supported: [&'static str; 0],
    /// Where it is told what a key is good for (RFC 7662).
    introspection_endpoint: String,
    /// How to authenticate there.
    #[schema(value_type = Vec<String>)]
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    /// Where a key is given back (RFC 7009).
    revocation_endpoint: String,
    /// Having the key suffices.
    #[schema(value_type = Vec<String>)]
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    /// What the keys are for (RFC 9728 section 4).
    protected_resources: [String; 1],
    /// What proofs may be signed with (RFC 9449 section 5.1).
    #[schema(value_type = Vec<String>)]
    dpop_signing_alg_values_supported: [Algorithm; 5],
}

impl AuthorizationServer {
    fn at(url: &PublicUrl) -> Self {
        Self {
            issuer: url.to_string(),
            token_endpoint: url.at(token::OAUTH),
            token_endpoint_auth_methods_supported: ["none"],
            grant_types_supported: [token::GRANT_TYPE],
            response_types_supported: [],
            introspection_endpoint: url.at(introspect::ROUTE),
            introspection_endpoint_auth_methods_supported: [
                "client_secret_basic",
                "client_secret_post",
                "Bearer",
            ],
            revocation_endpoint: url.at(revoke::ROUTE),
            revocation_endpoint_auth_methods_supported: ["none"],
            protected_resources: [url.to_string()],
            dpop_signing_alg_values_supported: ALGORITHMS,
        }
    }
}

/// A protected resource (RFC 9728 section 2).
#[derive(Serialize, ToSchema)]
pub(super) struct ProtectedResource {
    /// Its address.
    resource: String,
    /// Who issues keys for it.
    authorization_servers: [String; 1],
    /// Where a request carries its key.
    #[schema(value_type = Vec<String>)]
    bearer_methods_supported: [&'static str; 1],
    /// Its name, for people.
    #[schema(value_type = String)]
    resource_name: &'static str,
    /// What proofs may be signed with.
    #[schema(value_type = Vec<String>)]
    dpop_signing_alg_values_supported: [Algorithm; 5],
}

impl ProtectedResource {
    fn at(url: &PublicUrl) -> Self {
        Self {
            resource: url.to_string(),
            authorization_servers: [url.to_string()],
            bearer_methods_supported: ["header"],
            resource_name: "Portunus",
            dpop_signing_alg_values_supported: ALGORITHMS,
        }
    }
}

/// What this server is as an authorization server (RFC 8414).
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server",
    operation_id = "authorizationServer",
    tag = "metadata",
    responses(
        (status = 200, description = "Its metadata.", body = AuthorizationServer),
        (status = 404, description = "No public address is configured.", body = Problem),
    ),
)]
pub(super) async fn server(State(server): State<KeyServer>) -> Response {
    about(server.public_url(), AuthorizationServer::at)
}

/// The same, for a server whose public address has this path.
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server/{path}",
    operation_id = "authorizationServerBelow",
    tag = "metadata",
    params(("path" = String, Path, description = "The path of the public address.")),
    responses(
        (status = 200, description = "Its metadata.", body = AuthorizationServer),
        (status = 404, description = "The public address has another path, or none is configured.", body = Problem),
    ),
)]
pub(super) async fn server_below(
    State(server): State<KeyServer>,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    about(server.public_url().filter(|url| is_path_of(url, path.ok())), AuthorizationServer::at)
}

/// What this server is as a protected resource (RFC 9728).
#[utoipa::path(
    get,
    path = "/.well-known/oauth-protected-resource",
    operation_id = "protectedResource",
    tag = "metadata",
    responses(
        (status = 200, description = "Its metadata.", body = ProtectedResource),
        (status = 404, description = "No public address is configured.", body = Problem),
    ),
)]
pub(super) async fn resource(State(server): State<KeyServer>) -> Response {
    about(server.public_url(), ProtectedResource::at)
}

/// The same, for a server whose public address has this path.
#[utoipa::path(
    get,
    path = "/.well-known/oauth-protected-resource/{path}",
    operation_id = "protectedResourceBelow",
    tag = "metadata",
    params(("path" = String, Path, description = "The path of the public address.")),
    responses(
        (status = 200, description = "Its metadata.", body = ProtectedResource),
        (status = 404, description = "The public address has another path, or none is configured.", body = Problem),
    ),
)]
pub(super) async fn resource_below(
    State(server): State<KeyServer>,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    about(server.public_url().filter(|url| is_path_of(url, path.ok())), ProtectedResource::at)
}

fn is_path_of(url: &PublicUrl, path: Option<Path<String>>) -> bool {
    path.is_some_and(|Path(path)| url.path().strip_prefix('/') == Some(path.as_str()))
}

fn about<T: Serialize>(url: Option<&PublicUrl>, document: fn(&PublicUrl) -> T) -> Response {
    url.map_or_else(|| Refused::NoDocument.response(), |url| published(&document(url)))
}
