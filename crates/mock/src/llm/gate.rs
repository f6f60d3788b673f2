//! Who may call: keys of a test's own, and an identity provider's access tokens.

#[cfg(feature = "oauth")]
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::HeaderValue;
use portunus_auth_core::{BearerToken, Dialect};

use super::presented::{self, Presented};
use super::sigv4::{self, BadSignature};
use crate::capture::{Recorded, redacted};
use crate::key::Key;
#[cfg(feature = "oauth")]
use crate::oauth::IssuedTokens;
use crate::secrets::Secrets;

/// Why a caller was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) why: Why,
    /// Whether the credential came in the `Authorization` header.
    pub(crate) bearer: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Missing,
    Wrong {
        /// The key as OpenAI would repeat it.
        masked: String,
    },
    Expired,
    Revoked,
    Exhausted,
    Signature(BadSignature),
    /// One of Anthropic's OAuth tokens, which nobody issued.
    UnknownOAuth,
    /// One of Anthropic's OAuth tokens, without the header that opts in to them.
    NoOptIn,
}

impl Refused {
    pub(crate) fn wrong(token: &str, bearer: bool) -> Self {
        Self { why: Why::Wrong { masked: mask(token) }, bearer }
    }
}

/// What became of a key, as others may see it.
#[derive(Debug)]
pub(crate) struct KeyState {
    pub(crate) redacted: String,
    pub(crate) uses_left: Option<u32>,
    pub(crate) ends_at: Option<SystemTime>,
    pub(crate) revoked: bool,
    pub(crate) models: Option<Vec<String>>,
    pub(crate) paths: Option<Vec<String>>,
}

/// A key and what became of it.
#[derive(Debug)]
struct Entry {
    key: Key,
    left: Option<u32>,
    ends_at: Option<SystemTime>,
    revoked: bool,
}

