//! What is wrong with one of `[[issuers]]`, or what it becomes.

use std::fmt;
use std::time::Duration;

use portunus_auth_core::ConfigProblem;
use url::Url;

use super::is_name;
use crate::config::{IssuerConfig, OneOrMany, Ttl};
use crate::fetch::issuer_url;
use crate::issuer::{Audiences, Issuer};
use crate::jwks::Source;
use crate::naming::{Naming, Tenancy, is_trust_domain};
use crate::policy::Pointer;
use crate::preset::{Names, Preset, SPIFFE_SCHEME};
use crate::reach::Reach;
use crate::tenants::TenantsConfig;

/// What is found wrong, by place.
struct Found(Vec<ConfigProblem>);

impl Found {
    fn add(&mut self, at: &str, says: impl fmt::Display) {
        self.0.push(ConfigProblem::new(at, says));
    }

    /// The value, or `None` and what is wrong with it.
    fn or_add<T, E: fmt::Display>(&mut self, at: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|says| self.add(at, says)).ok()
    }
}

impl IssuerConfig {
    pub(super) fn build(
        &self,
        our_audience: &str,
        earlier: &[Self],
    ) -> Result<(Issuer, Source), Vec<ConfigProblem>> {
        let mut found = Found(Vec::new());
        self.check_name(earlier, &mut found);
        self.check_the_rest(&mut found);
        let names = self.names(earlier, &mut found);
        let jwks_uri = self.keys_at(names.as_ref(), &mut found);
        let tenancy = self.tenancy(&mut found);
        let audiences = match &self.audience {
            Some(OneOrMany(audiences)) => Audiences::new(audiences),
            None => Audiences::new([our_audience]),
        };
        let audiences = found.or_add("audience", audiences);
        let (Some(names), Some(tenancy), Some(audiences), true) =
            (names, tenancy, audiences, found.0.is_empty())
        else {
            return Err(found.0);
        };
        let profile = self.preset.profile();
        let naming = Naming {
            name: self.name.as_str().into(),
            names: names.all,
            tenancy,
            subject: profile.subject,
            trust_domain: self.trust_domain().map(str::to_owned),
            party_claims: profile.party_claims,
            required: profile.required.iter().filter_map(|text| Pointer::new(text)).collect(),
        };
        let mut issuer = Issuer::named(naming, audiences);
        let several =
            |texts: &Option<OneOrMany<String>>| texts.clone().map_or_else(Vec::new, |texts| texts.0);
        issuer.authorized_parties = several(&self.authorized_parties);
        issuer.other_audiences = several(&self.other_audiences);
        issuer.algorithms = self.algorithms.clone().unwrap_or_else(|| profile.algorithms.to_vec());
        issuer.leeway = self.leeway.map_or(issuer.leeway, Ttl::get);
        issuer.max_token_age = self.max_token_age.map_or(profile.max_token_age, Ttl::get);
        let source = Source {
            name: issuer.name().clone(),
            url: self.issuer.clone(),
            jwks_uri,
            allow_private: self.allow_private_addresses,
            is_spiffe: self.preset == Preset::Spiffe,
        };
        Ok((issuer, source))
    }

    fn check_name(&self, earlier: &[Self], found: &mut Found) {
        if !is_name(&self.name) || self.name == "static" {
            found.add(
                "name",
                "a name of 1 to 64 characters out of a-z, A-Z, 0-9, `.`, `_` and `-` is needed, and `static` is taken",
            );
        }
        if earlier.iter().any(|other| other.name == self.name) {
            found.add("name", "another issuer has this name");
        }
    }

    fn names(&self, earlier: &[Self], found: &mut Found) -> Option<Names> {
        if !(self.preset == Preset::Spiffe && self.issuer.starts_with(SPIFFE_SCHEME)) {
            self.address("issuer", &self.issuer, found);
        }
        let names = self.preset.names(&self.issuer, self.tenant.table());
        let names = found.or_add("issuer", names)?;
        let goes_by = |other: &Self| {
            let others = other.preset.names(&other.issuer, other.tenant.table());
            let others = others.map_or_else(|_| Vec::new(), |others| others.all);
            others.iter().any(|other| names.all.iter().any(|name| name.iss == other.iss))
        };
        if earlier.iter().any(goes_by) {
            found.add(
                "issuer",
                "another entry is about this issuer; which of them is meant could not be told",
            );
        }
        Some(names)
    }

