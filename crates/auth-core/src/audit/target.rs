//! What an event was about.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::{KeyId, PrincipalId, TenantId};

/// What an event was about.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Target {
    /// The model, as the caller named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// The provider that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Arc<str>>,
    /// The key that was issued or revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<KeyId>,
    /// The policy that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Arc<str>>,
    /// The issuer concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Arc<str>>,
    /// Whose keys a revocation took back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Arc<PrincipalId>>,
    /// How many keys a revocation took back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<usize>,
    /// Which keys a listing or a revocation of many was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<Arc<KeySelection>>,
    /// How many identities a revocation of many took keys back from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identities: Option<usize>,
    /// Why an administrator did it, in their own words: at most 256 characters, none of them a control
    /// character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stated_reason: Option<Arc<str>>,
}

/// Some of the issued keys: those that are like every part that is set. Without any part, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeySelection {
    /// The tenant of their owners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Their owners' issuer, by its name in the configuration.
    #[serde(rename = "iss", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Arc<str>>,
    /// Their owners' subject. By itself it names nobody: two issuers may both use it.
    #[serde(rename = "sub", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Arc<str>>,
    /// An e-mail address that their issuer had verified when they were issued. By itself it names nobody: two
    /// issuers may both know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Arc<str>>,
    /// The policy that granted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Arc<str>>,
    /// They were issued before this instant; written in seconds since 1970.
    #[serde(serialize_with = "unix_seconds", skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<SystemTime>,
}

impl KeySelection {
    /// Whether no part is set.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether keys of this owner can be meant, their address apart.
    pub fn is_about(&self, owner: &PrincipalId) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == owner.tenant)
            && self.issuer.as_ref().is_none_or(|issuer| *issuer == owner.issuer)
            && self.subject.as_ref().is_none_or(|subject| *subject == owner.subject)
    }

    /// The one owner that is meant, where all that names one is set.
    pub fn owner(&self) -> Option<PrincipalId> {
        Some(PrincipalId {
            tenant: self.tenant.clone()?,
            issuer: self.issuer.clone()?,
            subject: self.subject.clone()?,
        })
    }
}

fn unix_seconds<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    to.serialize_u64(since.unwrap_or_default().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(issuer: &str, subject: &str) -> PrincipalId {
        let tenant = TenantId::new("acme").unwrap();
        PrincipalId { tenant, issuer: issuer.into(), subject: subject.into() }
    }

    #[test]
    fn a_selection_is_about_those_who_are_like_every_part_of_it() {
        let mut selection = KeySelection::default();
        assert!(selection.is_everything() && selection.is_about(&owner("idp", "alice")));
        selection.issuer = Some("idp".into());
        assert!(!selection.is_everything() && selection.owner().is_none());
        selection.subject = Some("alice".into());
        assert!(selection.is_about(&owner("idp", "alice")));
        assert!(!selection.is_about(&owner("other", "alice")) && !selection.is_about(&owner("idp", "bob")));
        selection.tenant = Some(TenantId::new("acme").unwrap());
        assert_eq!(selection.owner(), Some(owner("idp", "alice")));
    }
}