impl Entry {
    fn admit(&self, now: SystemTime) -> Result<(), Why> {
        match self.left {
            _ if self.revoked => Err(Why::Revoked),
            _ if self.ends_at.is_some_and(|end| end <= now) => Err(Why::Expired),
            Some(0) => Err(Why::Exhausted),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Gate {
    always: bool,
    keys: Mutex<Secrets<Entry>>,
    #[cfg(feature = "oauth")]
    issued: Option<Arc<IssuedTokens>>,
}

impl Gate {
    /// A gate that is closed once a key is known to it, or right away when `always`.
    #[cfg(not(feature = "oauth"))]
    pub(crate) fn new(always: bool) -> Self {
        Self { always, ..Self::default() }
    }

    /// A gate that is closed once a key is known to it, or right away when `always` or when an
    /// identity provider's access tokens are to pass.
    #[cfg(feature = "oauth")]
    pub(crate) fn new(always: bool, issued: Option<Arc<IssuedTokens>>) -> Self {
        Self { always: always || issued.is_some(), issued, ..Self::default() }
    }

    pub(crate) fn add(&self, key: Key, now: SystemTime) {
        let token = key.token.clone();
        let entry = Entry { left: key.uses, ends_at: key.ends_at(now), revoked: false, key };
        self.lock().insert(token.expose(), entry);
    }

    pub(crate) fn revoke(&self, token: &str) {
        let mut keys = self.lock();
        match keys.get_mut(token) {
            Some(entry) => entry.revoked = true,
            None => {
                let key = Key::new(token);
                keys.insert(token, Entry { left: None, ends_at: None, revoked: true, key });
            }
        }
    }

    /// Ends a key now. Whether it is known.
    pub(crate) fn expire(&self, token: &str, now: SystemTime) -> bool {
        self.lock().get_mut(token).map(|entry| entry.ends_at = Some(now)).is_some()
    }

    /// How many uses a key has left. `None`: no such key, or no limit.
    pub(crate) fn left(&self, token: &str) -> Option<u32> {
        self.lock().get(token)?.left
    }

    /// What became of all keys.
    pub(crate) fn states(&self) -> Vec<KeyState> {
        let keys = self.lock();
        let state = |entry: &Entry| KeyState {
            redacted: redacted(entry.key.token.expose()),
            uses_left: entry.left,
            ends_at: entry.ends_at,
            revoked: entry.revoked,
            models: entry.key.models.clone(),
            paths: entry.key.paths.clone(),
        };
        let mut states: Vec<_> = keys.values().map(state).collect();
        states.sort_by(|a, b| a.redacted.cmp(&b.redacted));
        states
    }

    /// Gives every key back what it had when it was added.
    pub(crate) fn reset(&self, now: SystemTime) {
        self.lock().each(|entry| {
            (entry.left, entry.ends_at, entry.revoked) = (entry.key.uses, entry.key.ends_at(now), false);
        });
    }

    /// The credential of a request that may pass. With an open gate that is any, or none.
    pub(crate) fn admit(
        &self,
        dialect: Dialect,
        request: &Recorded,
        now: SystemTime,
        faithful: bool,
    ) -> Result<Option<BearerToken>, Refused> {
        let presented = presented::find(dialect, request);
        if !self.is_closed() {
            return Ok(presented.ok().map(|found| found.token));
        }
        let Presented { token, bearer, signed } = presented?;
        let refused = |why| Refused { why, bearer };
        let oauth = faithful && dialect == Dialect::Anthropic && token.expose().starts_with("sk-ant-oat");
        if oauth {
            check_opt_in(request, &token, bearer)?;
        }
        let known = {
            let keys = self.lock();
            let known = keys.get(token.expose()).filter(|entry| entry.key.aws.is_some() == signed);
            known.map(|entry| (entry.admit(now), entry.key.aws.clone()))
        };
        // A key that was named is decided by its own entry: exhausted is not unknown.
        match known {
            Some((admitted, aws)) => {
                if let Some(aws) = aws {
                    sigv4::verify(request, &aws, now).map_err(|bad| refused(Why::Signature(bad)))?;
                }
                admitted.map_err(refused)?;
            }
            None if signed => return Err(refused(Why::Signature(BadSignature::UnknownKey))),
            None => match self.issued(&token, now) {
                Some(true) if bearer || !faithful => {}
                Some(false) => return Err(refused(Why::Expired)),
                _ if oauth => return Err(refused(Why::UnknownOAuth)),
                _ => return Err(Refused::wrong(token.expose(), bearer)),
            },
        }
        Ok(Some(token))
    }

    /// Whether a key may be used for a model, at a path; one of which nothing is known may.
    pub(crate) fn allows(&self, token: &BearerToken, model: &str, path: &str) -> bool {
        let keys = self.lock();
        let Some(Entry { key, .. }) = keys.get(token.expose()) else { return true };
        let has = |list: &Option<Vec<String>>, wanted: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|allowed| allowed == wanted))
        };
        has(&key.models, model) && has(&key.paths, path)
    }

    /// Takes one use of a key that has a number of them; check and decrement are one step.
    pub(crate) fn spend(&self, token: &BearerToken, now: SystemTime) -> Result<(), Refused> {
        let mut keys = self.lock();
        let Some(entry) = keys.get_mut(token.expose()) else { return Ok(()) };
        entry.admit(now).map_err(|why| Refused { why, bearer: true })?;
        entry.left = entry.left.map(|left| left.saturating_sub(1));
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

    fn lock(&self) -> MutexGuard<'_, Secrets<Entry>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Anthropic takes its OAuth tokens as bearer tokens only, and only from callers who say that they know.
fn check_opt_in(request: &Recorded, token: &BearerToken, bearer: bool) -> Result<(), Refused> {
    if !bearer {
        return Err(Refused::wrong(token.expose(), bearer));
    }
    let betas = request.headers_with_secrets().get_all("anthropic-beta");
    let knows = |value: &HeaderValue| value.to_str().is_ok_and(|betas| betas.contains("oauth-2025-04-20"));
    if betas.iter().any(knows) { Ok(()) } else { Err(Refused { why: Why::NoOptIn, bearer }) }
}

/// The first eight and the last four characters; of a short key, nothing.
fn mask(token: &str) -> String {
    match (token.get(..8), token.len().checked_sub(4).and_then(|at| token.get(at..))) {
        (Some(head), Some(tail)) if token.len() >= 24 => format!("{head}****{tail}"),
        _ => "****".to_owned(),
    }
}
