//! The authorization endpoint. Where there are no accounts nobody is asked: the current user consents to
//! everything.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use super::Idp;
use super::client::{GrantType, OAuthClient};
use super::code::Code;
use super::consent::{Consent, audiences};
use super::error::OAuthError;
use super::login::Session;
use super::page;
use super::preset::Offline;
use super::routes::Endpoint;
use super::user::User;
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;

/// What the login page adds to the request that it stands for.
const LOGIN_FIELDS: [&str; 3] = ["username", "password", "deny"];

/// What happens to a request that may be answered.
enum Outcome {
    Code(Box<Code>, Option<HeaderValue>),
    Page(Answer),
    Refused(OAuthError),
}

/// `GET /authorize` and `POST /authorize` (OIDC Core §3.1.2.1).
pub(super) fn authorize(idp: &Idp, request: &Recorded) -> Answer {
    let form = if request.method() == Method::POST {
        Form::of_body(request).unwrap_or_default()
    } else {
        Form::parse(request.query().unwrap_or_default().as_bytes())
    };
    // A user is never sent to an address that is not registered (RFC 6749 §4.1.2.1).
    let Some((client, back)) = known_return(idp, &form) else {
        let says = "<p>The client is unknown, or the redirect URI is not one of its own.</p>";
        return page::page(StatusCode::BAD_REQUEST, "Cannot sign in", says);
    };
    match decide(idp, &client, request, &form) {
        Outcome::Page(page) => page,
        Outcome::Refused(error) => {
            let with = [("error", error.error), ("error_description", error.description)];
            respond(idp, &form, back, &with)
        }
        Outcome::Code(code, cookie) => {
            let mut answer = respond(idp, &form, back, &[("code", &idp.codes.add(*code))]);
            if let Some(cookie) = cookie {
                answer.headers_mut().insert(SET_COOKIE, cookie);
            }
            answer
        }
    }
}

