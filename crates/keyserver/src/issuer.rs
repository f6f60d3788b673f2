//! Whose tokens are believed, and how far.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_auth_core::{PrincipalId, TenantId};
use serde_json::{Map, Value};

use crate::identity::Identity;
use crate::jose::{Algorithm, Refused, UnverifiedJwt, sha256};
use crate::json;
use crate::jwk::KeySet;

/// How far an issuer's clock may be from ours. A token is accepted this much past its `exp`, so a
/// replay guard remembers it for as much longer.
pub(crate) const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);

/// The longest time between `iat` and `exp`.
pub(crate) const DEFAULT_TOKEN_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest subject, in bytes. OpenID Connect Core section 2 allows 255 characters.
const MAX_SUBJECT: usize = 512;

/// The audiences that we answer to. At least one, by construction.
#[derive(Clone, Debug)]
pub struct Audiences(Vec<String>);

/// No audience was given, or an empty one: tokens for anybody would be accepted.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("at least one audience is needed, and none may be empty")]
pub struct NoAudience;

impl Audiences {
    /// These.
    ///
    /// # Errors
    /// [`NoAudience`] when there is none, or an empty one.
    pub fn new(audiences: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, NoAudience> {
        let audiences: Vec<String> = audiences.into_iter().map(Into::into).collect();
        if audiences.is_empty() || audiences.iter().any(|audience| audience.trim().is_empty()) {
            return Err(NoAudience);
        }
        Ok(Self(audiences))
    }

    fn contains(&self, audience: &str) -> bool {
        self.0.iter().any(|ours| ours == audience)
    }
}

/// What kind of token is expected. A token made for one purpose is not taken for another
/// (RFC 8725 section 3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// An ID token or another plain JWT about a person or a workload: `typ` is `JWT` or absent.
    Identity,
    /// An access token by RFC 9068: `typ` is `at+jwt`, with `client_id` and `jti`.
    Access,
    /// Either of them.
    Any,
}

/// An issuer whose tokens are believed: for one tenant, for our audiences, by its own algorithms.
#[derive(Clone, Debug)]
pub struct Issuer {
    name: Arc<str>,
    url: String,
    tenant: TenantId,
    audiences: Audiences,
    authorized_parties: Vec<String>,
    algorithms: Vec<Algorithm>,
    leeway: Duration,
    max_token_age: Duration,
}

impl Issuer {
    /// An issuer known to us as `name`, whose tokens say exactly `url` as their `iss`.
    pub fn new(name: &str, url: &str, tenant: TenantId, audiences: Audiences) -> Self {
        Self {
            name: name.into(),
            url: url.to_owned(),
            tenant,
            audiences,
            authorized_parties: Vec::new(),
            algorithms: Algorithm::DEFAULT.to_vec(),
            leeway: DEFAULT_LEEWAY,
            max_token_age: DEFAULT_TOKEN_AGE,
        }
    }

    /// Only these algorithms, in place of [`Algorithm::DEFAULT`].
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// The tolerated difference between clocks, in place of 30 seconds.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// The longest time between `iat` and `exp`, in place of 24 hours.
    #[must_use]
    pub fn max_token_age(mut self, age: Duration) -> Self {
        self.max_token_age = age;
        self
    }

