//! Clients: who they are, where they may be sent back to, and how they prove it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use portunus_auth_core::BearerToken;
use url::{Host, Url};

use super::error::OAuthError;
use crate::capture::Recorded;
use crate::error::StartError;
use crate::form::Form;

/// A confidential client of the OAuth server.
#[derive(Clone)]
pub struct OAuthConfig {
    /// Its id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Where its users may be sent back to, compared exactly; the port of `http://127.0.0.1` and
    /// `http://[::1]` is free (RFC 8252 §7.3).
    pub redirect_uris: Vec<String>,
    /// The scopes that it may ask for, and gets when it asks for none.
    pub scopes: Vec<String>,
}

impl Default for OAuthConfig {
    fn default() -> Self {
        Self {
            client_id: "mock-client".to_owned(),
            client_secret: "mock-secret".to_owned(),
            redirect_uris: vec!["http://127.0.0.1/callback".to_owned()],
            scopes: ["openid", "profile", "email"].map(str::to_owned).to_vec(),
        }
    }
}

impl fmt::Debug for OAuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthConfig")
            .field("client_id", &self.client_id)
            .field("redirect_uris", &self.redirect_uris)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: String,
    /// `None`: a public client.
    secret: Option<BearerToken>,
    redirect_uris: Vec<String>,
    pub(super) scopes: Vec<String>,
}

impl Client {
    pub(super) fn confidential(config: OAuthConfig) -> Result<Self, StartError> {
        if config.client_secret.is_empty() {
            return Err(StartError::Incomplete("a client without a secret is a public client; say so"));
        }
        let secret = Some(BearerToken::new(config.client_secret));
        Self { id: config.client_id, secret, redirect_uris: config.redirect_uris, scopes: config.scopes }
            .checked()
    }

    pub(super) fn public(
        id: String,
        redirect_uris: Vec<String>,
        scopes: Vec<String>,
    ) -> Result<Self, StartError> {
        Self { id, secret: None, redirect_uris, scopes }.checked()
    }

    fn checked(self) -> Result<Self, StartError> {
        if self.id.is_empty() {
            return Err(StartError::Incomplete("a client needs an id"));
        }
        if self.redirect_uris.iter().any(|uri| Url::parse(uri).is_err()) {
            return Err(StartError::Incomplete("a redirect URI must be absolute"));
        }
        Ok(self)
    }

    pub(super) fn secret(&self) -> Option<&BearerToken> {
        self.secret.as_ref()
    }

    pub(super) fn is_public(&self) -> bool {
        self.secret.is_none()
    }

    /// Whether that redirect URI is registered.
    pub(super) fn may_return_to(&self, uri: &str) -> bool {
        self.redirect_uris
            .iter()
            .any(|registered| registered == uri || equal_but_for_loopback_port(registered, uri))
    }

    /// The scopes asked for, if all of them are this client's; all of its own if none were asked for.
    pub(super) fn scopes(&self, asked: Option<&str>) -> Result<Vec<String>, OAuthError> {
        let Some(asked) = asked else { return Ok(self.scopes.clone()) };
        let asked: Vec<String> = asked.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        if asked.is_empty() || asked.iter().any(|one| !self.scopes.contains(one)) {
            return Err(OAuthError::new("invalid_scope", "a scope is unknown, or not this client's"));
        }
        Ok(asked)
    }
}

fn equal_but_for_loopback_port(registered: &str, uri: &str) -> bool {
    let parse = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        let loopback = match url.host()? {
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
            Host::Domain(_) => false,
        };
        // A URL that changes when it is parsed could be read in two ways.
        if !loopback || url.scheme() != "http" || url.as_str() != text {
            return None;
        }
        url.set_port(None).ok()?;
        Some(url)
    };
    matches!((parse(registered), parse(uri)), (Some(a), Some(b)) if a == b)
}

/// The client that makes a request at the token endpoint, by exactly one method (RFC 6749 §2.3).
pub(super) fn authenticate<'c>(
    clients: &'c [Client],
    request: &Recorded,
    form: &Form,
) -> Result<&'c Client, OAuthError> {
    let basic = request.headers_with_secrets().get(AUTHORIZATION);
    let posted = form.get("client_secret");
    let (id, secret) = match (basic, posted) {
        (Some(_), Some(_)) => {
            return Err(OAuthError::new("invalid_request", "two ways of client authentication"));
        }
        (Some(value), None) => {
            let pair = value.to_str().ok().and_then(basic_pair);
            let (id, secret) = pair.ok_or_else(|| OAuthError::client(true))?;
            if form.get("client_id").is_some_and(|posted| posted != id) {
                return Err(OAuthError::new("invalid_request", "two different client ids"));
            }
            (id, Some(secret))
        }
        (None, posted) => {
            let id = form.get("client_id").ok_or_else(|| OAuthError::client(false))?;
            (id.to_owned(), posted.map(BearerToken::new))
        }
    };
    let client = clients.iter().find(|client| client.id == id);
    let proven = client.filter(|client| match (&client.secret, &secret) {
        (Some(wanted), Some(given)) => wanted.expose() == given.expose(),
        (None, None) => true,
        _ => false,
    });
    proven.ok_or_else(|| OAuthError::client(basic.is_some()))
}

/// Id and secret, each of them form-encoded within (RFC 6749 §2.3.1).
fn basic_pair(authorization: &str) -> Option<(String, BearerToken)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decode(id)?, BearerToken::new(form_decode(secret)?)))
}

fn form_decode(text: &str) -> Option<String> {
    // As the key of a pair, so that a `=` or `&` in it is no separator.
    let escaped = text.replace('=', "%3D").replace('&', "%26");
    form_urlencoded::parse(escaped.as_bytes()).next().map(|(key, _)| key.into_owned())
}
