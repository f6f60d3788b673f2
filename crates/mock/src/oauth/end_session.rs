//! Signing out (OpenID Connect RP-Initiated Logout 1.0).

use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use super::Idp;
use super::login::FORGET;
use super::page;
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;

/// `GET /end_session` and `POST /end_session`. The session ends in any case; the browser is sent on only
/// to an address that is registered for the client that the hint or the request names.
pub(super) fn end_session(idp: &Idp, request: &Recorded) -> Answer {
    let form = if request.method() == Method::POST {
        Form::of_body(request).unwrap_or_default()
    } else {
        Form::parse(request.query().unwrap_or_default().as_bytes())
    };
    let Some(back) = checked(idp, &form) else {
        let says = "<p>The hint is not ours, or the address is not registered.</p>";
        return page::page(StatusCode::BAD_REQUEST, "Cannot sign out", says);
    };
    idp.logins.end(request);
    let mut answer = match back {
        None => page::page(StatusCode::OK, "Signed out", ""),
        Some(mut back) => {
            if let Some(state) = form.get("state") {
                back.query_pairs_mut().append_pair("state", state);
            }
            let mut answer = answer::text(StatusCode::FOUND, "text/plain; charset=utf-8", "");
            if let Ok(location) = HeaderValue::try_from(String::from(back)) {
                answer.headers_mut().insert(LOCATION, location);
            }
            answer
        }
    };
    answer.headers_mut().insert(SET_COOKIE, HeaderValue::from_static(FORGET));
    answer
}

/// Where to send the browser, if anywhere. `None`: something about the request is wrong. An ID token
/// that has expired still says whose session it was (§2).
fn checked(idp: &Idp, form: &Form) -> Option<Option<Url>> {
    if form.repeated().is_some() {
        return None;
    }
    let hinted = match form.get("id_token_hint") {
        Some(hint) => Some(idp.own_claims(hint)?.get("aud")?.as_str()?.to_owned()),
        None => None,
    };
    let named = form.get("client_id");
    if hinted.is_some() && named.is_some() && hinted.as_deref() != named {
        return None;
    }
    let Some(to) = form.get("post_logout_redirect_uri") else { return Some(None) };
    let client = idp.clients.find(hinted.as_deref().or(named)?)?;
    client.post_logout_redirect_uris.iter().any(|uri| uri == to).then_some(())?;
    Url::parse(to).ok().map(Some)
}
