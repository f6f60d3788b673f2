//! The configuration, and what it becomes.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::time::Duration;

use portunus_auth_core::{Allow, ConfigProblem, Pattern, SecretRef, TenantId, TierName};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor, value};

use crate::fetch::issuer_url;
use crate::issuer::{Audiences, Issuer};
use crate::jose::Algorithm;
use crate::jwks::Source;
use crate::policy::{Condition, Effect, Policies, Rule, Terms, domain};

/// The most live keys that an owner can be allowed; an owner's index is read and written as a whole.
const MAX_KEYS_PER_IDENTITY: usize = 10_000;

/// The key server's part of a configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[key_server]`.
    pub key_server: KeyServerConfig,
    /// `[[issuers]]`.
    #[serde(default)]
    pub issuers: Vec<IssuerConfig>,
    /// `[[policies]]`.
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
}

/// `[key_server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyServerConfig {
    /// Whether there is a key server. An absent section also means that there is none.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The audience that identity tokens must be made for.
    pub audience: String,
    /// The longest that any key may live.
    #[serde(default = "one_hour")]
    pub token_ttl: Ttl,
    /// The most live keys of one identity.
    #[serde(default = "one_hundred")]
    pub max_keys_per_identity: NonZeroUsize,
    /// Who may revoke. Without it, nobody may over HTTP.
    pub admin: Option<AdminConfig>,
    /// The secret under which keys are digested, at least 32 characters. Without it, one is made once
    /// and kept in the store. All servers that share a store need the same one; with a new one, no
    /// earlier key works.
    pub pepper: Option<SecretRef>,
}

/// `key_server.admin`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// The administrator's token, at least 16 characters.
    pub bearer_token: SecretRef,
}

/// One of `[[issuers]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// What policies call it.
    pub name: String,
    /// Its `iss`, character by character; https, or http on the local machine.
    pub issuer: String,
    /// Whose users it knows.
    pub tenant: TenantId,
    /// What kind of issuer it is.
    #[serde(default)]
    pub preset: Preset,
    /// The audiences of its tokens, in place of `key_server.audience`.
    pub audience: Option<OneOrMany<String>>,
    /// Its clients (`azp`) whose tokens are accepted beside those made for us alone.
    pub authorized_parties: Option<OneOrMany<String>>,
    /// The algorithms that it may sign with.
    pub algorithms: Option<Vec<Algorithm>>,
    /// Where its keys are, in place of what its discovery document says.
    pub jwks_uri: Option<String>,
    /// The longest time between `iat` and `exp`; a day if left out.
    pub max_token_age: Option<Ttl>,
    /// How far its clock may be from ours; 30 seconds if left out, 5 minutes at most.
    pub leeway: Option<Ttl>,
}

/// A kind of issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Preset {
    /// Any issuer that follows OpenID Connect.
    #[default]
    Oidc,
}

/// One of `[[policies]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// What the audit, and callers who ask for it, call it.
    pub name: String,
    /// Whom it is about.
    #[serde(rename = "match")]
    pub matches: MatchConfig,
    /// `"deny"`, or left out for a policy that grants.
    pub effect: Option<DenyEffect>,
    /// What it grants.
    pub grant: Option<GrantConfig>,
    /// Whether one identity token may be exchanged again and again.
    #[serde(default)]
    pub reusable_subject_token: bool,
}

/// `policies.match`. All parts that are there must hold; at least one beside the issuer must be there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchConfig {
    /// The name of one of `[[issuers]]`.
    pub issuer: String,
    /// Patterns, one of which the subject is like.
    pub subject: Option<OneOrMany<Pattern>>,
    /// Patterns, one of which one of the groups is like.
    pub groups: Option<OneOrMany<Pattern>>,
    /// By JSON pointer: patterns, one of which the claim, or one item of a list there, is like.
    pub claims: Option<BTreeMap<String, OneOrMany<Pattern>>>,
    /// Domains, one of which the verified e-mail address is in.
    pub email_domain: Option<OneOrMany<String>>,
}

/// `policies.effect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenyEffect {
    /// Whoever the policy is about is refused, whatever other policies say.
    Deny,
}

/// `policies.grant`. A list left out admits nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantConfig {
    /// The models.
    #[serde(default = "Allow::none")]
    pub models: Allow<Pattern>,
    /// The tools.
    #[serde(default = "Allow::none")]
    pub tools: Allow<Pattern>,
    /// The roles.
    #[serde(default = "Allow::none")]
    pub roles: Allow<Pattern>,
    /// The tier of limits.
    pub tier: TierName,
    /// The longest that a key may live; `key_server.token_ttl` bounds it too.
    pub ttl: Ttl,
}

fn yes() -> bool {
    true
}

fn one_hour() -> Ttl {
    Ttl(Duration::from_secs(3600))
}

fn one_hundred() -> NonZeroUsize {
    const { NonZeroUsize::new(100).unwrap() }
}

/// A span of time, written as `"30s"`, `"15m"`, `"8h"` or `"1d"`: whole seconds, from one second to a
/// year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(pub(crate) Duration);

impl Ttl {
    /// The span.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let span = humantime::parse_duration(&text).map_err(de::Error::custom)?;
        let longest = Duration::from_secs(366 * 24 * 60 * 60);
        if span < Duration::from_secs(1) || span > longest || span.subsec_nanos() != 0 {
            return Err(de::Error::custom("a time of whole seconds from `1s` to `366d` is needed here"));
        }
        Ok(Self(span))
    }
}

/// One item, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany<T>, E> {
                Ok(OneOrMany(vec![T::deserialize(value::StrDeserializer::new(text))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(OneOrMany(all))
            }
        }

        from.deserialize_any(Items(PhantomData))
    }
}

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
        if let Some(algorithms) = &self.algorithms {
            issuer = issuer.algorithms(algorithms.iter().copied());
        }
        if let Some(OneOrMany(parties)) = &self.authorized_parties {
            issuer = issuer.authorized_parties(parties.iter().cloned());
        }
        if let Some(Ttl(age)) = self.max_token_age {
            issuer = issuer.max_token_age(age);
        }
        if let Some(Ttl(leeway)) = self.leeway {
            issuer = issuer.leeway(leeway);
        }
        let source = Source { name: issuer.name().clone(), url: self.issuer.clone(), jwks_uri };
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
