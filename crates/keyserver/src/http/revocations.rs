//! Many keys taken back at once, by the administrator.

use std::time::{Duration, SystemTime};

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use portunus_auth_core::audit::{Actor, EventKind, KeySelection};
use portunus_auth_core::{Outcome, TenantId, Trail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::body::BadBody;
use super::reply::{Problem, Refused, json};
use super::{admin, call};
use crate::keys::{Matched, NotRevoked};
use crate::server::{KeyServer, StatedReason, is_revocable, of_many};

pub(super) const ROUTE: &str = "/admin/revocations";

/// Whose keys to take back: those that are like every part that is there. At least one is needed beside
/// `reason`, and with `sub` or `email` also `iss`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    /// The tenant of their owners.
    #[schema(value_type = Option<String>, nullable = false, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    tenant: Option<TenantId>,
    /// Their owners' issuer, by its name in the configuration.
    #[schema(min_length = 1, nullable = false)]
    iss: Option<String>,
    /// Their owners' subject.
    #[schema(min_length = 1, nullable = false)]
    sub: Option<String>,
    /// The verified address that their owners had when they were issued, whatever the case of ASCII letters.
    /// It is kept where a policy of their issuer looks at addresses.
    #[schema(min_length = 1, nullable = false)]
    email: Option<String>,
    /// The policy that granted them.
    #[schema(min_length = 1, nullable = false)]
    policy: Option<String>,
    /// Those issued before this time, in seconds since 1970.
    #[schema(nullable = false, minimum = 1, maximum = 253_402_300_799_u64)]
    issued_before: Option<u64>,
    /// Why, for the audit.
    #[schema(min_length = 1, max_length = 256)]
    reason: String,
}

/// What was taken back.
#[derive(Serialize, ToSchema)]
pub(super) struct Revoked {
    /// How many keys that were alive.
    revoked: usize,
    /// How many identities held them.
    matched_identities: usize,
}

/// Revokes all keys of a tenant, an issuer, somebody, a policy, or a time.
#[utoipa::path(
    post,
    path = "/admin/revocations",
    operation_id = "revokeMany",
    tag = "admin",
    security(("admin" = [])),
    request_body = Revocation,
    responses(
        (status = 200, description = "They do not work any more.", body = Revoked),
        (status = 400, description = "The request is malformed, or selects nothing in particular.", body = Problem),
        (status = 401, description = "Not the administrator.", body = Problem,
            headers(("www-authenticate" = String, description = "How to authenticate."))),
        (status = 404, description = "No live key is selected.", body = Problem),
        (status = 409, description = "No address was kept of some of these keys; nothing was revoked. Select by \
            `sub`.", body = Problem),
        (status = 413, description = "The body is longer than 32 KiB.", body = Problem),
        (status = 415, description = "The body is not JSON.", body = Problem),
        (status = 503, description = "The store or the audit cannot answer; some may still work: repeat it.",
            body = Problem,
            headers(("retry-after" = u64, description = "After how many seconds to try again."))),
    ),
)]
pub(super) async fn revoke_many(State(server): State<KeyServer>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let read = admin::read(&server, &head, body).await;
    let trail = match admin::begin(&server, EventKind::TokenRevoked, ROUTE, &head) {
        Ok(trail) => trail,
        Err(response) => return *response,
    };
    let (which, why) = match read.and_then(selection) {
        Ok(meant) => meant,
        Err(bad) => return call::refuse(trail, &Refused::Body(bad), Outcome::Refused(bad.reason())),
    };
    answer(&server.revoke_selected_as(Actor::Admin, which, why, trail, conclude).await)
}

fn selection(members: Map<String, Value>) -> Result<(KeySelection, StatedReason), BadBody> {
    // A part that came out empty where the request was made must not widen it.
    if members.values().any(Value::is_null) {
        return Err(BadBody::Malformed);
    }
    let read: Revocation = serde_json::from_value(Value::Object(members)).map_err(|_| BadBody::Malformed)?;
    let Revocation { tenant, iss, sub, email, policy, issued_before, reason } = read;
    if [&iss, &sub, &email, &policy].into_iter().flatten().any(String::is_empty) {
        return Err(BadBody::Malformed);
    }
    let instant = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let issued_before =
        issued_before.map(|seconds| instant(seconds).ok_or(BadBody::Malformed)).transpose()?;
    let mut which = KeySelection::default();
    which.tenant = tenant;
    which.issuer = iss.map(Into::into);
    which.subject = sub.map(Into::into);
    which.email = email.map(Into::into);
    which.policy = policy.map(Into::into);
    which.issued_before = issued_before;
    if !is_revocable(&which) {
        return Err(BadBody::Malformed);
    }
    Ok((which, StatedReason::new(&reason).map_err(|_| BadBody::Malformed)?))
}

fn conclude(mut trail: Trail, matched: &Result<Matched, NotRevoked>) {
    call::note(&mut trail, answer(matched).status());
    trail.finish(of_many(matched));
}

fn answer(matched: &Result<Matched, NotRevoked>) -> Response {
    match matched {
        Ok(Matched { keys: 0, .. }) => Refused::NoneSelected.response(),
        Ok(Matched { keys, identities }) => {
            json(StatusCode::OK, &Revoked { revoked: *keys, matched_identities: *identities })
        }
        Err(NotRevoked::AddressNotKept) => Refused::AddressNotKept.response(),
        Err(NotRevoked::Store(_)) => Refused::Unavailable.response(),
    }
}