    /// Other clients of the issuer (`azp`) that may have requested the token. Without this, a token that
    /// names an authorized party must name one of our audiences.
    #[must_use]
    pub fn authorized_parties(mut self, parties: impl IntoIterator<Item = String>) -> Self {
        self.authorized_parties = parties.into_iter().collect();
        self
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its name in tokens (`iss`).
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether its tokens may be signed so. Asked before any key is looked up or fetched.
    pub(crate) fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Verifies a token: kind, algorithm, key, signature, issuer, audience, times.
    ///
    /// # Errors
    /// [`Refused`], saying which of these failed. [`Refused::UnknownKey`] can be cured by newer keys.
    pub fn verify(
        &self,
        jwt: &UnverifiedJwt<'_>,
        kind: TokenKind,
        keys: &KeySet,
        now: SystemTime,
    ) -> Result<Identity, Refused> {
        let is_access_token = match jwt.kind().as_deref() {
            None | Some("jwt") if kind != TokenKind::Access => false,
            Some("at+jwt") if kind != TokenKind::Identity => true,
            _ => return Err(Refused::WrongType),
        };
        let claims = json::object(keys.open(jwt, &self.algorithms)?)?;
        if text(&claims, "iss")? != self.url {
            return Err(Refused::UnknownIssuer);
        }
        if is_access_token {
            // RFC 9068 section 2.2.
            text(&claims, "client_id")?;
            text(&claims, "jti")?;
        }
        // A security event, such as a logout token, says nothing about who presents it (RFC 8417).
        if claims.contains_key("events") {
            return Err(Refused::WrongType);
        }
        self.check_audience(&claims)?;
        let expires_at = self.check_times(&claims, now)?;
        let id = PrincipalId {
            tenant: self.tenant.clone(),
            issuer: self.name.clone(),
            subject: subject(&claims)?.into(),
        };
        let token = match claims.get("jti") {
            None => jwt.fingerprint(),
            Some(_) => {
                sha256([self.url.as_bytes(), b"\0", text(&claims, "jti")?.as_bytes()].concat().as_slice())
            }
        };
        let forget_at = expires_at.checked_add(self.leeway).ok_or(Refused::WrongClaims)?;
        Ok(Identity::verified(id, claims, token, expires_at, forget_at))
    }

    /// Every audience must be ours: a token that others accept too is in their hands as well.
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), Refused> {
        let audiences = match claims.get("aud") {
            Some(Value::Array(several)) => several.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => return Err(Refused::WrongAudience),
        };
        let ours = |audience: &Value| audience.as_str().is_some_and(|text| self.audiences.contains(text));
        if audiences.is_empty() || !audiences.iter().all(ours) {
            return Err(Refused::WrongAudience);
        }
        match claims.get("azp") {
            None => Ok(()),
            Some(Value::String(party))
                if self.audiences.contains(party) || self.authorized_parties.contains(party) =>
            {
                Ok(())
            }
            Some(_) => Err(Refused::WrongAudience),
        }
    }

    /// When the token ends. Every time is a whole number of seconds; a claim of another type is not
    /// treated as absent.
    fn check_times(&self, claims: &Map<String, Value>, now: SystemTime) -> Result<SystemTime, Refused> {
        let seconds = |name: &str| claims.get(name).and_then(Value::as_u64).ok_or(Refused::WrongClaims);
        let (issued, expires) = (seconds("iat")?, seconds("exp")?);
        let lifetime = expires.checked_sub(issued).ok_or(Refused::WrongClaims)?;
        if lifetime > self.max_token_age.as_secs() {
            return Err(Refused::WrongClaims);
        }
        let latest_start = now.checked_add(self.leeway).ok_or(Refused::WrongClaims)?;
        if instant(issued)? > latest_start {
            return Err(Refused::NotYetValid);
        }
        if claims.contains_key("nbf") && instant(seconds("nbf")?)? > latest_start {
            return Err(Refused::NotYetValid);
        }
        let expires_at = instant(expires)?;
        if expires_at.checked_add(self.leeway).is_none_or(|end| end <= now) {
            return Err(Refused::Expired);
        }
        Ok(expires_at)
    }
}

fn instant(unix_seconds: u64) -> Result<SystemTime, Refused> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(unix_seconds)).ok_or(Refused::WrongClaims)
}

/// A claim that must be a text and not empty.
fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<&'c str, Refused> {
    match claims.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(Refused::WrongClaims),
    }
}

/// The subject: a name that is safe to show and to compare.
fn subject(claims: &Map<String, Value>) -> Result<&str, Refused> {
    let subject = text(claims, "sub")?;
    if subject.len() > MAX_SUBJECT || subject.contains(char::is_control) {
        return Err(Refused::WrongClaims);
    }
    Ok(subject)
}
