//! What is wrong with a configuration, or what it becomes.

use std::fmt;
use std::time::Duration;

use portunus_auth_core::ConfigProblem;

use crate::config::{Config, IssuerConfig, KeyServerConfig, OneOrMany, Ttl};
use crate::fetch::issuer_url;
use crate::issuer::{Audiences, Issuer};
use crate::jwks::Source;
use crate::policy::{Policies, is_pointer};

/// The most live keys that an owner can be allowed; an owner's index is read and written as a whole.
const MAX_KEYS_PER_IDENTITY: usize = 10_000;

/// What a sound configuration becomes.
pub(crate) struct Checked {
    pub(crate) issuers: Vec<(Issuer, Source)>,
    pub(crate) policies: Policies,
}

impl Config {
    /// Everything that is wrong with it, or what it becomes.
    pub(crate) fn check(&self) -> Result<Checked, Vec<ConfigProblem>> {
        let mut problems = Vec::new();
        self.key_server.check(&mut problems);
        let mut issuers = Vec::new();
        for (place, issuer) in self.issuers.iter().enumerate() {
            let earlier = &self.issuers[..place];
            let built = issuer.build(&self.key_server.audience, earlier);
            gather(&format!("issuers.{place}"), built, &mut issuers, &mut problems);
        }
        let longest = self.key_server.token_ttl.get();
        let policies = Policies::build(&self.issuers, &self.policies, longest);
        match policies {
            Ok(policies) if problems.is_empty() => Ok(Checked { issuers, policies }),
            Ok(_) => Err(problems),
            Err(found) => Err([problems, found].concat()),
        }
    }
}

pub(crate) fn gather<T>(
    at: &str,
    built: Result<T, Vec<ConfigProblem>>,
    all: &mut Vec<T>,
    problems: &mut Vec<ConfigProblem>,
) {
    match built {
        Ok(one) => all.push(one),
        Err(found) => problems.extend(found.into_iter().map(|problem| problem.below(at))),
    }
}

impl KeyServerConfig {
    fn check(&self, problems: &mut Vec<ConfigProblem>) {
        let mut found = |at: &str, says: &str| {
            problems.push(ConfigProblem::new(at, says).below("key_server"));
        };
        if !self.enabled {
            found("enabled", "this key server is switched off and cannot be started");
        }
        if self.audience.is_empty() || self.audience.contains(char::is_whitespace) {
            found("audience", "name the audience that identity tokens are made for, without white space");
        }
        if self.max_keys_per_identity.get() > MAX_KEYS_PER_IDENTITY {
            found("max_keys_per_identity", "at most 10000 keys are possible");
        }
    }
}

impl IssuerConfig {
    fn build(&self, our_audience: &str, earlier: &[Self]) -> Result<(Issuer, Source), Vec<ConfigProblem>> {
        let mut problems = Vec::new();
        let mut found = |at: &str, says: &dyn fmt::Display| problems.push(ConfigProblem::new(at, says));
        if !is_name(&self.name) || self.name == "static" {
            found(
                "name",
                &"a name of 1 to 64 characters out of a-z, A-Z, 0-9, `.`, `_` and `-` is needed, and `static` is taken",
            );
        }
        if earlier.iter().any(|other| other.name == self.name) {
            found("name", &"another issuer has this name");
        }
        if earlier.iter().any(|other| other.issuer == self.issuer) {
            found("issuer", &"another entry is about this issuer; which of them is meant could not be told");
        }
        if let Err(bad) = issuer_url(&self.issuer) {
            found("issuer", &bad);
        }
        let jwks_uri = self.jwks_uri.as_deref().map(issuer_url).transpose();
        if let Err(bad) = &jwks_uri {
            found("jwks_uri", bad);
        }
        let audiences = match &self.audience {
            Some(OneOrMany(audiences)) => Audiences::new(audiences),
            None => Audiences::new([our_audience]),
        };
        if let Err(none) = &audiences {
            found("audience", none);
        }
        if self.algorithms.as_ref().is_some_and(Vec::is_empty) {
            found(
                "algorithms",
                &"without an algorithm no token can be verified; leave the list out for the usual ones",
            );
        }
        for (at, pointer) in [("groups_claim", &self.groups_claim), ("roles_claim", &self.roles_claim)] {
            if pointer.as_ref().is_some_and(|text| !is_pointer(text)) {
                found(at, &"a claim is named by a JSON pointer, such as `/realm_access/roles`");
            }
        }
        if self.leeway.is_some_and(|leeway| leeway.0 > Duration::from_secs(300)) {
            found("leeway", &"at most 5 minutes");
        }
        let (Ok(jwks_uri), Ok(audiences), true) = (jwks_uri, audiences, problems.is_empty()) else {
            return Err(problems);
        };
        let mut issuer = Issuer::new(&self.name, &self.issuer, self.tenant.clone(), audiences);
        issuer
            .authorized_parties
            .extend(self.authorized_parties.iter().flat_map(|parties| parties.0.clone()));
        issuer.algorithms = self.algorithms.clone().unwrap_or(issuer.algorithms);
        issuer.leeway = self.leeway.map_or(issuer.leeway, Ttl::get);
        issuer.max_token_age = self.max_token_age.map_or(issuer.max_token_age, Ttl::get);
        let source = Source { name: issuer.name.clone(), url: self.issuer.clone(), jwks_uri };
        Ok((issuer, source))
    }
}

/// A name that is safe to show and to write.
pub(crate) fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=64).contains(&name.len()) && name.chars().all(good)
}