    /// An address that documents can be fetched from.
    fn address(&self, at: &str, text: &str, found: &mut Found) -> Option<Url> {
        let url = found.or_add(at, issuer_url(text))?;
        if !Reach::of(&url, self.allow_private_addresses).admits_host(&url) {
            found.add(at, "this address is not asked; in a private network, set `allow_private_addresses`");
        }
        Some(url)
    }

    fn keys_at(&self, names: Option<&Names>, found: &mut Found) -> Option<Url> {
        let known = names.and_then(|names| names.jwks_uri.as_deref());
        let text = self.jwks_uri.as_deref().or(known);
        if text.is_none() && self.preset == Preset::Spiffe && self.issuer.starts_with(SPIFFE_SCHEME) {
            found.add("jwks_uri", "say where the trust domain's bundle is");
        }
        self.address("jwks_uri", text?, found)
    }

    fn trust_domain(&self) -> Option<&str> {
        let by_name = self.issuer.strip_prefix(SPIFFE_SCHEME).filter(|_| self.preset == Preset::Spiffe);
        by_name.or(self.trust_domain.as_deref())
    }

    fn tenancy(&self, found: &mut Found) -> Option<Tenancy> {
        let claim = self.tenant_claim.as_deref().or(self.preset.profile().tenant_claim);
        match (&self.tenant, claim) {
            (TenantsConfig::One(_), _) if self.tenant_claim.is_some() => {
                found.add("tenant_claim", "there is no table of tenants to look it up in");
                None
            }
            (TenantsConfig::One(tenant), _) => Some(Tenancy::One(tenant.clone())),
            (TenantsConfig::ByClaim(_), None) => {
                found.add("tenant_claim", "say by which claim the tenants are told apart");
                None
            }
            (TenantsConfig::ByClaim(tenants), Some(claim)) => {
                if tenants.is_empty() || tenants.keys().any(String::is_empty) {
                    found.add(
                        "tenant",
                        "a table without a tenant, or with one for an empty text, is a mistake",
                    );
                }
                let pointer =
                    Pointer::new(claim).ok_or("a claim is named by a JSON pointer, such as `/org_id`");
                Some(Tenancy::ByClaim(found.or_add("tenant_claim", pointer)?, tenants.clone()))
            }
        }
    }

    fn check_the_rest(&self, found: &mut Found) {
        if self.algorithms.as_ref().is_some_and(Vec::is_empty) {
            found.add(
                "algorithms",
                "without an algorithm no token can be verified; leave the list out for the usual ones",
            );
        }
        for (at, pointer) in [("groups_claim", &self.groups_claim), ("roles_claim", &self.roles_claim)] {
            let Some(text) = pointer else { continue };
            if Pointer::new(text).is_none() {
                found.add(at, "a claim is named by a JSON pointer, such as `/realm_access/roles`");
            }
            if self.preset.profile().dropped.contains(&text.as_str()) {
                found.add(at, "this provider drops a claim of this name; use a namespaced one");
            }
        }
        for (at, texts) in
            [("other_audiences", &self.other_audiences), ("authorized_parties", &self.authorized_parties)]
        {
            if texts.as_ref().is_some_and(|texts| texts.0.is_empty() || texts.0.iter().any(String::is_empty))
            {
                found.add(at, "an empty text, or none, is a mistake; leave it out");
            }
        }
        if self.leeway.is_some_and(|leeway| leeway.0 > Duration::from_secs(300)) {
            found.add("leeway", "at most 5 minutes");
        }
        let domain_is_said = self.trust_domain.is_some();
        let by_name = self.issuer.starts_with(SPIFFE_SCHEME);
        let says = match self.preset {
            Preset::Spiffe if by_name == domain_is_said => Some("say it once, here or as the issuer"),
            Preset::Spiffe if !by_name && !self.trust_domain.as_deref().is_some_and(is_trust_domain) => {
                Some("a trust domain has letters a-z, digits, dots, hyphens and underscores")
            }
            Preset::Spiffe => None,
            _ if domain_is_said => Some("only the preset `spiffe` has trust domains"),
            _ => None,
        };
        if let Some(says) = says {
            found.add("trust_domain", says);
        }
    }
}
