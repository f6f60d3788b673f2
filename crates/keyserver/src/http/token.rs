//! The token endpoint: a token exchange (RFC 8693).

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use portunus_auth_core::audit::EventKind;
use portunus_auth_core::{BearerToken, KeyId, Trail};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::BadBody;
use super::call;
use super::parameters::{Known, Parameters};
use super::reply::{Problem, Refused, json};
use crate::exchange::{ExchangeError, IssuedKey, TokenRequest, conclude, exchange};
use crate::issuer::TokenKind;
use crate::possession::Possession;
use crate::server::{KeyServer, Peer};

pub(super) const AUTH: &str = "/auth/token";
pub(super) const OAUTH: &str = "/oauth/token";

pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

pub(super) const KNOWN: Known = Known {
    once: &[
        "grant_type",
        "subject_token",
        "subject_token_type",
        "requested_token_type",
        "scope",
        "policy",
        "ttl",
        "actor_token",
        "actor_token_type",
    ],
    numbers: &["ttl"],
    often: &["audience", "resource"],
};

/// An identity token, or a key that is to be narrowed, for a key (RFC 8693); the same as `/oauth/token`.
#[utoipa::path(
    post,
    path = "/auth/token",
    operation_id = "exchange",
    tag = "keys",
    params(("dpop" = Option<String>, Header, description = "A proof (RFC 9449); the key is bound to its signer.")),
    request_body(content(
        (TokenParameters = "application/x-www-form-urlencoded"),
        (TokenParameters = "application/json"),
    )),
    responses(
        (status = 200, description = "A key.", body = TokenAnswer),
        (status = 400, description = "The request is malformed, or its subject token is not acceptable; `error` \
            is `invalid_request`, `unsupported_grant_type`, `invalid_scope`, `invalid_target` or \
            `invalid_dpop_proof`.",
            body = Problem),
        (status = 413, description = "The body is longer than 32 KiB.", body = Problem),
        (status = 429, description = "Too many live keys, or requests from one address.", body = Problem,
            headers(("retry-after" = u64, description = "After how many seconds to try again."))),
        (status = 503, description = "The issuer, the store or the audit cannot answer.", body = Problem,
            headers(("retry-after" = u64, description = "After how many seconds to try again."))),
    ),
)]
pub(super) async fn auth_token(State(server): State<KeyServer>, request: Request) -> Response {
    token(server, AUTH, request).await
}

/// An identity token, or a key that is to be narrowed, for a key (RFC 8693).
#[utoipa::path(
    post,
    path = "/oauth/token",
    operation_id = "oauthExchange",
    tag = "keys",
    params(("dpop" = Option<String>, Header, description = "A proof (RFC 9449); the key is bound to its signer.")),
    request_body(content(
        (TokenParameters = "application/x-www-form-urlencoded"),
        (TokenParameters = "application/json"),
    )),
    responses(
        (status = 200, description = "A key.", body = TokenAnswer),
        (status = 400, description = "The request is malformed, or its subject token is not acceptable; `error` \
            is `invalid_request`, `unsupported_grant_type`, `invalid_scope`, `invalid_target` or \
            `invalid_dpop_proof`.",
            body = Problem),
        (status = 413, description = "The body is longer than 32 KiB.", body = Problem),
        (status = 429, description = "Too many live keys, or requests from one address.", body = Problem,
            headers(("retry-after" = u64, description = "After how many seconds to try again."))),
        (status = 503, description = "The issuer, the store or the audit cannot answer.", body = Problem,
            headers(("retry-after" = u64, description = "After how many seconds to try again."))),
    ),
)]
pub(super) async fn oauth_token(State(server): State<KeyServer>, request: Request) -> Response {
    token(server, OAUTH, request).await
}

async fn token(server: KeyServer, route: &'static str, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // Before the trail begins: whoever trickles a body keeps no room in the audit from others.
    let read = match server.admit(head.extensions.get::<Peer>().copied().unwrap_or_default()) {
        Ok(()) => read(route, &head, body).await,
        Err(too_often) => Err(too_often.into()),
    };
    let trail = match call::begin(&server, EventKind::TokenDenied, route, &head) {
        Ok(trail) => trail,
        Err(full) => return *full,
    };
    let result = match read {
        Ok(request) => exchange(&server, request, trail, conclude_exchange).await,
        Err(error) => {
            let result = Err(error);
            conclude_exchange(trail, &result);
            result
        }
    };
    match result {
        Ok(key) => issued(key),
        Err(error) => Refused::Exchange(&error).response(),
    }
}

fn conclude_exchange(mut trail: Trail, result: &Result<IssuedKey, ExchangeError>) {
    let status = result.as_ref().map_or_else(|error| Refused::Exchange(error).status(), |_| StatusCode::OK);
    call::note(&mut trail, status);
    conclude(trail, result);
}

