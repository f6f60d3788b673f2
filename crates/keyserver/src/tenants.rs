//! `issuers.tenant` as it is written.

use std::collections::BTreeMap;
use std::fmt;

use portunus_auth_core::TenantId;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// Whose users an issuer knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TenantsConfig {
    /// All are of this tenant: `tenant = "acme"`.
    One(TenantId),
    /// Of the tenant that is listed for a verified claim: `tenant = { "CLAIM'S TEXT" = "acme" }`. Whoever is
    /// not listed is refused.
    ByClaim(BTreeMap<String, TenantId>),
}

impl TenantsConfig {
    /// The table, if it is one.
    pub(crate) fn table(&self) -> Option<&BTreeMap<String, TenantId>> {
        match self {
            Self::One(_) => None,
            Self::ByClaim(tenants) => Some(tenants),
        }
    }

    /// Whether it has users of that tenant.
    pub(crate) fn has(&self, tenant: &TenantId) -> bool {
        match self {
            Self::One(one) => one == tenant,
            Self::ByClaim(tenants) => tenants.values().any(|listed| listed == tenant),
        }
    }
}

impl From<TenantId> for TenantsConfig {
    fn from(tenant: TenantId) -> Self {
        Self::One(tenant)
    }
}

impl<'de> Deserialize<'de> for TenantsConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Tenants;

        impl<'de> Visitor<'de> for Tenants {
            type Value = TenantsConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tenant, or a table of tenants by the text of a claim")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TenantsConfig, E> {
                TenantId::deserialize(StrDeserializer::new(text)).map(TenantsConfig::One)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TenantsConfig, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(TenantsConfig::ByClaim)
            }
        }

        from.deserialize_any(Tenants)
    }
}
