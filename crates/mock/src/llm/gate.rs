//! Who may call: tokens with and without a number of uses, and an identity provider's access tokens.

#[cfg(feature = "oauth")]
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use portunus_auth_core::dialect::KEY_HEADERS;
use portunus_auth_core::{BearerToken, Dialect};

use crate::capture::bearer;
#[cfg(feature = "oauth")]
use crate::oauth::IssuedTokens;
use crate::secrets::Secrets;

/// Why a caller was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Missing,
    Wrong {
        /// The key as OpenAI would repeat it.
        masked: String,
        /// Whether it came in the `Authorization` header.
        bearer: bool,
    },
    Expired,
    Revoked,
    Exhausted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Uses {
    Unlimited,
    Left(u32),
    Revoked,
}

impl Uses {
    fn admit(self) -> Result<(), Refused> {
        match self {
            Self::Unlimited | Self::Left(1..) => Ok(()),
            Self::Left(0) => Err(Refused::Exhausted),
            Self::Revoked => Err(Refused::Revoked),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Gate {
    always: bool,
    tokens: Mutex<Secrets<Uses>>,
    #[cfg(feature = "oauth")]
    issued: Option<Arc<IssuedTokens>>,
}

impl Gate {
    /// A gate that is closed once a token is known to it, or right away when `always`.
    #[cfg(not(feature = "oauth"))]
    pub(crate) fn new(always: bool) -> Self {
        Self { always, ..Self::default() }
    }

    /// A gate that is closed once a token is known to it, or right away when `always` or when an
    /// identity provider's access tokens are to pass.
    #[cfg(feature = "oauth")]
    pub(crate) fn new(always: bool, issued: Option<Arc<IssuedTokens>>) -> Self {
        Self { always: always || issued.is_some(), issued, ..Self::default() }
    }

    pub(crate) fn add(&self, token: &str, uses: Option<u32>) {
        self.lock().insert(token, uses.map_or(Uses::Unlimited, Uses::Left));
    }

    pub(crate) fn revoke(&self, token: &str) {
        self.lock().insert(token, Uses::Revoked);
    }

    /// The credential of a request that may pass. With an open gate that is any, or none.
    pub(crate) fn admit(
        &self,
        dialect: Dialect,
        headers: &HeaderMap,
        now: SystemTime,
        faithful: bool,
    ) -> Result<Option<BearerToken>, Refused> {
        let presented = presented(own_header(dialect), headers);
        if !self.is_closed() {
            return Ok(presented.ok().map(|(token, _)| token));
        }
        let (token, bearer) = presented?;
        let wrong = || Err(wrong(token.expose(), bearer));
        // Anthropic takes OAuth tokens as bearer tokens only.
        if faithful && !bearer && token.expose().starts_with("sk-ant-oat") {
            return wrong();
        }
        // A token that was named is decided by its own entry: exhausted is not unknown.
        let known = self.lock().get(token.expose()).copied();
        match known {
            Some(uses) => uses.admit()?,
            None => match self.issued(&token, now) {
                Some(true) if bearer || !faithful => {}
                Some(false) => return Err(Refused::Expired),
                _ => return wrong(),
            },
        }
        Ok(Some(token))
    }

    /// Takes one use of a token that has a number of them; check and decrement are one step.
    pub(crate) fn spend(&self, token: &BearerToken) -> Result<(), Refused> {
        let mut tokens = self.lock();
        let Some(uses) = tokens.get_mut(token.expose()) else { return Ok(()) };
        uses.admit()?;
        if let Uses::Left(left) = uses {
            *left = left.saturating_sub(1);
        }
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.always || self.lock().len() > 0
    }

    /// Whether an access token of the identity provider is still valid; `None`: it is not one.
    #[cfg(feature = "oauth")]
    fn issued(&self, token: &BearerToken, now: SystemTime) -> Option<bool> {
        self.issued.as_ref().and_then(|issued| issued.is_valid(token.expose(), now))
    }

    #[cfg(not(feature = "oauth"))]
    fn issued(&self, _: &BearerToken, _: SystemTime) -> Option<bool> {
        None
    }

    fn lock(&self) -> MutexGuard<'_, Secrets<Uses>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the provider itself looks for a key, beside `Authorization`.
fn own_header(dialect: Dialect) -> Option<HeaderName> {
    (dialect == Dialect::Anthropic).then(|| HeaderName::from_static("x-api-key"))
}

/// The one credential of a request and whether it is a bearer token. Two different ones are refused,
/// wherever they are: a client that sends a second key leaks it.
fn presented(own: Option<HeaderName>, headers: &HeaderMap) -> Result<(BearerToken, bool), Refused> {
    let mut found: Option<(&str, bool)> = None;
    let mut accepted = false;
    for name in &KEY_HEADERS {
        for value in headers.get_all(name) {
            let is_bearer = name == AUTHORIZATION;
            let text = value.to_str().map_err(|_| wrong("", is_bearer))?;
            let token = if is_bearer { bearer(text).ok_or_else(|| wrong("", true))? } else { text };
            if found.is_some_and(|(before, _)| before != token) {
                return Err(wrong(token, is_bearer));
            }
            accepted |= is_bearer || own.as_ref() == Some(name);
            found.get_or_insert((token, is_bearer));
        }
    }
    match found {
        Some((token, is_bearer)) if accepted && !token.is_empty() => Ok((BearerToken::new(token), is_bearer)),
        _ => Err(Refused::Missing),
    }
}

fn wrong(token: &str, bearer: bool) -> Refused {
    Refused::Wrong { masked: mask(token), bearer }
}

/// The first eight and the last four characters; of a short key, nothing.
fn mask(token: &str) -> String {
    match (token.get(..8), token.len().checked_sub(4).and_then(|at| token.get(at..))) {
        (Some(head), Some(tail)) if token.len() >= 24 => format!("{head}****{tail}"),
        _ => "****".to_owned(),
    }
}
