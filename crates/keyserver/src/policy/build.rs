//! What is wrong with configured policies, or what they become.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use portunus_auth_core::{ConfigProblem, Pattern, TenantId};

use super::condition::{About, Condition, ListAt, Wanted};
use super::email::{address, domain};
use super::pointer::Pointer;
use super::{Effect, Policies, Rule, Terms};
use crate::check::{gather, is_name};
use crate::config::{Config, DenyEffect, GrantConfig, IssuerConfig, MatchConfig, OneOrMany, PolicyConfig};
use crate::jose::sha256;
use crate::key::KeyDigest;
use crate::naming::Naming;
use crate::preset::{EmailTrust, ListForm, Preset};

/// Claims that distinguish nobody, or one token from another.
const NOBODY: [&str; 5] = ["iss", "exp", "iat", "nbf", "jti"];

impl Policies {
    /// The policies of this configuration, to ask without a server. Refers to no secret and opens nothing.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, secrets apart.
    pub fn new(config: &Config) -> Result<Self, Vec<ConfigProblem>> {
        config.check().map(|checked| checked.policies)
    }

    /// From policies about these issuers. No key lives longer than `longest`.
    pub(crate) fn build(
        (issuers, namings): (&[IssuerConfig], Vec<Naming>),
        policies: &[PolicyConfig],
        longest: Duration,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let (mut rules, mut problems, mut names) = (Vec::new(), Vec::new(), HashSet::new());
        for (place, policy) in policies.iter().enumerate() {
            let is_new = names.insert(policy.name.as_str());
            let built = policy.build(issuers, is_new);
            gather(&format!("policies.{place}"), built, &mut rules, &mut problems);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let version = version(&namings, &rules, longest)?;
        Ok(Self { issuers: namings, rules, longest, version })
    }
}

/// Of the same rules about the same tenants it is the same, in every process.
fn version(namings: &[Naming], rules: &[Rule], longest: Duration) -> Result<Arc<str>, Vec<ConfigProblem>> {
    let tenants: Vec<_> = namings.iter().map(|naming| (&naming.name, naming.tenancy.tenants())).collect();
    let written = serde_json::to_vec(&(tenants, rules, longest));
    let written = written.map_err(|error| vec![ConfigProblem::new("policies", error)])?;
    Ok(KeyDigest(sha256(&written)).to_string().into())
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
        let issuer = issuers.iter().find(|issuer| issuer.name == self.matches.issuer);
        if issuer.is_none() {
            problems.push(ConfigProblem::new("match.issuer", "no entry of `[[issuers]]` has this name"));
        }
        let preset = issuer.map_or(Preset::Oidc, |issuer| issuer.preset);
        let mut conditions = Conditions { all: Vec::new(), problems: Vec::new(), preset };
        conditions.read(&self.matches, issuer);
        if self.effect.is_none() {
            conditions.anchor();
        }
        problems.extend(conditions.problems.into_iter().map(|problem| problem.below("match")));
        let effect = self.effect(&mut problems);
        match effect {
            Some(effect) if problems.is_empty() => Ok(Rule {
                name: self.name.as_str().into(),
                issuer: self.matches.issuer.as_str().into(),
                conditions: conditions.all,
                effect,
            }),
            _ => Err(problems),
        }
    }

    fn effect(&self, problems: &mut Vec<ConfigProblem>) -> Option<Effect> {
        let mut found = |at: &str, says: &str| problems.push(ConfigProblem::new(at, says));
        match (self.effect, &self.grant) {
            (Some(DenyEffect::Deny), None) => {
                if self.reusable_subject_token {
                    found("reusable_subject_token", "a policy that denies leaves nothing to exchange");
                }
                Some(Effect::Deny)
            }
            (None, Some(grant)) => {
                let terms = grant.terms(self.reusable_subject_token);
                if terms.upstreams.is_nothing() {
                    found("grant", "without an upstream nothing of this can be used; leave `upstreams` out");
                } else if terms.is_nothing() {
                    found(
                        "grant",
                        "this grants nothing; a list left out admits nothing, and everything is written \"all\"",
                    );
                }
                Some(Effect::Grant(terms))
            }
            (Some(DenyEffect::Deny), Some(_)) => {
                found("grant", "a policy that denies grants nothing");
                None
            }
            (None, None) => {
                found("grant", "say what is granted, or `effect = \"deny\"`");
                None
            }
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
            ttl: self.ttl.get(),
            reusable_subject_token,
        }
    }
}

