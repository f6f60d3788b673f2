//! Where callers put a credential. What is accepted here is what [`Recorded`] hides.

use std::borrow::Cow;

use http::header::AUTHORIZATION;
use portunus_auth_core::dialect::KEY_HEADERS;
use portunus_auth_core::{BearerToken, Dialect};

use super::gate::{Refused, Why};
use super::sigv4;
use crate::capture::{Recorded, bearer};

/// The one credential of a request.
pub(super) struct Presented {
    /// The key or token; of a signed request, the key's id.
    pub(super) token: BearerToken,
    /// Whether it came in the `Authorization` header.
    pub(super) bearer: bool,
    /// Whether the request is signed instead of carrying the key.
    pub(super) signed: bool,
}

/// The credential of a request. Two different ones are refused, wherever they are: a client that sends a
/// second key leaks it.
pub(super) fn find(dialect: Dialect, request: &Recorded) -> Result<Presented, Refused> {
    let own = dialect.key_header();
    let mut found: Option<(Cow<'_, str>, bool)> = None;
    let (mut accepted, mut signed) = (false, false);
    let mut add = |token: Cow<'_, str>, is_bearer| match &found {
        Some((before, _)) if *before != token => Err(Refused::wrong(&token, is_bearer)),
        Some(_) => Ok(()),
        None => {
            found = Some((token.into_owned().into(), is_bearer));
            Ok(())
        }
    };
    let headers = request.headers_with_secrets();
    for name in &KEY_HEADERS {
        for value in headers.get_all(name) {
            let is_bearer = name == AUTHORIZATION;
            let text = value.to_str().map_err(|_| Refused::wrong("", is_bearer))?;
            let token = match sigv4::key_id(text).filter(|_| is_bearer && dialect == Dialect::Bedrock) {
                Some(id) => {
                    signed = true;
                    id
                }
                None if is_bearer => bearer(text).ok_or_else(|| Refused::wrong("", true))?,
                None => text,
            };
            add(token.into(), is_bearer)?;
            accepted |= is_bearer || own.as_ref() == Some(name);
        }
    }
    for (name, value) in form_urlencoded::parse(request.query().unwrap_or_default().as_bytes()) {
        if name == "key" {
            accepted |= dialect.key_parameter() == Some("key");
            add(value, false)?;
        }
    }
    match found {
        Some((token, bearer)) if accepted && !token.is_empty() => {
            Ok(Presented { token: BearerToken::new(token), bearer, signed })
        }
        // A key where this provider does not look for one.
        found => Err(Refused { why: Why::Missing, bearer: found.is_some_and(|(_, bearer)| bearer) }),
    }
}
