//! What the identity provider says of itself (OIDC Discovery §3, RFC 8414 §2). Only what is served is
//! advertised.

use std::collections::BTreeSet;

use serde_json::json;

use super::Idp;
use super::keys::Algorithm;

pub(super) fn metadata(idp: &Idp) -> Vec<u8> {
    let at = |path: &str| format!("{}{path}", idp.issuer);
    let scopes: BTreeSet<_> = idp.clients.iter().flat_map(|client| &client.scopes).collect();
    crate::answer::write(&json!({
        "issuer": idp.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks.json"),
        "userinfo_endpoint": at("/userinfo"),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": Algorithm::ALL.map(Algorithm::name),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce"],
    }))
}