/// The conditions of one policy, as they are read, and what is wrong with them.
struct Conditions {
    all: Vec<Condition>,
    problems: Vec<ConfigProblem>,
    preset: Preset,
}

impl Conditions {
    fn read(&mut self, about: &MatchConfig, issuer: Option<&IssuerConfig>) {
        self.like(About::Subject, "subject", about.subject.as_ref());
        let profile = self.preset.profile();
        let pointer = issuer.and_then(|issuer| issuer.groups_claim.as_deref()).or(profile.groups);
        let (form, truncated_at) = (profile.groups_form, profile.truncated_at);
        let none_is_absent = profile.none_is_absent || issuer.is_some_and(|issuer| issuer.absent_means_none);
        let at = |pointer| About::Groups(ListAt { pointer, form, truncated_at, none_is_absent });
        self.list("groups", at, about.groups.as_ref(), pointer);
        let pointer = issuer.and_then(|issuer| issuer.roles_claim.as_deref()).or(profile.roles);
        let form = ListForm::List;
        let at = |pointer| About::Roles(ListAt { pointer, form, truncated_at: None, none_is_absent });
        self.list("roles", at, about.roles.as_ref(), pointer);
        self.claims(about);
        self.emails(about);
        if self.all.is_empty() && self.problems.is_empty() {
            let says =
                "say whom this is about: `subject`, `groups`, `roles`, `claims`, `email` or `email_domain`";
            self.found("", says);
        }
        self.tenants(about.tenant.as_ref(), issuer);
    }

    fn found(&mut self, at: &str, says: &str) {
        self.problems.push(ConfigProblem::new(at, says));
    }

    fn like(&mut self, about: About, at: &str, patterns: Option<&OneOrMany<Pattern>>) {
        let Some(OneOrMany(patterns)) = patterns else { return };
        let means_all = |pattern: &Pattern| pattern.as_str().bytes().all(|byte| byte == b'*');
        if patterns.is_empty() {
            self.found(at, "an empty list is like nothing; leave it out, or name something");
        } else if patterns.iter().any(means_all) {
            self.found(at, "a pattern that is like everything distinguishes nobody");
        }
        self.all.push(Condition { about, wanted: Wanted::Like(patterns.clone()) });
    }

    /// A list of texts, where the issuer's configuration or preset says.
    fn list(
        &mut self,
        name: &str,
        about: impl Fn(Pointer) -> About,
        patterns: Option<&OneOrMany<Pattern>>,
        pointer: Option<&str>,
    ) {
        match pointer {
            // What is wrong with the issuer's pointer is reported there.
            Some(text) => {
                if let Some(pointer) = Pointer::new(text) {
                    self.like(about(pointer), name, patterns);
                }
            }
            None if patterns.is_some() => {
                let says =
                    format!("this provider's tokens have none unless the issuer's `{name}_claim` says where");
                self.found(name, &says);
            }
            None => {}
        }
    }

