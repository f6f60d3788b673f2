//! The HTTP routes: strict in what they take (RFC 8693, RFC 6749), fixed in what they say.

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use portunus_auth_core::audit::{Actor, EventKind, HttpFacts};
use portunus_auth_core::{BearerToken, KeyId, Outcome, Reason, Trail};
use portunus_store::StoreError;
use serde::Serialize;

use crate::exchange::{ExchangeError, IssuedKey, TokenRequest, conclude, exchange};
use crate::keys::Revoke;
use crate::request;
use crate::server::{KeyServer, Peer, revocation};

/// How soon to try again when something is down, in seconds.
const TRY_AGAIN: u64 = 5;

const AUTH_TOKEN: &str = "/auth/token";
const OAUTH_TOKEN: &str = "/oauth/token";
const ONE_TOKEN: &str = "/auth/token/{jti}";
const AUDIENCE: &str = "/auth/audience";

/// The routes `POST /auth/token` and `POST /oauth/token`, `DELETE /auth/token/{jti}`, and
/// `GET /auth/audience`.
///
/// A [`Peer`] in a request's extensions says who asks; without one, the audit does not know.
pub fn router(server: KeyServer) -> Router {
    Router::new()
        .route(AUTH_TOKEN, post(|State(server), request| token(server, AUTH_TOKEN, request)))
        .route(OAUTH_TOKEN, post(|State(server), request| token(server, OAUTH_TOKEN, request)))
        .route(ONE_TOKEN, delete(revoke))
        .route(AUDIENCE, get(audience))
        .with_state(server)
}

async fn token(server: KeyServer, route: &'static str, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // Before the trail begins: whoever trickles a body keeps no room in the audit from others.
    let read = read(&head, body).await;
    let Some(trail) = trail(&server, EventKind::TokenDenied, route, &head) else {
        return unavailable();
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
        Err(error) => refused(error),
    }
}

fn conclude_exchange(mut trail: Trail, result: &Result<IssuedKey, ExchangeError>) {
    note(&mut trail, result.as_ref().map_or_else(|error| words(error).0, |_| StatusCode::OK));
    conclude(trail, result);
}

async fn read(head: &Parts, body: Body) -> Result<TokenRequest, ExchangeError> {
    let mut types = head.headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(one), None) => request::parse(one, &request::collect(body).await?),
        _ => Err(ExchangeError::Malformed),
    }
}

async fn revoke(
    State(server): State<KeyServer>,
    jti: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let Some(mut trail) = trail(&server, EventKind::AdminDenied, ONE_TOKEN, &head) else {
        return unavailable();
    };
    if !bearer(&head.headers).is_some_and(|token| server.is_admin(&token)) {
        let response = not_admin();
        note(&mut trail, response.status());
        trail.finish(Outcome::Refused(Reason::Unauthorized));
        return response;
    }
    trail.event().kind = EventKind::TokenRevoked;
    // What is no UUID is no key's name, and needs no look-up.
    let revoked = match jti.ok().and_then(|Path(jti)| uuid::Uuid::try_parse(&jti).ok()) {
        Some(jti) => {
            let which = Revoke::Key(KeyId(jti.to_string().into()));
            server.revoke_as(Actor::Admin, which, trail, conclude_revocation).await
        }
        None => {
            conclude_revocation(trail, &Ok(0));
            Ok(0)
        }
    };
    answer_revocation(&revoked)
}

fn conclude_revocation(mut trail: Trail, revoked: &Result<usize, StoreError>) {
    note(&mut trail, answer_revocation(revoked).status());
    trail.finish(revocation(revoked));
}

async fn audience(State(server): State<KeyServer>) -> Response {
    #[derive(Serialize)]
    struct Answer<'a> {
        audience: &'a str,
    }
    json(StatusCode::OK, &Answer { audience: server.audience() })
}

/// Begins the request's audit event; `None` when the audit has no room.
fn trail(server: &KeyServer, kind: EventKind, route: &'static str, head: &Parts) -> Option<Trail> {
    let peer = head.extensions.get::<Peer>().copied().unwrap_or_default();
    let mut trail = server.trail(kind, peer).ok()?;
    if let Some(request_id) = peer.request_id {
        let method = head.method.clone();
        trail.event().http = Some(HttpFacts { method, route, status: None, request_id });
    }
    Some(trail)
}

fn note(trail: &mut Trail, status: StatusCode) {
    if let Some(http) = &mut trail.event().http {
        http.status = Some(status.as_u16());
    }
}

/// The one bearer token of the request (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<BearerToken> {
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    match (credentials.next(), credentials.next()) {
        (Some(one), None) => BearerToken::from_authorization(one),
        _ => None,
    }
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
            issued_token_type: request::ACCESS_TOKEN,
            token_type: "Bearer",
            expires_in: key.expires_in.as_secs(),
            scope: &key.scope,
            jti: &key.key_id,
        },
    )
}

/// RFC 6749 section 5.2.
#[derive(Serialize)]
struct Problem<'a> {
    error: &'static str,
    /// A fixed text: nothing of the request, or of what exactly was wrong with it, gets out.
    error_description: &'a str,
}

fn problem(status: StatusCode, error: &'static str, error_description: &str) -> Response {
    json(status, &Problem { error, error_description })
}

/// The status, the code, and after how many seconds to try again.
fn words(error: &ExchangeError) -> (StatusCode, &'static str, Option<u64>) {
    match error {
        // RFC 6749 has no code for a request that is too slow.
        ExchangeError::Malformed | ExchangeError::TooSlow | ExchangeError::BadSubject(_) => {
            (StatusCode::BAD_REQUEST, "invalid_request", None)
        }
        ExchangeError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", None),
        ExchangeError::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type", None),
        ExchangeError::InvalidScope => (StatusCode::BAD_REQUEST, "invalid_scope", None),
        ExchangeError::InvalidTarget => (StatusCode::BAD_REQUEST, "invalid_target", None),
        ExchangeError::TooManyKeys { retry_after } => {
            (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", Some(retry_after.as_secs()))
        }
        ExchangeError::Unavailable { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", Some(TRY_AGAIN))
        }
    }
}

fn refused(error: &ExchangeError) -> Response {
    let (status, code, wait) = words(error);
    let mut response = problem(status, code, &error.to_string());
    if let Some(seconds) = wait {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn answer_revocation(revoked: &Result<usize, StoreError>) -> Response {
    match revoked {
        Ok(0) => problem(StatusCode::NOT_FOUND, "not_found", "there is no such live key"),
        Ok(_) => not_to_be_stored(StatusCode::NO_CONTENT.into_response()),
        Err(_) => unavailable(),
    }
}

/// The same for a wrong token, none, and where none is configured.
fn not_admin() -> Response {
    let says = "the administrator's token is needed";
    let mut response = problem(StatusCode::UNAUTHORIZED, "invalid_token", says);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn unavailable() -> Response {
    let says = "the key server cannot answer now";
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", says);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(TRY_AGAIN));
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    not_to_be_stored((status, axum::Json(body)).into_response())
}

/// RFC 6749 section 5.1.
fn not_to_be_stored(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
