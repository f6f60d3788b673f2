//! Which keys there are: for the administrator, a page at a time, and never with a key's text.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use portunus_auth_core::audit::{EventKind, KeySelection};
use portunus_auth_core::{Confirmation, KeyId, Outcome, Reason, TenantId};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::reply::{Problem, Refused, json};
use super::{admin, call};
use crate::index::unix;
use crate::keys::{KeyInfo, KeyPage};
use crate::scope;
use crate::server::KeyServer;

pub(super) const ROUTE: &str = "/admin/tokens";

/// How many keys a page has unless the query says otherwise, and at most.
const USUAL: usize = 50;
const MOST: usize = 200;

/// What may be asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields are read by name; this is what the description of the API shows")]
pub(super) struct ListParameters {
    /// The tenant of their owners.
    #[param(nullable = false, max_length = 64, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    tenant: Option<String>,
    /// Their owners' issuer, by its name in the configuration.
    #[param(nullable = false, min_length = 1)]
    iss: Option<String>,
    /// Their owners' subject.
    #[param(nullable = false, min_length = 1)]
    sub: Option<String>,
    /// `next_cursor` of the page before.
    #[param(nullable = false, format = "uuid")]
    cursor: Option<String>,
    /// The most keys on the page.
    #[param(nullable = false, minimum = 1, maximum = 200, default = 50)]
    limit: Option<u64>,
}

/// Live keys, the oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Listed {
    /// The keys.
    tokens: Vec<ListedKey>,
    /// The cursor of the next page; left out where there is none. A page can have one and be empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

/// A live key.
#[derive(Serialize, ToSchema)]
struct ListedKey {
    /// Its public name.
    jti: String,
    /// The tenant of its owner.
    tenant: String,
    /// The owner's issuer, by its name in the configuration.
    iss: String,
    /// The issuer's name for the owner.
    sub: String,
    /// The policy that granted it.
    policy: String,
    /// What it may be used for.
    scope: String,
    /// The tier whose limits hold.
    tier: String,
    /// When it was issued, in seconds since 1970.
    iat: u64,
    /// When it ends, in seconds since 1970.
    exp: u64,
    /// What its holder must prove possession of (RFC 7800).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    cnf: Option<Confirmation>,
    /// The key that it was attenuated from, with which it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parent: Option<String>,
}

/// Lists live keys.
#[utoipa::path(
    get,
    path = "/admin/tokens",
    operation_id = "listKeys",
    tag = "admin",
    security(("admin" = [])),
    params(ListParameters),
    responses(
        (status = 200, description = "A page of live keys.", body = Listed),
        (status = 400, description = "The query is malformed.", body = Problem),
        (status = 401, description = "Not the administrator.", body = Problem,
            headers(("www-authenticate" = String, description = "How to authenticate."))),
        (status = 503, description = "The store or the audit cannot answer.", body = Problem,
            headers(("retry-after" = u64, description = "After how many seconds to try again."))),
    ),
)]
pub(super) async fn list(State(server): State<KeyServer>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let mut trail = match admin::begin(&server, EventKind::AdminListed, ROUTE, &head) {
        Ok(trail) => trail,
        Err(response) => return *response,
    };
    let Some(Wanted { which, after, limit }) = Wanted::read(head.uri.query().unwrap_or_default()) else {
        return call::refuse(trail, &Refused::BadQuery, Outcome::Refused(Reason::MalformedRequest));
    };
    trail.event().target.selection = Some(Arc::new(which.clone()));
    match server.list(&which, after.as_ref(), limit).await {
        Ok(page) => {
            call::note(&mut trail, StatusCode::OK);
            trail.finish(Outcome::Allowed);
            json(StatusCode::OK, &Listed::from(page))
        }
        Err(_) => call::refuse(trail, &Refused::Unavailable, Outcome::Failed(Reason::StoreUnavailable)),
    }
}

struct Wanted {
    which: KeySelection,
    after: Option<KeyId>,
    limit: NonZeroUsize,
}

impl Wanted {
    /// Strict: what is misspelled, empty or said twice must not show other keys than were meant.
    fn read(query: &str) -> Option<Self> {
        let [mut tenant, mut iss, mut sub, mut cursor, mut limit] = [const { None::<Cow<'_, str>> }; 5];
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "tenant" => &mut tenant,
                "iss" => &mut iss,
                "sub" => &mut sub,
                "cursor" => &mut cursor,
                "limit" => &mut limit,
                _ => return None,
            };
            if value.is_empty() || place.replace(value).is_some() {
                return None;
            }
        }
        let mut which = KeySelection::default();
        which.tenant = tenant.map(|name| TenantId::new(&name)).transpose().ok()?;
        which.issuer = iss.map(|name| name.as_ref().into());
        which.subject = sub.map(|name| name.as_ref().into());
        let after = cursor.map(|name| uuid::Uuid::try_parse(&name)).transpose().ok()?;
        let limit = limit.map_or(Ok(USUAL), |number| number.parse()).ok().filter(|limit| *limit <= MOST)?;
        let after = after.map(|name| KeyId(name.to_string().into()));
        Some(Self { which, after, limit: NonZeroUsize::new(limit)? })
    }
}

impl From<KeyPage> for Listed {
    fn from(page: KeyPage) -> Self {
        let next_cursor = page.next.map(|name| name.to_string());
        Self { tokens: page.keys.into_iter().map(ListedKey::from).collect(), next_cursor }
    }
}

impl From<KeyInfo> for ListedKey {
    fn from(key: KeyInfo) -> Self {
        Self {
            jti: key.key_id.to_string(),
            tenant: key.owner.tenant.to_string(),
            iss: (*key.owner.issuer).to_owned(),
            sub: (*key.owner.subject).to_owned(),
            policy: (*key.policy).to_owned(),
            scope: scope::describe(&key.grant),
            tier: key.grant.tier.to_string(),
            iat: unix(key.issued_at),
            exp: unix(key.grant.expires_at),
            cnf: key.grant.confirmation,
            parent: key.parent.map(|name| name.to_string()),
        }
    }
}
