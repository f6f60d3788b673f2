//! The introspection endpoint: what a key is good for (RFC 7662).

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use portunus_auth_core::audit::EventKind;
use portunus_auth_core::{BearerToken, Confirmation, Outcome, Principal, Reason, Via};
use serde::Serialize;
use utoipa::ToSchema;

use super::asker::asker;
use super::body::BadBody;
use super::call;
use super::parameters::{Known, Parameters};
use super::reply::{Problem, Refused, json};
use crate::index::unix;
use crate::keys::issued_at;
use crate::possession::token_type;
use crate::scope;
use crate::server::KeyServer;

pub(super) const ROUTE: &str = "/oauth/introspect";

pub(super) const KNOWN: Known =
    Known { once: &["token", "token_type_hint", "client_id", "client_secret"], numbers: &[], often: &[] };

/// What an introspection request holds (RFC 7662 section 2.1).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the fields are read by name; this is what the description of the API shows")]
pub(super) struct IntrospectionParameters {
    /// The key.
    #[schema(min_length = 1)]
    token: String,
    /// Ignored: there is one kind of token.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
    /// The client's name, in place of the `Authorization` field.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// The client's secret, in place of the `Authorization` field.
    #[schema(nullable = false)]
    client_secret: Option<String>,
}

/// What a key is good for (RFC 7662 section 2.2). Of a key that is dead, unknown, or not the asker's to know
/// about, it says nothing but that it is not active.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Introspection {
    /// Whether it works now.
    active: bool,
    /// What it may be used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    scope: Option<String>,
    /// Who asked for it: the same as `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// Whose it is, as a name that means one identity alone: `TENANT/ISSUER/SUBJECT`, where the issuer is named
    /// as in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sub: Option<String>,
    /// The issuer's own name for them, which another issuer may use for somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    username: Option<String>,
    /// Whose users they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tenant: Option<String>,
    /// This server, if it knows how it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    iss: Option<String>,
    /// The audience of this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    aud: Option<String>,
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    exp: Option<u64>,
    /// When it was issued, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    iat: Option<u64>,
    /// When it began to work, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    nbf: Option<u64>,
    /// Its public name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    jti: Option<String>,
    /// How it is presented: `Bearer`, or `DPoP` (RFC 9449).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    token_type: Option<&'static str>,
    /// What its holder must prove possession of (RFC 7800).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    cnf: Option<Confirmation>,
}

/// What a key is good for (RFC 7662), for the administrator, a configured client, or whoever holds a live key
/// of the same tenant.
#[utoipa::path(
    post,
    path = "/oauth/introspect",
    operation_id = "introspect",
    tag = "keys",
    security(("client" = []), ("admin" = []), ("key" = [])),
    request_body(content(
        (IntrospectionParameters = "application/x-www-form-urlencoded"),
        (IntrospectionParameters = "application/json"),
    )),
    responses(
        (status = 200, description = "What it is good for, or `{\"active\":false}`.", body = Introspection),
        (status = 400, description = "The request is malformed.", body = Problem),
        (status = 401, description = "Nobody who may ask.", body = Problem,
            headers(("www-authenticate" = String, description = "How to authenticate."))),
        (status = 413, description = "The body is longer than 32 KiB.", body = Problem),
        (status = 415, description = "The body is neither a form nor JSON.", body = Problem),
        (status = 503, description = "It cannot be told, or not be audited.", body = Problem,
            headers(("retry-after" = u64, description = "After how many seconds to try again."))),
    ),
)]
pub(super) async fn introspect(State(server): State<KeyServer>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let read = Parameters::read(&head, body, &KNOWN).await;
    let mut trail = match call::begin(&server, EventKind::TokenUsed, ROUTE, &head) {
        Ok(trail) => trail,
        Err(full) => return *full,
    };
    let malformed = |bad: BadBody| (Refused::Body(bad), Outcome::Refused(bad.reason()));
    let mut parameters = match read.map_err(malformed) {
        Ok(parameters) => parameters,
        Err((refused, outcome)) => return call::refuse(trail, &refused, outcome),
    };
    let asker = match asker(&server, &head.headers, &mut parameters) {
        Ok(asker) => asker,
        Err(unknown) => {
            return call::refuse(trail, &unknown.refused(), unknown.outcome());
        }
    };
    trail.event().actor = Some(asker.actor());
    let Some(token) = parameters.take("token") else {
        let (refused, outcome) = malformed(BadBody::Malformed);
        return call::refuse(trail, &refused, outcome);
    };
    let answer = match server.inspect(&BearerToken::new(token), &asker) {
        Ok(key) => {
            let answer = live(&server, &key);
            call::note(&mut trail, StatusCode::OK);
            trail.event().target.owner = Some(key.id().clone().into());
            if let Via::Key(jti) = key.via() {
                trail.event().target.jti = Some(jti.clone());
            }
            trail.finish(Outcome::Allowed);
            answer
        }
        Err(reason @ Reason::AuthenticationUnavailable) => {
            return call::refuse(trail, &Refused::Unavailable, Outcome::Failed(reason));
        }
        Err(reason) => {
            call::note(&mut trail, StatusCode::OK);
            trail.finish(Outcome::Refused(reason));
            Introspection::default()
        }
    };
    json(StatusCode::OK, &answer)
}

fn live(server: &KeyServer, key: &Principal) -> Introspection {
    let (owner, grant) = (key.id(), key.grant());
    let jti = match key.via() {
        Via::Key(jti) => Some(jti),
        _ => None,
    };
    let issued = jti.map(|jti| unix(issued_at(jti)));
    let name = format!("{}/{}/{}", owner.tenant, owner.issuer, owner.subject);
    Introspection {
        active: true,
        scope: Some(scope::describe(grant)),
        client_id: Some(name.clone()),
        sub: Some(name),
        username: Some((*owner.subject).to_owned()),
        tenant: Some(owner.tenant.to_string()),
        iss: server.public_url().map(ToString::to_string),
        aud: Some(server.audience().to_owned()),
        exp: Some(unix(grant.expires_at)),
        iat: issued,
        nbf: issued,
        jti: jti.map(ToString::to_string),
        token_type: Some(token_type(grant)),
        cnf: grant.confirmation.clone(),
    }
}
