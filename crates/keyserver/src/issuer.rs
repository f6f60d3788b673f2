//! Whose tokens are believed, and how far.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_auth_core::TenantId;
use serde_json::{Map, Value};

use crate::identity::Identity;
use crate::jose::{Algorithm, Refused, UnverifiedJwt, sha256};
use crate::json;
use crate::jwk::KeySet;
use crate::naming::{Naming, text};
use crate::possession::confirmation;

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
#[non_exhaustive]
pub enum TokenKind {
    /// An ID token or another plain JWT about a person or a workload: `typ` is `JWT` or absent.
    Identity,
    /// An access token by RFC 9068: `typ` is `at+jwt`, with `client_id` and `jti`.
    Access,
    /// Either of them.
    Any,
}

/// An issuer whose tokens are believed: about its own users, for our audiences, by its own algorithms.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issuer {
    pub(crate) naming: Naming,
    /// Whom its tokens must be for.
    pub audiences: Audiences,
    /// Whom its tokens may be for as well. A token that is for these alone is refused.
    pub other_audiences: Vec<String>,
    /// Clients of the issuer (`azp`, and `appid` of Entra's) that may have requested a token. A token that names one must name one
    /// of these, or one of our audiences.
    pub authorized_parties: Vec<String>,
    /// What its tokens may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// The tolerated difference between its clock and ours.
    pub leeway: Duration,
    /// The longest time between `iat` and `exp`.
    pub max_token_age: Duration,
}

impl Issuer {
    /// An issuer of that name in the configuration and that `iss` in tokens, with no other audiences and no
    /// authorized parties, [`Algorithm::DEFAULT`], a leeway of 30 seconds, and tokens that last a day at most.
    pub fn new(name: &str, url: &str, tenant: TenantId, audiences: Audiences) -> Self {
        Self::named(Naming::plain(name, url, tenant), audiences)
    }

    pub(crate) fn named(naming: Naming, audiences: Audiences) -> Self {
        Self {
            naming,
            audiences,
            other_audiences: Vec::new(),
            authorized_parties: Vec::new(),
            algorithms: Algorithm::DEFAULT.to_vec(),
            // A replay guard remembers a token this much longer than its `exp`.
            leeway: Duration::from_secs(30),
            max_token_age: Duration::from_secs(24 * 60 * 60),
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.naming.name
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
            // JWT-SVID section 2.3.
            Some("jose") if kind != TokenKind::Access && self.naming.trust_domain.is_some() => false,
            Some("at+jwt") if kind != TokenKind::Identity => true,
            _ => return Err(Refused::WrongType),
        };
        let claims = json::object(keys.open(jwt, &self.algorithms)?).ok_or(Refused::Malformed)?;
        self.naming.check(&claims)?;
        if is_access_token {
            // RFC 9068 section 2.2.
            text(&claims, "client_id")?;
            text(&claims, "jti")?;
        }
        if is_of_another_kind(&claims, kind) {
            return Err(Refused::WrongType);
        }
        self.check_audience(&claims)?;
        let expires_at = self.check_times(&claims, now)?;
        let id = self.naming.whose(&claims)?;
        if !self.naming.may_be_signed_by(keys.issuer_of(jwt), &claims) {
            return Err(Refused::BadSignature);
        }
        let token = match claims.get("jti") {
            None => jwt.fingerprint(),
            Some(_) => {
                let iss = claims.get("iss").and_then(Value::as_str).unwrap_or(self.naming.canonical());
                sha256([iss.as_bytes(), b"\0", text(&claims, "jti")?.as_bytes()].concat().as_slice())
            }
        };
        let confirmation = confirmation(&claims).map_err(|_| Refused::WrongClaims)?;
        let forget_at = expires_at.checked_add(self.leeway).ok_or(Refused::WrongClaims)?;
        Ok(Identity::verified(id, claims, (token, jwt.algorithm()), (expires_at, forget_at), confirmation))
    }

    /// One audience must be ours, and the others known: a token that others accept too is in their hands as
    /// well.
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), Refused> {
        let audiences = match claims.get("aud") {
            Some(Value::Array(several)) => several.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => return Err(Refused::WrongAudience),
        };
        let ours = |audience: &Value| audience.as_str().is_some_and(|text| self.audiences.contains(text));
        let known = |audience: &Value| {
            ours(audience) || self.other_audiences.iter().any(|other| audience.as_str() == Some(other))
        };
        if !audiences.iter().any(ours) || !audiences.iter().all(known) {
            return Err(Refused::WrongAudience);
        }
        let is_authorized = |party: &Value| {
            let authorized = |text: &str| {
                self.audiences.contains(text) || self.authorized_parties.iter().any(|one| one == text)
            };
            party.as_str().is_some_and(authorized)
        };
        let mut parties = self.naming.party_claims.iter().filter_map(|claim| claims.get(*claim));
        if parties.all(is_authorized) { Ok(()) } else { Err(Refused::WrongAudience) }
    }

    /// When the token ends. Every time is a whole number of seconds; a claim of another type is not
    /// treated as absent.
    fn check_times(&self, claims: &Map<String, Value>, now: SystemTime) -> Result<SystemTime, Refused> {
        let seconds = |name: &str| claims.get(name).and_then(Value::as_u64).ok_or(Refused::WrongClaims);
        let expires = seconds("exp")?;
        // A JWT-SVID needs no `iat` (JWT-SVID section 3); what it may still live counts then.
        let issued = match claims.get("iat") {
            None if self.naming.trust_domain.is_some() => None,
            _ => Some(seconds("iat")?),
        };
        let unix =
            |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let longest = issued.unwrap_or_else(|| unix(now)).saturating_add(self.max_token_age.as_secs());
        if expires > longest || issued.is_some_and(|issued| expires < issued) {
            return Err(Refused::WrongClaims);
        }
        let latest_start = now.checked_add(self.leeway).ok_or(Refused::WrongClaims)?;
        if let Some(issued) = issued
            && instant(issued)? > latest_start
        {
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

/// Whether the claims are those of a token that says nothing about who presents it, or, where an identity
/// token is expected, those of an access token without the type of one.
fn is_of_another_kind(claims: &Map<String, Value>, kind: TokenKind) -> bool {
    // A security event, such as a logout token (RFC 8417).
    if claims.contains_key("events") {
        return true;
    }
    // Keycloak and Cognito write the kind into a claim.
    let said: Vec<String> = ["typ", "token_use"]
        .iter()
        .filter_map(|name| claims.get(*name)?.as_str())
        .map(str::to_ascii_lowercase)
        .collect();
    let said = |kinds: &[&str]| said.iter().any(|said| kinds.contains(&said.as_str()));
    let is_access =
        || said(&["bearer", "access"]) || ["scope", "scp"].iter().any(|name| claims.contains_key(*name));
    said(&["refresh", "offline", "logout"]) || (kind == TokenKind::Identity && is_access())
}
