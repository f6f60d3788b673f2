//! What a caller may do. Everything here says yes or no; it is pure, and nothing in it can widen.

mod allow;
mod pattern;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use allow::{Allow, Limit};
pub use pattern::{BadPattern, Pattern};

use crate::Principal;

/// The name of a tier of limits, as configured: 1 to 64 characters without white space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TierName(Arc<str>);

/// The text cannot be the name of a tier.
#[derive(Debug, thiserror::Error)]
#[error("a tier's name has 1 to 64 characters and no white space")]
pub struct BadTier;

impl TierName {
    /// Checks the name.
    ///
    /// # Errors
    /// [`BadTier`] when it is empty, too long or has white space or control characters.
    pub fn new(name: &str) -> Result<Self, BadTier> {
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if name.is_empty() || name.len() > 64 || name.contains(bad) {
            return Err(BadTier);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TierName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TierName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(from)?;
        Self::new(&name).map_err(serde::de::Error::custom)
    }
}

/// The key that a caller must prove possession of (RFC 7800 `cnf`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Confirmation {
    /// Thumbprint of a DPoP key (RFC 9449 section 6).
    #[serde(rename = "jkt")]
    Jkt(Arc<str>),
    /// SHA-256 of a client certificate (RFC 8705 section 3.1).
    #[serde(rename = "x5t#S256")]
    X5tS256(Arc<str>),
}

/// What one caller may do, and until when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Models, by the name a caller uses.
    pub models: Allow<Pattern>,
    /// Tools a request may declare, by name.
    pub tools: Allow<Pattern>,
    /// Providers that may be called, by their names in the configuration. Admits nothing by itself: what may
    /// be called there is for the other fields. A stored grant without it admits no provider.
    #[serde(default = "Allow::none")]
    pub upstreams: Allow<Pattern>,
    /// The tier whose limits hold.
    pub tier: TierName,
    /// Roles for the control plane.
    pub roles: Allow<Pattern>,
    /// The end, in whole seconds since 1970 when stored.
    #[serde(with = "unix_seconds")]
    pub expires_at: SystemTime,
    /// The key that the caller must prove possession of, if the grant is bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
}

/// What somebody asks for out of a grant. A field left out asks for whatever the grant has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GrantRequest {
    /// Models.
    pub models: Option<Allow<Pattern>>,
    /// Tools.
    pub tools: Option<Allow<Pattern>>,
    /// Providers.
    pub upstreams: Option<Allow<Pattern>>,
    /// The tier.
    pub tier: Option<TierName>,
    /// Roles.
    pub roles: Option<Allow<Pattern>>,
    /// The end.
    pub expires_at: Option<SystemTime>,
    /// A key to bind the child to.
    pub confirmation: Option<Confirmation>,
}

/// A request that has nothing in common with the grant in one field, so that granting it would widen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the requested {field} are outside the grant")]
pub struct Wider {
    /// The field.
    pub field: &'static str,
}

impl Grant {
    /// The grant as far as it was asked for: a subset of `self` in every field.
    ///
    /// Token exchange, attenuation of a key and reload of a policy all go through here.
    ///
    /// # Errors
    /// [`Wider`] when nothing of what was asked for in a field is granted.
    pub fn narrow(&self, asked: &GrantRequest) -> Result<Self, Wider> {
        let set = |field, mine: &Allow<Pattern>, asked: &Option<Allow<Pattern>>| match asked {
            None => Ok(mine.clone()),
            Some(asked) => {
                let both = mine.narrow(asked);
                if both.is_nothing() { Err(Wider { field }) } else { Ok(both) }
            }
        };
        Ok(Self {
            models: set("models", &self.models, &asked.models)?,
            tools: set("tools", &self.tools, &asked.tools)?,
            upstreams: set("upstreams", &self.upstreams, &asked.upstreams)?,
            roles: set("roles", &self.roles, &asked.roles)?,
            tier: match &asked.tier {
                Some(tier) if *tier != self.tier => return Err(Wider { field: "tier" }),
                _ => self.tier.clone(),
            },
            expires_at: asked.expires_at.map_or(self.expires_at, |asked| asked.min(self.expires_at)),
            confirmation: match (&self.confirmation, &asked.confirmation) {
                (None, asked) => asked.clone(),
                (Some(mine), Some(asked)) if mine != asked => {
                    return Err(Wider { field: "confirmation" });
                }
                (Some(mine), _) => Some(mine.clone()),
            },
        })
    }

    /// Whether `other` is no wider than this in any field.
    pub fn covers(&self, other: &Self) -> bool {
        let Self { models, tools, upstreams, roles, tier, expires_at, confirmation } = self;
        models.covers(&other.models)
            && tools.covers(&other.tools)
            && upstreams.covers(&other.upstreams)
            && roles.covers(&other.roles)
            && *tier == other.tier
            && *expires_at >= other.expires_at
            && (confirmation.is_none() || *confirmation == other.confirmation)
    }

    /// Whether the action lies within the grant. Time is the authenticator's to check.
    pub(crate) fn check(&self, action: &Action<'_>) -> Result<(), Denied> {
        if let Some(model) = action.model
            && !self.models.admits(model)
        {
            return Err(Denied::Model);
        }
        if action.tools.iter().any(|tool| !self.tools.admits(tool)) {
            return Err(Denied::Tool);
        }
        Ok(())
    }
}

/// What a caller is about to do.
#[derive(Clone, Copy, Debug)]
pub struct Action<'a> {
    /// The model, where the route has one.
    pub model: Option<&'a str>,
    /// The tools that the request declares.
    pub tools: &'a [Cow<'a, str>],
}

/// What lies outside the grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The model.
    #[error("this key does not allow the requested model")]
    Model,
    /// A declared tool.
    #[error("this key does not allow a tool that the request declares")]
    Tool,
    /// The provider that would serve it.
    #[error("this key does not allow any provider of the requested model")]
    Upstream,
}

/// Proof that a principal may do what it asked for. Only [`Principal::permit`] makes one.
#[derive(Debug)]
pub struct Permit {
    principal: Arc<Principal>,
}

impl Permit {
    pub(crate) fn given(principal: Arc<Principal>) -> Self {
        Self { principal }
    }

    /// Who was permitted.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// Whether the provider of this name may be called. Known only once a route is looked for, which needs
    /// the permit.
    ///
    /// # Errors
    /// [`Denied::Upstream`].
    pub fn at(&self, upstream: &str) -> Result<(), Denied> {
        if self.principal.grant().upstreams.admits(upstream) { Ok(()) } else { Err(Denied::Upstream) }
    }
}

mod unix_seconds {
    use std::time::{Duration, SystemTime};

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let seconds = u64::deserialize(from)?;
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .ok_or_else(|| serde::de::Error::custom("a time beyond all times"))
    }
}

/// The set of patterns behind an [`Allow`], for those who write one.
pub type Patterns = BTreeSet<Pattern>;

#[cfg(test)]
mod tests;
