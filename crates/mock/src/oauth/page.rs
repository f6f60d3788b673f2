//! Pages for people: plain forms, without scripts but for the one that posts a response back.

use std::fmt::Write;

use http::StatusCode;

use super::error::no_store;
use crate::answer::{self, Answer};

const HTML: &str = "text/html; charset=utf-8";

/// A page of that title; `body` is HTML.
pub(super) fn page(status: StatusCode, title: &str, body: &str) -> Answer {
    let html = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>\
         <meta name=viewport content=\"width=device-width\"></head><body><h1>{title}</h1>{body}</body></html>"
    );
    no_store(answer::text(status, HTML, html))
}

/// Fields that the user does not see.
pub(super) fn hidden<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut html = String::new();
    for (name, value) in pairs {
        let (name, value) = (escaped(name), escaped(value));
        let _ = write!(html, "<input type=hidden name=\"{name}\" value=\"{value}\">");
    }
    html
}

/// Fields for name and password.
pub(super) const SIGN_IN: &str = "<p><label>User <input name=username autocomplete=username></label></p>\
    <p><label>Password <input name=password type=password autocomplete=current-password></label></p>";

/// An authorization response that the browser posts (OAuth 2.0 Form Post Response Mode §2).
pub(super) fn form_post(to: &str, fields: &str) -> Answer {
    let body = format!(
        "<form method=post action=\"{}\">{fields}<button>Continue</button></form>\
         <script>document.forms[0].submit()</script>",
        escaped(to)
    );
    page(StatusCode::OK, "Signing in", &body)
}

pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
