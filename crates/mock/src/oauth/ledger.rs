//! The access and refresh tokens that were issued. Those that descend from one consent are a family,
//! and end together.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::consent::Consent;
use super::error::OAuthError;
use crate::secrets::Secrets;

/// After so many new entries the expired ones are forgotten.
const SWEEP_EVERY: usize = 1_024;

/// What an access token is good for.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) subject: String,
    /// What the token says, or would say if it were one that can be read.
    pub(super) claims: Map<String, Value>,
    /// What `/userinfo` tells.
    pub(super) userinfo: Map<String, Value>,
    pub(super) expires_at: SystemTime,
    pub(super) family: Option<u64>,
}

impl Access {
    fn text(&self, name: &str) -> &str {
        self.claims.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn client_id(&self) -> &str {
        self.text("client_id")
    }

    pub(super) fn scope(&self) -> &str {
        self.text("scope")
    }

    pub(super) fn has_scope(&self, name: &str) -> bool {
        self.scope().split(' ').any(|scope| scope == name)
    }

    /// The thumbprint of the key that has to be proven with the token (RFC 9449 §6.1).
    pub(super) fn key(&self) -> Option<&str> {
        self.claims.get("cnf")?.get("jkt")?.as_str()
    }
}

/// What a refresh token is good for.
#[derive(Clone, Debug)]
pub(super) struct Refresh {
    pub(super) consent: Consent,
    /// The thumbprint of the key that has to be proven with it: that of a public client (RFC 9449 §5).
    pub(super) key: Option<String>,
    pub(super) issued_at: SystemTime,
    pub(super) expires_at: SystemTime,
    rotated: bool,
}

impl Refresh {
    pub(super) fn new(
        consent: Consent,
        key: Option<String>,
        issued_at: SystemTime,
        expires_at: SystemTime,
    ) -> Self {
        Self { consent, key, issued_at, expires_at, rotated: false }
    }
}

/// What becomes of a refresh token that is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshPolicy {
    /// It is replaced. Who uses it again ends the whole family (RFC 9700 §4.14.2).
    #[default]
    DetectReuse,
    /// It is replaced. Who uses it again is refused, and nothing else happens.
    Rotate,
    /// It stays.
    Reuse,
}

/// All tokens of an identity provider.
#[derive(Debug, Default)]
pub(crate) struct IssuedTokens(Mutex<Ledger>);

#[derive(Debug, Default)]
struct Ledger {
    access: Secrets<Access>,
    refresh: Secrets<Refresh>,
    /// Families that may have no further tokens.
    ended: HashSet<u64>,
    last: u64,
}

impl IssuedTokens {
    /// A name for a new family, which no other has.
    pub(super) fn new_family(&self) -> u64 {
        let mut ledger = self.lock();
        ledger.last += 1;
        ledger.last
    }

    /// Honours an access token, unless its family has ended meanwhile.
    pub(super) fn add(&self, token: &str, access: Access, now: SystemTime) {
        let mut ledger = self.lock();
        if access.family.is_some_and(|family| ledger.ended.contains(&family)) {
            return;
        }
        if ledger.access.len() % SWEEP_EVERY == SWEEP_EVERY - 1 {
            ledger.access.retain(|access| now < access.expires_at);
        }
        ledger.access.insert(token, access);
    }

    /// Whether that token is still valid as a bearer token; `None`: it was never issued, or revoked, or
    /// is bound to a key.
    pub(crate) fn is_valid(&self, token: &str, now: SystemTime) -> Option<bool> {
        let ledger = self.lock();
        let access = ledger.access.get(token).filter(|access| access.key().is_none())?;
        Some(now < access.expires_at)
    }

    pub(super) fn find(&self, token: &str, now: SystemTime) -> Option<Access> {
        self.lock().access.get(token).filter(|access| now < access.expires_at).cloned()
    }

    /// A refresh token that was neither used nor revoked and has not expired.
    pub(super) fn find_refresh(&self, token: &str, now: SystemTime) -> Option<Refresh> {
        let ledger = self.lock();
        ledger.refresh.get(token).filter(|refresh| !refresh.rotated && now < refresh.expires_at).cloned()
    }

    /// The text of a new refresh token.
    pub(super) fn add_refresh(&self, refresh: Refresh) -> String {
        self.lock().add_refresh(refresh)
    }

    /// Uses a refresh token if everything fits; check and rotation are one step. Answers what it is good
    /// for, and the token to use from now on, which lives until `expires_at`.
    pub(super) fn refresh(
        &self,
        token: &str,
        client_id: &str,
        policy: RefreshPolicy,
        (now, expires_at): (SystemTime, SystemTime),
        check: impl FnOnce(&Refresh) -> Result<(), OAuthError>,
    ) -> Result<(Refresh, String), OAuthError> {
        let mut ledger = self.lock();
        let known = ledger.refresh.get_mut(token).filter(|refresh| refresh.consent.client_id == client_id);
        let known = known
            .ok_or_else(|| OAuthError::grant("the refresh token is unknown, revoked, or another client's"))?;
        if known.rotated {
            let family = known.consent.family;
            if policy == RefreshPolicy::DetectReuse {
                ledger.end(family);
            }
            return Err(OAuthError::grant("the refresh token has been used before"));
        }
        if now >= known.expires_at {
            return Err(OAuthError::grant("the refresh token has expired"));
        }
        check(known)?;
        let refresh = known.clone();
        if policy == RefreshPolicy::Reuse {
            return Ok((refresh, token.to_owned()));
        }
        known.rotated = true;
        let next = Refresh::new(refresh.consent.clone(), refresh.key.clone(), now, expires_at);
        Ok((refresh, ledger.add_refresh(next)))
    }