impl From<BadBody> for ExchangeError {
    fn from(bad: BadBody) -> Self {
        match bad {
            BadBody::Malformed | BadBody::WrongType => Self::Malformed,
            BadBody::TooLarge => Self::TooLarge,
            BadBody::TooSlow => Self::TooSlow,
        }
    }
}

async fn read(route: &str, head: &Parts, body: Body) -> Result<TokenRequest, ExchangeError> {
    let mut parameters = Parameters::read(head, body, &KNOWN).await?;
    let mut take = |name| parameters.take(name);
    if take("grant_type").ok_or(ExchangeError::Malformed)? != GRANT_TYPE {
        return Err(ExchangeError::UnsupportedGrantType);
    }
    // Delegation is not offered, and must not seem to have happened.
    if take("actor_token").is_some() || take("actor_token_type").is_some() {
        return Err(ExchangeError::Malformed);
    }
    if take("requested_token_type").is_some_and(|wanted| wanted != ACCESS_TOKEN) {
        return Err(ExchangeError::Malformed);
    }
    let kind = match take("subject_token_type").as_deref() {
        Some(ID_TOKEN) => TokenKind::Identity,
        Some(ACCESS_TOKEN) => TokenKind::Access,
        Some(JWT) => TokenKind::Any,
        _ => return Err(ExchangeError::Malformed),
    };
    let ttl = match take("ttl") {
        None => None,
        Some(text) => match text.parse() {
            Ok(seconds) if seconds > 0 => Some(Duration::from_secs(seconds)),
            _ => return Err(ExchangeError::Malformed),
        },
    };
    let possession = Possession::of(&head.method, route, &head.headers, &head.extensions);
    Ok(TokenRequest {
        subject_token: BearerToken::new(take("subject_token").ok_or(ExchangeError::Malformed)?),
        kind,
        scope: take("scope"),
        policy: take("policy"),
        ttl,
        audiences: parameters.often(),
        possession,
    })
}

/// What a token request holds (RFC 8693 section 2.1).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the fields are read by name; this is what the description of the API shows")]
pub(super) struct TokenParameters {
    /// What is asked for.
    #[schema(pattern = "^urn:ietf:params:oauth:grant-type:token-exchange$")]
    grant_type: String,
    /// The identity token, of at most 16 KiB; or a live key, as an `access_token`, which keeps working and
    /// ends the new one with itself.
    #[schema(min_length = 1)]
    subject_token: String,
    /// `urn:ietf:params:oauth:token-type:` and `id_token`, `access_token` or `jwt`.
    #[schema(pattern = "^urn:ietf:params:oauth:token-type:(id_token|access_token|jwt)$")]
    subject_token_type: String,
    /// What the answer must hold: a key.
    #[schema(pattern = "^urn:ietf:params:oauth:token-type:access_token$", nullable = false)]
    requested_token_type: Option<String>,
    /// `model:PATTERN`, `tool:PATTERN`, `role:PATTERN`, `upstream:PATTERN`, separated by single spaces.
    #[schema(min_length = 1, nullable = false)]
    scope: Option<String>,
    /// One of several policies that admit the caller.
    #[schema(min_length = 1, nullable = false)]
    policy: Option<String>,
    /// Seconds; only shortens.
    #[schema(minimum = 1, nullable = false)]
    ttl: Option<u64>,
    /// Must be the audience of this server. May come more than once.
    #[schema(min_length = 1, nullable = false)]
    audience: Option<String>,
    /// The same as `audience`.
    #[schema(min_length = 1, nullable = false)]
    resource: Option<String>,
}

/// A key (RFC 8693 section 2.2.1).
#[derive(Serialize, ToSchema)]
pub(super) struct TokenAnswer {
    /// The key. This is the only time it is seen.
    #[serde(serialize_with = "crate::key::reveal")]
    #[schema(value_type = String)]
    access_token: BearerToken,
    /// `urn:ietf:params:oauth:token-type:access_token`
    #[schema(value_type = String)]
    issued_token_type: &'static str,
    /// How it is presented: `Bearer`, or `DPoP` (RFC 9449).
    #[schema(value_type = String)]
    token_type: &'static str,
    /// How long it lives, in seconds.
    expires_in: u64,
    /// What was granted.
    scope: String,
    /// Its public name, by which it can be revoked.
    #[schema(value_type = String)]
    jti: KeyId,
}

fn issued(key: IssuedKey) -> Response {
    let token_type = key.token_type();
    json(
        StatusCode::OK,
        &TokenAnswer {
            access_token: key.access_token,
            issued_token_type: ACCESS_TOKEN,
            token_type,
            expires_in: key.expires_in.as_secs(),
            scope: key.scope,
            jti: key.key_id,
        },
    )
}
