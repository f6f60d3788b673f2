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

use super::body::BadBody;
use super::call;
use super::parameters::{Known, Parameters};
use super::reply::{Refused, json};
use crate::exchange::{ExchangeError, IssuedKey, TokenRequest, conclude, exchange};
use crate::issuer::TokenKind;
use crate::server::KeyServer;

pub(super) const AUTH: &str = "/auth/token";
pub(super) const OAUTH: &str = "/oauth/token";

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

const KNOWN: Known = Known {
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

pub(super) async fn auth_token(State(server): State<KeyServer>, request: Request) -> Response {
    token(server, AUTH, request).await
}

pub(super) async fn oauth_token(State(server): State<KeyServer>, request: Request) -> Response {
    token(server, OAUTH, request).await
}

async fn token(server: KeyServer, route: &'static str, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // Before the trail begins: whoever trickles a body keeps no room in the audit from others.
    let read = read(&head, body).await;
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
    match &result {
        Ok(key) => issued(key),
        Err(error) => Refused::Exchange(error).response(),
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

async fn read(head: &Parts, body: Body) -> Result<TokenRequest, ExchangeError> {
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
    Ok(TokenRequest {
        subject_token: BearerToken::new(take("subject_token").ok_or(ExchangeError::Malformed)?),
        kind,
        scope: take("scope"),
        policy: take("policy"),
        ttl,
        audiences: parameters.often(),
    })
}

/// RFC 8693 section 2.2.1.
#[derive(Serialize)]
struct TokenAnswer<'a> {
    #[serde(serialize_with = "crate::key::reveal")]
    access_token: &'a BearerToken,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
    scope: &'a str,
    jti: &'a KeyId,
}

fn issued(key: &IssuedKey) -> Response {
    json(
        StatusCode::OK,
        &TokenAnswer {
            access_token: &key.access_token,
            issued_token_type: ACCESS_TOKEN,
            token_type: "Bearer",
            expires_in: key.expires_in.as_secs(),
            scope: &key.scope,
            jti: &key.key_id,
        },
    )
}