    /// Ends what that client may end: an access token, or a refresh token with its whole family
    /// (RFC 7009 §2.1).
    pub(super) fn revoke(&self, token: &str, client_id: &str) {
        let mut ledger = self.lock();
        if ledger.access.get(token).is_some_and(|access| access.client_id() == client_id) {
            ledger.access.remove(token);
        }
        let refresh = ledger.refresh.get(token).filter(|refresh| refresh.consent.client_id == client_id);
        if let Some(family) = refresh.map(|refresh| refresh.consent.family) {
            ledger.end(family);
        }
    }

    /// Ends a token, whoever has it, and a refresh token's whole family. Whether it was there.
    pub(super) fn withdraw(&self, token: &str) -> bool {
        let mut ledger = self.lock();
        let family = ledger.refresh.get(token).map(|refresh| refresh.consent.family);
        if let Some(family) = family {
            ledger.end(family);
        }
        ledger.access.remove(token) || family.is_some()
    }

    /// Ends the time of an access or refresh token. Whether it was there.
    pub(super) fn expire(&self, token: &str, now: SystemTime) -> bool {
        let mut ledger = self.lock();
        let access = ledger.access.get_mut(token).map(|access| access.expires_at = now);
        access.is_some() || ledger.refresh.get_mut(token).map(|refresh| refresh.expires_at = now).is_some()
    }

    /// Ends every token of that family, also those that are about to be issued.
    pub(super) fn end(&self, family: u64) {
        self.lock().end(family);
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn add_refresh(&mut self, refresh: Refresh) -> String {
        self.last += 1;
        let text = format!("refresh-mock-{}", self.last);
        if self.refresh.len() % SWEEP_EVERY == SWEEP_EVERY - 1 {
            let now = refresh.issued_at;
            self.refresh.retain(|refresh| now < refresh.expires_at);
        }
        if !self.ended.contains(&refresh.consent.family) {
            self.refresh.insert(&text, refresh);
        }
        text
    }

    fn end(&mut self, family: u64) {
        self.ended.insert(family);
        self.access.retain(|access| access.family != Some(family));
        self.refresh.retain(|refresh| refresh.consent.family != family);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::super::user::User;
    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    /// Gives a family a refresh and an access token.
    fn consent(issued: &IssuedTokens) -> (u64, String) {
        let family = issued.new_family();
        let consent = Consent {
            client_id: "app".to_owned(),
            user: User::new("alice"),
            scopes: Vec::new(),
            audiences: Vec::new(),
            authenticated_at: UNIX_EPOCH,
            offline: true,
            family,
        };
        let end = NOW + Duration::from_secs(60);
        (family, issued.add_refresh(Refresh::new(consent, None, UNIX_EPOCH, end)))
    }

    fn access(issued: &IssuedTokens, family: u64, text: &str) {
        let expires_at = NOW + Duration::from_secs(60);
        let (subject, claims, userinfo) = (String::new(), Map::new(), Map::new());
        let access = Access { subject, claims, userinfo, expires_at, family: Some(family) };
        issued.add(text, access, NOW);
    }

    proptest! {
        /// Whatever is used, reused and revoked in whatever order: a family that ended has no token, also
        /// not one that was about to be issued, and any other exactly one refresh token.
        #[test]
        fn a_family_has_one_refresh_token_or_has_ended(steps in prop::collection::vec((0..3_usize, 0..8_usize, 0..3_u8), 1..60)) {
            let issued = IssuedTokens::default();
            let mut families: Vec<_> = (0..3).map(|_| consent(&issued)).map(|(family, first)| (family, vec![first], true)).collect();
            for (n, (which, token, step)) in steps.into_iter().enumerate() {
                let (family, tokens, alive) = &mut families[which];
                let token = tokens[token % tokens.len()].clone();
                let is_newest = Some(&token) == tokens.last();
                if step == 0 {
                    issued.revoke(&token, "app");
                    *alive = false;
                } else {
                    let times = (NOW, NOW + Duration::from_secs(60));
                    let used = issued.refresh(&token, "app", RefreshPolicy::DetectReuse, times, |_| Ok(()));
                    prop_assert_eq!(used.is_ok(), *alive && is_newest);
                    match used {
                        Ok((_, next)) => tokens.push(next),
                        Err(_) => *alive = false,
                    }
                }
                let text = format!("access-{n}");
                access(&issued, *family, &text);
                prop_assert_eq!(issued.find(&text, NOW).is_some(), *alive);
                for (_, tokens, alive) in &families {
                    let live = tokens.iter().filter(|token| issued.find_refresh(token, NOW).is_some());
                    prop_assert_eq!(live.count(), usize::from(*alive));
                }
            }
        }
    }
}
