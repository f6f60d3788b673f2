//! The page at which a user enters the code that a device shows (RFC 8628 §3.3). Nothing is decided
//! before the user presses a button.

use http::{Method, StatusCode};

use super::Idp;
use super::page;
use super::routes::Endpoint;
use crate::answer::Answer;
use crate::capture::Recorded;
use crate::form::Form;

/// `GET /device` and `POST /device`.
pub(super) fn device(idp: &Idp, request: &Recorded) -> Answer {
    if request.method() != Method::POST {
        let query = Form::parse(request.query().unwrap_or_default().as_bytes());
        return ask(idp, StatusCode::OK, query.get("user_code").unwrap_or_default(), "");
    }
    let form = Form::of_body(request).unwrap_or_default();
    let user_code = form.get("user_code").unwrap_or_default();
    let user = if idp.logins.asks() {
        idp.logins.check(&form).or_else(|| idp.logins.session(request).map(|session| session.user))
    } else {
        Some(idp.user())
    };
    let Some(user) = user else {
        return ask(idp, StatusCode::OK, user_code, "Unknown user or wrong password.");
    };
    let denied = form.get("deny").is_some();
    match idp.devices.decide(user_code, Some(user).filter(|_| !denied), idp.now()) {
        Ok(()) if denied => page::page(StatusCode::OK, "Denied", "<p>The device gets nothing.</p>"),
        Ok(()) => page::page(StatusCode::OK, "Approved", "<p>Return to the device.</p>"),
        Err(unknown) => ask(idp, StatusCode::BAD_REQUEST, user_code, &format!("{unknown}.")),
    }
}

fn ask(idp: &Idp, status: StatusCode, user_code: &str, alert: &str) -> Answer {
    let alert = if alert.is_empty() { String::new() } else { format!("<p role=alert>{alert}</p>") };
    let body = format!(
        "{alert}<form method=post action=\"{}\"><p><label>Code <input name=user_code value=\"{}\"></label></p>\
         {}<button>Approve</button><button name=deny value=yes>Deny</button></form>",
        idp.routes.path(Endpoint::DevicePage).unwrap_or_default(),
        page::escaped(user_code),
        if idp.logins.asks() { page::SIGN_IN } else { "" },
    );
    page::page(status, "Connect a device", &body)
}
