//! What is kept of an identity beside its key, so that later policies can be asked about it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use portunus_auth_core::{Grant, PrincipalId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::condition::{About, Condition, Finding, Wanted};
use super::email::address;
use super::{Asked, Holds, Policies, Rule};
use crate::identity::Identity;
use crate::naming::Naming;
use crate::preset::EmailTrust;

/// The claims that the policies looked at when they granted a key, and no others.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Evidence {
    /// The version of those policies.
    policies: Arc<str>,
    /// The names of the claims that were looked at, whether or not they were there.
    kept: BTreeSet<String>,
    claims: Map<String, Value>,
}

impl Policies {
    /// What to keep of this identity.
    pub(crate) fn evidence(&self, identity: &Identity) -> Evidence {
        let is_of_its_issuer = |rule: &&Rule| rule.issuer == identity.id().issuer;
        let conditions = self.rules.iter().filter(is_of_its_issuer).flat_map(|rule| &rule.conditions);
        let kept: BTreeSet<String> = conditions.flat_map(|condition| condition.about.claims()).collect();
        let claims = identity.claims().iter().filter(|(name, _)| kept.contains(*name));
        let claims = claims.map(|(name, value)| (name.clone(), value.clone())).collect();
        Evidence { policies: self.version.clone(), kept, claims }
    }

    /// Whether these policies still give the owner all that the grant has. Of whom nothing was kept, it
    /// cannot be told.
    pub(crate) fn still_give(
        &self,
        owner: &PrincipalId,
        grant: &Grant,
        evidence: Option<&Evidence>,
        now: SystemTime,
    ) -> bool {
        let Some(Evidence { policies, kept, claims }) = evidence else { return false };
        if *policies == self.version {
            return true;
        }
        let has_tenant = |naming: &Naming| {
            naming.name == owner.issuer && naming.tenancy.tenants().contains(&&owner.tenant)
        };
        if !self.issuers.iter().any(has_tenant) {
            return false;
        }
        let asked = Asked { id: owner, claims, kept: Some(kept) };
        self.decide(&asked, None, None, now).is_some_and(|decision| decision.grant.covers(grant))
    }
}

/// The verified address that somebody had when their key was issued.
#[derive(Debug)]
pub(crate) struct VerifiedAddress(Condition);

impl VerifiedAddress {
    /// This one, where its issuer is believed so far about addresses. `None`: it is no address.
    pub(crate) fn new(email: &str, trust: EmailTrust) -> Option<Self> {
        // Whoever takes back would rather take back too much.
        let wanted = Wanted::OneInAnyCase(vec![address(email)?.text]);
        Some(Self(Condition { about: About::Email(trust), wanted }))
    }

    /// Whether it was that owner's. It cannot be told where no policy looked at addresses.
    pub(crate) fn is_of(&self, owner: &PrincipalId, evidence: Option<&Evidence>) -> Holds {
        let Some(Evidence { kept, claims, .. }) = evidence else { return Holds::CannotTell };
        match self.0.look(&Asked { id: owner, claims, kept: Some(kept) }).0 {
            Finding::Matches => Holds::Yes,
            Finding::NotKept => Holds::CannotTell,
            // An address that was not verified may be anybody's.
            _ => Holds::No,
        }
    }
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence").field("policies", &self.policies).finish_non_exhaustive()
    }
}
