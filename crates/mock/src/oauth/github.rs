//! What GitHub's OAuth apps do unlike OpenID Connect, and the part of its API that tells who somebody is.
//! <https://docs.github.com/en/apps/oauth-apps>

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Idp;
use super::client_auth::authenticate;
use super::error::no_store;
use super::ledger::Access;
use super::userinfo::presented;
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::{FORM, Form};

/// Answers of `POST /login/oauth/access_token` and `POST /login/device/code`: a form unless JSON is asked
/// for, and status 200 whatever happened.
pub(super) fn worded(request: &Recorded, status: StatusCode, body: Value) -> Answer {
    let mut members = body.as_object().cloned().unwrap_or_default();
    if members.contains_key("access_token") {
        // Tokens of OAuth apps do not expire.
        members.remove("expires_in");
        members.insert("token_type".to_owned(), "bearer".into());
        let scopes = members.get("scope").and_then(Value::as_str).unwrap_or_default().replace(' ', ",");
        members.insert("scope".to_owned(), scopes.into());
    }
    let status = if status.is_server_error() { status } else { StatusCode::OK };
    if request.header("accept").is_some_and(|accept| accept.contains("json")) {
        return no_store(answer::json(status, answer::write(&members)));
    }
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(members.into_iter().map(|(name, value)| (name, text(value))));
    no_store(answer::text(status, FORM, form.finish()))
}

/// `GET /user`, `/user/emails`, `/user/orgs`, `/user/teams`.
pub(super) fn api(idp: &Arc<Idp>, request: &Recorded) -> Answer {
    let says = |status, text: &str| answer::json(status, answer::write(&json!({ "message": text })));
    if request.method() != Method::GET {
        return says(StatusCode::NOT_FOUND, "Not Found");
    }
    let Ok(access) = presented(idp, request) else {
        return says(StatusCode::UNAUTHORIZED, "Bad credentials");
    };
    let told = match request.path().rsplit('/').next().unwrap_or_default() {
        "emails" if access.has_scope("user:email") || access.has_scope("user") => emails(&access.userinfo),
        "orgs" if access.has_scope("read:org") => paged(request, orgs(&access.userinfo)),
        "teams" if access.has_scope("read:org") => paged(request, teams(&access.userinfo)),
        "user" => user(&access),
        _ => return says(StatusCode::FORBIDDEN, "Resource not accessible with these scopes"),
    };
    answer::json(StatusCode::OK, answer::write(&told))
}

/// `POST /applications/{client_id}/token`: whose a token is, if it is one of that client's.
/// <https://docs.github.com/en/rest/apps/oauth-applications>
pub(super) fn check(idp: &Idp, request: &Recorded) -> Answer {
    let says = |status, text: &str| answer::json(status, answer::write(&json!({ "message": text })));
    let client = authenticate(idp, request, &Form::default()).ok();
    let named = request.path().split('/').nth(2);
    let Some(client) = client.filter(|client| !client.is_public() && named == Some(&*client.id)) else {
        return says(StatusCode::UNAUTHORIZED, "Bad credentials");
    };
    let token = request.json().and_then(|body| body["access_token"].as_str().map(str::to_owned));
    let access = token.as_deref().and_then(|token| idp.issued.find(token, idp.now()));
    let Some(access) = access.filter(|access| access.client_id() == client.id) else {
        return says(StatusCode::NOT_FOUND, "Not Found");
    };
    let scopes: Vec<_> = access.scope().split(' ').filter(|scope| !scope.is_empty()).collect();
    let app = json!({"client_id": client.id});
    let told = json!({"token": token, "app": app, "scopes": scopes, "user": user(&access)});
    answer::json(StatusCode::OK, answer::write(&told))
}

fn user(access: &Access) -> Value {
    let about = &access.userinfo;
    let told = ["id", "login", "name", "avatar_url"];
    let mut user: Map<String, Value> =
        told.iter().filter_map(|name| Some(((*name).to_owned(), about.get(*name)?.clone()))).collect();
    // An address that its owner does not show is null.
    user.insert("email".to_owned(), Value::Null);
    user.insert("type".to_owned(), "User".into());
    user.into()
}

fn emails(about: &Map<String, Value>) -> Value {
    let verified = about.get("email_verified") == Some(&true.into());
    about.get("email").map_or(json!([]), |email| {
        json!([
            {"email": "unverified@example.com", "primary": false, "verified": false, "visibility": null},
            {"email": email, "primary": true, "verified": verified, "visibility": "private"},
        ])
    })
}

fn texts<'a>(about: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a str> {
    about.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn orgs(about: &Map<String, Value>) -> Vec<Value> {
    texts(about, "orgs").enumerate().map(|(n, login)| json!({"id": n + 1, "login": login})).collect()
}

/// Teams are known as `ORGANISATION/SLUG`.
fn teams(about: &Map<String, Value>) -> Vec<Value> {
    let team = |(n, name): (usize, &str)| {
        let (org, slug) = name.split_once('/')?;
        Some(json!({"id": n + 1, "name": slug, "slug": slug, "organization": {"login": org}}))
    };
    texts(about, "teams").enumerate().filter_map(team).collect()
}

/// The page that was asked for; there are 30 on one, or `per_page`, at most 100.
fn paged(request: &Recorded, all: Vec<Value>) -> Value {
    let query = Form::parse(request.query().unwrap_or_default().as_bytes());
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let size = number("per_page").unwrap_or(30).clamp(1, 100);
    let skipped = number("page").unwrap_or(1).saturating_sub(1).saturating_mul(size);
    all.into_iter().skip(skipped).take(size).collect()
}