    /// Where names can change hands, whoever gets the name must not get the grant.
    fn anchor(&mut self) {
        let profile = self.preset.profile();
        let anchors = profile.anchors;
        let is_id = |pattern: &Pattern| pattern.as_str().bytes().all(|byte| byte.is_ascii_digit());
        let is_by_name = |condition: &Condition| match (&condition.about, &condition.wanted) {
            (About::Subject, Wanted::Like(patterns)) => !patterns.iter().all(is_id),
            (About::Claim(pointer), _) => profile.names.iter().any(|name| pointer.to_string() == *name),
            _ => false,
        };
        let is_meant = profile.names.is_empty() || self.all.iter().any(is_by_name);
        let is_anchor = |condition: &Condition| match (&condition.about, &condition.wanted) {
            (About::Claim(pointer), Wanted::Like(patterns)) => {
                // Ids that begin alike have nothing else in common.
                anchors.iter().any(|anchor| pointer.to_string() == *anchor)
                    && patterns.iter().all(|pattern| !pattern.as_str().contains('*'))
            }
            _ => false,
        };
        if !anchors.is_empty() && is_meant && !self.all.iter().any(is_anchor) {
            let says =
                format!("names can be taken over by others: ask for one of {} as well", anchors.join(", "));
            self.found("claims", &says);
        }
    }

    fn claims(&mut self, about: &MatchConfig) {
        if about.claims.as_ref().is_some_and(|claims| claims.is_empty()) {
            self.found("claims", "without a claim this asks nothing; leave it out, or name one");
        }
        for (text, patterns) in about.claims.iter().flatten() {
            let Some(pointer) = Pointer::new(text) else {
                self.found("claims", "a claim is named by a JSON pointer, such as `/repository_id`");
                continue;
            };
            let (at, claim) = (format!("claims.{text}"), pointer.claim());
            if self.preset.profile().dropped.contains(&text.as_str()) {
                self.found(&at, "this provider drops a claim of this name; use a namespaced one");
            }
            if self.preset.profile().unfit.contains(&text.as_str()) {
                self.found(&at, "of this provider's users this claim proves nothing");
            }
            if pointer.is_whole_claim() && claim == "email" {
                self.found(
                    &at,
                    "whoever controls a mailbox can be asked for by `email` and `email_domain` only",
                );
            } else if pointer.is_whole_claim() && NOBODY.contains(&claim.as_str()) {
                self.found(&at, "this claim does not distinguish one user from another");
            }
            self.like(About::Claim(pointer), &at, Some(patterns));
        }
    }

    fn emails(&mut self, about: &MatchConfig) {
        let trust = self.preset.profile().email;
        if trust == EmailTrust::Never && (about.email.is_some() || about.email_domain.is_some()) {
            self.found(
                "email",
                "this provider does not verify addresses: its users cannot be told apart by them",
            );
        }
        if let Some(OneOrMany(emails)) = &about.email {
            let normal: Option<Vec<String>> = emails.iter().map(|email| Some(address(email)?.text)).collect();
            match normal {
                Some(normal) if !normal.is_empty() => {
                    let wanted = if about.email_ignore_case {
                        Wanted::OneInAnyCase(normal)
                    } else {
                        Wanted::One(normal)
                    };
                    self.all.push(Condition { about: About::Email(trust), wanted });
                }
                _ => self.found("email", "addresses such as `alice@example.com` are needed here"),
            }
        } else if about.email_ignore_case {
            self.found("email_ignore_case", "there is no `email` whose case could be ignored");
        }
        if let Some(OneOrMany(domains)) = &about.email_domain {
            let normal: Option<Vec<String>> = domains.iter().map(|name| domain(name)).collect();
            match normal {
                Some(normal) if !normal.is_empty() => {
                    self.all
                        .push(Condition { about: About::EmailDomain(trust), wanted: Wanted::One(normal) });
                }
                _ => self.found("email_domain", "domain names such as `example.com` are needed here"),
            }
        }
    }

    /// Beside the issuer it distinguishes nobody, so it does not count as a condition by itself.
    fn tenants(&mut self, tenants: Option<&OneOrMany<TenantId>>, issuer: Option<&IssuerConfig>) {
        let Some(OneOrMany(tenants)) = tenants else { return };
        if issuer.is_some_and(|issuer| !tenants.iter().any(|tenant| issuer.tenant.has(tenant))) {
            self.found(
                "tenant",
                "the users of this issuer belong to another tenant, so this is about nobody",
            );
        }
        let wanted = Wanted::One(tenants.iter().map(|tenant| tenant.as_str().to_owned()).collect());
        self.all.push(Condition { about: About::Tenant, wanted });
    }
}