/// The authorization response. RFC 9207 §2: `iss` is also in errors.
fn respond(idp: &Idp, form: &Form, mut back: Url, with: &[(&str, &str)]) -> Answer {
    let state = form.get("state").filter(|_| !form.repeats("state"));
    let iss = Some(idp.issuer()).filter(|_| idp.settings.profile.metadata);
    let more = [("state", state), ("iss", iss)];
    let more = more.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let members = with.iter().copied().chain(more);
    if form.get("response_mode") == Some("form_post") && !form.repeats("response_mode") {
        return page::form_post(back.as_str(), &page::hidden(members));
    }
    back.query_pairs_mut().extend_pairs(members);
    let mut answer = answer::text(StatusCode::FOUND, "text/plain; charset=utf-8", "");
    if let Ok(location) = HeaderValue::try_from(String::from(back)) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn known_return(idp: &Idp, form: &Form) -> Option<(Arc<OAuthClient>, Url)> {
    if form.repeats("client_id") || form.repeats("redirect_uri") {
        return None;
    }
    let client = idp.clients.find(form.get("client_id")?)?;
    let uri = match form.get("redirect_uri") {
        Some(uri) => Some(uri).filter(|uri| client.may_return_to(uri))?,
        // OpenID Connect wants it said; plain OAuth does not where there is only one.
        None if idp.settings.profile.metadata => return None,
        None => client.redirect_uris.first().filter(|_| client.redirect_uris.len() == 1)?,
    };
    let uri = Url::parse(uri).ok()?;
    Some((client, uri))
}

fn decide(idp: &Idp, client: &OAuthClient, request: &Recorded, form: &Form) -> Outcome {
    let mut code = match checked(idp, client, form) {
        Ok(code) => code,
        Err(error) => return Outcome::Refused(error),
    };
    if idp.deny_next.swap(false, Ordering::AcqRel) || form.get("deny").is_some() && idp.logins.asks() {
        return Outcome::Refused(OAuthError::new("access_denied", "the user said no"));
    }
    let mut sign_in = |user: User, since: SystemTime| {
        code.consent.user = user;
        code.consent.authenticated_at = since;
        Box::new(code.clone())
    };
    let silent = form.get("prompt") == Some("none");
    if !idp.logins.asks() && !silent {
        return Outcome::Code(sign_in(idp.user(), idp.now()), None);
    }
    let tried = request.method() == Method::POST && form.get("username").is_some();
    if tried {
        let Some(user) = idp.logins.check(form) else {
            return Outcome::Page(login_page(idp, form, "<p role=alert>Unknown user or wrong password.</p>"));
        };
        let session = Session { user: user.clone(), since: idp.now() };
        let cookie = idp.logins.begin(idp.issuer(), idp.issued.new_family(), session);
        return Outcome::Code(sign_in(user, idp.now()), HeaderValue::try_from(cookie).ok());
    }
    let max_age = form.get("max_age").and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let recent = |session: &Session| max_age.is_none_or(|max_age| idp.now() <= session.since + max_age);
    let session = idp.logins.session(request).filter(recent);
    match session.filter(|_| form.get("prompt") != Some("login")) {
        Some(session) => Outcome::Code(sign_in(session.user, session.since), None),
        None if silent => Outcome::Refused(OAuthError::new("login_required", "nobody is signed in")),
        None => Outcome::Page(login_page(idp, form, "")),
    }
}

/// The code that the request asks for, if everything about it is right; whose it is, is not known yet.
fn checked(idp: &Idp, client: &OAuthClient, form: &Form) -> Result<Code, OAuthError> {
    let invalid = |says| OAuthError::new("invalid_request", says);
    if form.names().any(|name| name != "resource" && form.repeats(name)) {
        return Err(invalid("a parameter is there twice"));
    }
    let is_plain_oauth = !idp.settings.profile.metadata;
    match form.get("response_type") {
        Some("code") => {}
        None if is_plain_oauth => {}
        None => return Err(invalid("`response_type` is missing")),
        Some(_) => return Err(OAuthError::new("unsupported_response_type", "only `code` is supported")),
    }
    if form.get("response_mode").is_some_and(|mode| !["query", "form_post"].contains(&mode)) {
        return Err(invalid("the response modes are `query` and `form_post`"));
    }
    for (name, error) in [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")]
    {
        if form.get(name).is_some() {
            return Err(OAuthError::new(error, "request objects are not supported"));
        }
    }
    if !client.may_use(GrantType::AuthorizationCode) {
        return Err(OAuthError::new("unauthorized_client", "the client may not use codes"));
    }
    let asked = form.get("scope").map(|scope| idp.scope_list(scope));
    let scopes = client.scopes_for(asked.as_deref())?;
    let challenge = form.get("code_challenge");
    if challenge.is_none() && idp.settings.needs_pkce {
        return Err(invalid("PKCE is required"));
    }
    // RFC 7636 §4.3: an absent method means `plain`.
    let is_s256 = form.get("code_challenge_method") == Some("S256");
    if challenge.is_some_and(|challenge| !is_s256 || !is_challenge(challenge)) {
        return Err(invalid("PKCE needs an S256 challenge"));
    }
    let asks_offline = match idp.settings.profile.offline {
        Offline::AccessType => form.get("access_type") == Some("offline"),
        _ => true,
    };
    let consent = Consent {
        client_id: client.id.clone(),
        user: idp.user(),
        audiences: audiences(idp, form)?,
        authenticated_at: idp.now(),
        offline: idp.is_offline(client, &scopes, asks_offline),
        scopes,
        family: idp.issued.new_family(),
    };
    Ok(Code {
        consent,
        redirect_uri: form.get("redirect_uri").map(str::to_owned),
        challenge: challenge.map(str::to_owned),
        nonce: form.get("nonce").map(str::to_owned),
        key: form.get("dpop_jkt").map(str::to_owned),
        issued_at: idp.now(),
    })
}

/// The base64url of a SHA-256 (RFC 7636 §4.2).
fn is_challenge(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A form that repeats the request and asks who it is.
fn login_page(idp: &Idp, form: &Form, alert: &str) -> Answer {
    let request = form.pairs().filter(|(name, _)| !LOGIN_FIELDS.contains(name));
    let body = format!(
        "{alert}<form method=post action=\"{}\">{}{}<button>Sign in</button>\
         <button name=deny value=yes>Cancel</button></form>",
        idp.routes.path(Endpoint::Authorize).unwrap_or_default(),
        page::hidden(request),
        page::SIGN_IN,
    );
    page::page(StatusCode::OK, "Sign in", &body)
}
