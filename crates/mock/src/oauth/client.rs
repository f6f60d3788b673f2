//! Clients: who they are, where they may be sent back to, and what they may ask for.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jsonwebtoken::jwk::JwkSet;
use portunus_auth_core::BearerToken;
use serde_json::Value;
use url::{Host, Url};

use super::error::OAuthError;
use crate::error::StartError;

/// A confidential client of the OAuth server. [`OAuthClient`] has more to choose.
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

/// How a client gets its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrantType {
    /// RFC 6749 §4.1, with PKCE (RFC 7636).
    AuthorizationCode,
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 8628.
    DeviceCode,
    /// RFC 8693.
    TokenExchange,
    /// RFC 7523 §2.1.
    JwtBearer,
}

impl GrantType {
    pub(super) const ALL: [Self; 6] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::ClientCredentials,
        Self::DeviceCode,
        Self::TokenExchange,
        Self::JwtBearer,
    ];

    /// The value of `grant_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.name() == name)
    }
}

/// A client of the OAuth server. One with neither secret nor keys is public.
#[derive(Clone, Debug)]
pub struct OAuthClient {
    pub(super) id: String,
    pub(super) secret: Option<BearerToken>,
    keys: Option<Value>,
    pub(super) jwks: Option<JwkSet>,
    pub(super) redirect_uris: Vec<String>,
    pub(super) post_logout_redirect_uris: Vec<String>,
    pub(super) scopes: Vec<String>,
    grants: Option<Vec<GrantType>>,
    pub(super) dpop: bool,
}

impl OAuthClient {
    /// A public client of that id, which may ask for the scope `openid`.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: None,
            keys: None,
            jwks: None,
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            scopes: vec!["openid".to_owned()],
            grants: None,
            dpop: false,
        }
    }

    /// It proves itself with that secret, in the header or in the body.
    #[must_use]
    pub fn secret(self, secret: impl Into<String>) -> Self {
        Self { secret: Some(BearerToken::new(secret)), ..self }
    }

    /// It proves itself with assertions that one of the keys of that JWK set signed (RFC 7523 §2.2).
    #[must_use]
    pub fn jwks(self, jwks: Value) -> Self {
        Self { keys: Some(jwks), ..self }
    }

    /// Adds an address to which its users may be sent back, compared as in [`OAuthConfig`].
    #[must_use]
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.redirect_uris.push(uri.into());
        self
    }

    /// Adds an address to which its users may be sent after they signed out.
    #[must_use]
    pub fn post_logout_redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.post_logout_redirect_uris.push(uri.into());
        self
    }

    /// The scopes that it may ask for, and gets when it asks for none. A client that may refresh its
    /// tokens may ask for `offline_access` too.
    #[must_use]
    pub fn scopes<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        Self { scopes: scopes.into_iter().map(Into::into).collect(), ..self }
    }

    /// The only ways in which it gets tokens. Without this, a public client may use codes, device codes
    /// and refresh tokens, any other everything.
    #[must_use]
    pub fn grants(self, grants: impl IntoIterator<Item = GrantType>) -> Self {
        Self { grants: Some(grants.into_iter().collect()), ..self }
    }

    /// All of its tokens have to be bound to a key (RFC 9449 §5.2).
    #[must_use]
    pub fn dpop_bound(self) -> Self {
        Self { dpop: true, ..self }
    }

    pub(super) fn checked(mut self) -> Result<Self, StartError> {
        if self.id.is_empty() {
            return Err(StartError::Incomplete("a client needs an id"));
        }
        if self.secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
            return Err(StartError::Incomplete("a client without a secret is a public client; say so"));
        }
        if self
            .redirect_uris
            .iter()
            .chain(&self.post_logout_redirect_uris)
            .any(|uri| Url::parse(uri).is_err())
        {
            return Err(StartError::Incomplete("a redirect URI must be absolute"));
        }
        if let Some(keys) = &self.keys {
            let jwks = serde_json::from_value(keys.clone());
            self.jwks = Some(jwks.map_err(|_| StartError::Incomplete("a client's keys are no JWK set"))?);
        }
        Ok(self)
    }

    pub(super) fn is_public(&self) -> bool {
        self.secret.is_none() && self.jwks.is_none()
    }

    pub(super) fn may_use(&self, grant: GrantType) -> bool {
        use GrantType::{AuthorizationCode, DeviceCode, RefreshToken};
        match &self.grants {
            Some(grants) => grants.contains(&grant),
            None => !self.is_public() || [AuthorizationCode, DeviceCode, RefreshToken].contains(&grant),
        }
    }

    /// Whether that redirect URI is registered.
    pub(super) fn may_return_to(&self, uri: &str) -> bool {
        self.redirect_uris
            .iter()
            .any(|registered| registered == uri || equal_but_for_loopback_port(registered, uri))
    }

    /// The scopes asked for, if all of them are this client's; all of its own if none were asked for.
    pub(super) fn scopes_for(&self, asked: Option<&str>) -> Result<Vec<String>, OAuthError> {
        let Some(asked) = asked else { return Ok(self.scopes.clone()) };
        let asked = split(asked);
        let known = |one: &String| {
            self.scopes.contains(one) || one == "offline_access" && self.may_use(GrantType::RefreshToken)
        };
        if asked.is_empty() || !asked.iter().all(known) {
            return Err(OAuthError::new("invalid_scope", "a scope is unknown, or not this client's"));
        }
        Ok(asked)
    }
}

impl From<OAuthConfig> for OAuthClient {
    fn from(config: OAuthConfig) -> Self {
        Self {
            redirect_uris: config.redirect_uris,
            ..Self::new(config.client_id).secret(config.client_secret).scopes(config.scopes)
        }
    }
}

/// The scopes of a space-separated list.
pub(super) fn split(scopes: &str) -> Vec<String> {
    scopes.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect()
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

/// All clients of an identity provider; the first is its own.
#[derive(Debug)]
pub(super) struct Clients(Mutex<Vec<Arc<OAuthClient>>>);

impl Clients {
    pub(super) fn new(clients: Vec<OAuthClient>) -> Self {
        let all = Self(Mutex::default());
        clients.into_iter().for_each(|client| all.add(client));
        all
    }

    /// Adds a client, in place of one of the same id.
    pub(super) fn add(&self, client: OAuthClient) {
        let mut clients = self.lock();
        match clients.iter_mut().find(|known| known.id == client.id) {
            Some(known) => *known = Arc::new(client),
            None => clients.push(Arc::new(client)),
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<OAuthClient>> {
        self.lock().iter().find(|client| client.id == id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<OAuthClient>> {
        self.lock().clone()
    }

    /// The id of the first client.
    pub(super) fn own_id(&self) -> String {
        self.lock().first().map(|client| client.id.clone()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<OAuthClient>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
