//! Who calls.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::grant::{Action, Denied, Grant, Permit};

/// The name of a tenant: 1 to 64 characters out of `a-z`, `A-Z`, `0-9`, `.`, `_`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TenantId(Arc<str>);

/// The text cannot be a tenant's name.
#[derive(Debug, thiserror::Error)]
#[error("a tenant's name has 1 to 64 characters out of a-z, A-Z, 0-9, `.`, `_` and `-`")]
pub struct BadTenant;

impl TenantId {
    /// Checks the name.
    ///
    /// # Errors
    /// [`BadTenant`] when it has another form.
    pub fn new(name: &str) -> Result<Self, BadTenant> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
            return Err(BadTenant);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(from)?;
        Self::new(&name).map_err(serde::de::Error::custom)
    }
}

/// Who somebody is, for quotas, limits, revocation and audit: tenant + issuer + subject.
///
/// Never an e-mail address, which people change and issuers reassign; never the subject alone,
/// which two issuers may both use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PrincipalId {
    /// Whose users these are.
    pub tenant: TenantId,
    /// The issuer's name in the configuration, or `static` for a configured key.
    pub issuer: Arc<str>,
    /// The issuer's own, stable name for the caller (`sub`).
    pub subject: Arc<str>,
}

/// The public name of one issued key (its `jti`): a UUID, unrelated to the key's text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Arc<str>);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a principal proved who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "id", rename_all = "kebab-case")]
pub enum Via {
    /// A key from the configuration, by its name there.
    StaticKey(Arc<str>),
    /// A key that this system issued.
    Key(KeyId),
    /// An issuer's token, presented as it is.
    Jwt,
}

impl Via {
    /// The kind as one word, for the audit.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::StaticKey(_) => "static-key",
            Self::Key(_) => "key",
            Self::Jwt => "jwt",
        }
    }
}

/// An authenticated caller: who, what they may do, and how they proved it.
///
/// Having one means that somebody verified it, so only the authenticators build it
/// (`cargo xtask tidy` holds the list of files).
#[derive(Debug)]
pub struct Principal {
    id: PrincipalId,
    grant: Grant,
    via: Via,
}

impl Principal {
    /// For the module that has just verified the caller, and for no other.
    pub fn authenticated(id: PrincipalId, grant: Grant, via: Via) -> Self {
        Self { id, grant, via }
    }

    /// Who.
    pub fn id(&self) -> &PrincipalId {
        &self.id
    }

    /// What they may do.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// How they proved it.
    pub fn via(&self) -> &Via {
        &self.via
    }

    /// Whether this caller may do this.
    ///
    /// # Errors
    /// [`Denied`], saying what is outside the grant.
    pub fn permit(self: &Arc<Self>, action: &Action<'_>) -> Result<Permit, Denied> {
        self.grant.check(action)?;
        Ok(Permit::given(self.clone()))
    }
}
