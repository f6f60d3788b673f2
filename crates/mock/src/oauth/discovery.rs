//! What the identity provider says of itself (OIDC Discovery §3, RFC 8414 §2). Only what is served is
//! advertised.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Idp;
use super::client::GrantType;
use super::keys::Algorithm;
use super::routes::Endpoint;
use crate::answer::{self, Answer};

const CONFIDENTIAL: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
const ALL: [&str; 4] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];

pub(super) fn metadata(idp: &Idp) -> Answer {
    let mut metadata = members(idp);
    metadata.extend(idp.overridden());
    metadata.retain(|_, value| !value.is_null());
    answer::json(StatusCode::OK, answer::write(&metadata))
}

/// Entra's document for the users of any directory, whose issuer is not known beforehand.
pub(super) fn shared(idp: &Idp) -> Answer {
    let mut metadata = members(idp);
    let issuer = idp.issuer().replace(&idp.settings.directory, "{tenantid}");
    metadata.insert("issuer".to_owned(), issuer.into());
    answer::json(StatusCode::OK, answer::write(&metadata))
}

fn members(idp: &Idp) -> Map<String, Value> {
    let mut metadata = Map::new();
    let mut set = |name: &str, value: Value| drop(metadata.insert(name.to_owned(), value));
    let serves = |endpoint| idp.routes.path(endpoint).is_some();
    set("issuer", idp.issuer().into());
    for (name, url) in idp.routes.members() {
        set(name, url.into());
    }
    let algorithms = idp.settings.profile.algorithms.iter().map(|algorithm| algorithm.name());
    // Both are required (OIDC Discovery §3); typed clients read nothing without them.
    set("subject_types_supported", json!(["public"]));
    set("id_token_signing_alg_values_supported", algorithms.collect());
    set("claims_supported", json!(["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce"]));
    if !serves(Endpoint::Token) {
        set("response_types_supported", json!(["id_token"]));
        set("scopes_supported", json!(["openid"]));
        return metadata;
    }
    let clients = idp.clients.all();
    let mut scopes: BTreeSet<_> = clients.iter().flat_map(|client| &client.scopes).map(|s| &**s).collect();
    let grants = &idp.settings.grants;
    if grants.contains(&GrantType::RefreshToken) {
        scopes.insert("offline_access");
    }
    set("scopes_supported", json!(scopes));
    set("response_types_supported", json!(["code"]));
    set("response_modes_supported", json!(["query", "form_post"]));
    set("grant_types_supported", grants.iter().map(|grant| grant.name()).collect());
    set("token_endpoint_auth_methods_supported", json!(ALL));
    let signing = Algorithm::ALL.map(Algorithm::name);
    set("token_endpoint_auth_signing_alg_values_supported", json!(signing));
    if serves(Endpoint::Introspect) {
        set("introspection_endpoint_auth_methods_supported", json!(CONFIDENTIAL));
    }
    if serves(Endpoint::Revoke) {
        set("revocation_endpoint_auth_methods_supported", json!(ALL));
    }
    set("code_challenge_methods_supported", json!(["S256"]));
    set("dpop_signing_alg_values_supported", json!(signing));
    set("authorization_response_iss_parameter_supported", true.into());
    set("request_parameter_supported", false.into());
    set("request_uri_parameter_supported", false.into());
    metadata
}
