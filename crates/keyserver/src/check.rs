//! What is wrong with a configuration, or what it becomes.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

use portunus_auth_core::{ConfigProblem, Pattern};

use crate::config::{
    Config, DenyEffect, GrantConfig, IssuerConfig, KeyServerConfig, MatchConfig, OneOrMany, PolicyConfig, Ttl,
};
use crate::fetch::issuer_url;
use crate::issuer::{Audiences, Issuer};
use crate::jwks::Source;
use crate::policy::{Condition, Effect, Policies, Rule, Terms, domain};

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
        let mut rules = Vec::new();
        let mut names = HashSet::new();
        for (place, policy) in self.policies.iter().enumerate() {
            let is_new = names.insert(policy.name.as_str());
            let built = policy.build(&self.issuers, is_new);
            gather(&format!("policies.{place}"), built, &mut rules, &mut problems);
        }
        if problems.is_empty() {
            Ok(Checked { issuers, policies: Policies { rules } })
        } else {
            Err(problems)
        }
    }
}

fn gather<T>(
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

impl PolicyConfig {
    fn build(&self, issuers: &[IssuerConfig], name_is_new: bool) -> Result<Rule, Vec<ConfigProblem>> {
        let mut problems = Vec::new();
        if !is_name(&self.name) {
            let says = "a name of 1 to 64 characters out of a-z, A-Z, 0-9, `.`, `_` and `-` is needed";
            problems.push(ConfigProblem::new("name", says));
        }
        if !name_is_new {
            problems.push(ConfigProblem::new("name", "another policy has this name"));
        }
        if !issuers.iter().any(|issuer| issuer.name == self.matches.issuer) {
            problems.push(ConfigProblem::new("match.issuer", "no entry of `[[issuers]]` has this name"));
        }
        let conditions = self.matches.conditions(&mut problems);
        let effect = match (self.effect, &self.grant) {
            (Some(DenyEffect::Deny), None) => Some(Effect::Deny),
            (None, Some(grant)) => Some(Effect::Grant(grant.terms(self.reusable_subject_token))),
            (Some(DenyEffect::Deny), Some(_)) => {
                problems.push(ConfigProblem::new("grant", "a policy that denies grants nothing"));
                None
            }
            (None, None) => {
                problems.push(ConfigProblem::new("grant", "say what is granted, or `effect = \"deny\"`"));
                None
            }
        };
        if let Some(Effect::Grant(terms)) = &effect
            && terms.is_nothing()
        {
            let says =
                "this grants nothing; a list left out admits nothing, and everything is written \"all\"";
            problems.push(ConfigProblem::new("grant", says));
        }
        match effect {
            Some(effect) if problems.is_empty() => Ok(Rule {
                name: self.name.as_str().into(),
                issuer: self.matches.issuer.as_str().into(),
                conditions,
                effect,
            }),
            _ => Err(problems),
        }
    }
}

impl GrantConfig {
    fn terms(&self, reusable_subject_token: bool) -> Terms {
        Terms {
            models: self.models.clone(),
            tools: self.tools.clone(),
            upstreams: self.upstreams.clone(),
            roles: self.roles.clone(),
            tier: self.tier.clone(),
            ttl: self.ttl.0,
            reusable_subject_token,
        }
    }
}

impl MatchConfig {
    fn conditions(&self, problems: &mut Vec<ConfigProblem>) -> Vec<Condition> {
        let mut found = |at: &str, says: &str| problems.push(ConfigProblem::new(at, says).below("match"));
        let mut patterns = |at: &str, OneOrMany(patterns): &OneOrMany<Pattern>| {
            let means_all = |pattern: &Pattern| pattern.as_str().bytes().all(|byte| byte == b'*');
            if patterns.is_empty() {
                found(at, "an empty list is like nothing; leave it out, or name something");
            } else if patterns.iter().any(means_all) {
                found(at, "a pattern that is like everything distinguishes nobody");
            }
            patterns.clone()
        };
        let mut conditions = Vec::new();
        if let Some(subjects) = &self.subject {
            conditions.push(Condition::Subject(patterns("subject", subjects)));
        }
        if let Some(groups) = &self.groups {
            conditions.push(Condition::Groups(patterns("groups", groups)));
        }
        for (pointer, values) in self.claims.iter().flatten() {
            conditions
                .push(Condition::Claim(pointer.clone(), patterns(&format!("claims.{pointer}"), values)));
        }
        for pointer in self.claims.iter().flat_map(BTreeMap::keys) {
            if pointer.len() < 2 || !pointer.starts_with('/') {
                found("claims", "a claim is named by a JSON pointer, such as `/repository_id`");
            }
        }
        if let Some(OneOrMany(domains)) = &self.email_domain {
            let normal: Option<Vec<String>> = domains.iter().map(|name| domain(name)).collect();
            match normal {
                Some(normal) if !normal.is_empty() => conditions.push(Condition::EmailDomain(normal)),
                _ => found("email_domain", "domain names such as `example.com` are needed here"),
            }
        }
        if conditions.is_empty() {
            found("", "say whom this is about: `subject`, `groups`, `claims` or `email_domain`");
        }
        conditions
    }
}

/// A name that is safe to show and to write.
fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=64).contains(&name.len()) && name.chars().all(good)
}
