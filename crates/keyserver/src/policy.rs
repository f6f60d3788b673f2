//! Who gets what: pure, and closed unless a rule opens it.

mod build;
mod condition;
mod email;
mod evidence;
mod explain;
mod fixtures;
mod pointer;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_auth_core::{Allow, Grant, Pattern, TierName};
use serde::Serialize;

pub use condition::{Finding, Holds};
pub use explain::{
    Considered, Effect as PolicyEffect, Explanation, Looked, Offer, Question, Ruling, Unanswerable,
};
pub use fixtures::{Case, CaseResult, Difference, Expected, ExpectedGrant, Fixtures, Got};

pub(crate) use condition::Asked;
pub(crate) use email::address;
pub(crate) use evidence::{Evidence, VerifiedAddress};
pub(crate) use pointer::Pointer;

use condition::Condition;

use crate::naming::Naming;

/// All policies, in their order, for the issuers that they name.
#[derive(Debug)]
pub struct Policies {
    /// The issuers that policies may name.
    issuers: Vec<Naming>,
    rules: Vec<Rule>,
    /// The longest that any key may live.
    longest: Duration,
    /// A name for these rules, which others of the same content have too.
    version: Arc<str>,
}

/// One rule: for whom, and what then.
#[derive(Debug, Serialize)]
struct Rule {
    name: Arc<str>,
    /// The issuer's name in the configuration. A rule without one cannot be written.
    issuer: Arc<str>,
    /// Each must hold. At least one, which the configuration sees to.
    conditions: Vec<Condition>,
    effect: Effect,
}

/// What a rule does to those it is about.
#[derive(Debug, Serialize)]
enum Effect {
    /// Refuses them, whatever other rules say.
    Deny,
    /// Grants them this.
    Grant(Terms),
}

/// What a rule grants.
#[derive(Clone, Debug, Serialize)]
struct Terms {
    models: Allow<Pattern>,
    tools: Allow<Pattern>,
    upstreams: Allow<Pattern>,
    roles: Allow<Pattern>,
    tier: TierName,
    ttl: Duration,
    reusable_subject_token: bool,
}

/// What was decided.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) policy: Arc<str>,
    pub(crate) grant: Grant,
    /// The subject token may be exchanged again.
    pub(crate) reusable: bool,
}

/// What comes of all rules together.
enum Verdict<'p> {
    /// This rule refuses them.
    Denied(&'p Rule),
    /// No rule that grants is about them.
    Nobody,
    /// The rule that the caller named is not about them.
    NotNamed,
    /// What is left of this rule after those that hold it down is nothing.
    Nothing(&'p Rule),
    /// This rule grants them this.
    Granted(&'p Rule, Terms),
}

impl Policies {
    /// What the identity gets for at most `longest`: nothing if any rule denies it, else what the first
    /// rule that is about it grants.
    pub(crate) fn decide(
        &self,
        asked: &Asked<'_>,
        named: Option<&str>,
        longest: Option<Duration>,
        now: SystemTime,
    ) -> Option<Decision> {
        let Verdict::Granted(rule, terms) = self.verdict(asked, named) else { return None };
        let longest = longest.map_or(self.longest, |longest| longest.min(self.longest));
        Some(Decision {
            policy: rule.name.clone(),
            reusable: terms.reusable_subject_token,
            grant: terms.grant(longest, now)?,
        })
    }

    /// Rules come in an order so that an early one can hold somebody down. So a caller who names a later
    /// one gets what that one and the first one both grant; and a rule of which it cannot be told whether
    /// it comes first takes part in the same way, or whoever hides a claim would escape it.
    fn verdict(&self, asked: &Asked<'_>, named: Option<&str>) -> Verdict<'_> {
        let denies = |rule: &&Rule| matches!(rule.effect, Effect::Deny) && rule.is_about(asked) != Holds::No;
        if let Some(rule) = self.rules.iter().find(denies) {
            return Verdict::Denied(rule);
        }
        let mut decisive: Option<&Rule> = None;
        // `None`: no rule took part yet. `Some(None)`: nothing is left.
        let mut left: Option<Option<Terms>> = None;
        for rule in &self.rules {
            let Effect::Grant(terms) = &rule.effect else { continue };
            let takes_part = match (rule.is_about(asked), decisive) {
                (Holds::Yes | Holds::CannotTell, None) => true,
                (Holds::Yes, Some(first)) => named == Some(&*rule.name) && rule.name != first.name,
                (Holds::No, _) | (Holds::CannotTell, Some(_)) => false,
            };
            if !takes_part {
                continue;
            }
            left = Some(match left {
                None => Some(terms.clone()),
                Some(before) => before.and_then(|before| before.both(terms)),
            });
            if rule.is_about(asked) == Holds::Yes {
                decisive = Some(rule);
            }
        }
        match (decisive, left.flatten()) {
            (None, _) => Verdict::Nobody,
            (Some(rule), _) if named.is_some_and(|named| named != &*rule.name) => Verdict::NotNamed,
            (Some(rule), None) => Verdict::Nothing(rule),
            (Some(rule), Some(terms)) => Verdict::Granted(rule, terms),
        }
    }
}

impl Terms {
    /// What both grant, if that is anything.
    fn both(&self, other: &Self) -> Option<Self> {
        let both = Self {
            models: self.models.narrow(&other.models),
            tools: self.tools.narrow(&other.tools),
            upstreams: self.upstreams.narrow(&other.upstreams),
            roles: self.roles.narrow(&other.roles),
            tier: self.tier.clone(),
            ttl: self.ttl.min(other.ttl),
            reusable_subject_token: self.reusable_subject_token && other.reusable_subject_token,
        };
        (self.tier == other.tier && !both.is_nothing()).then_some(both)
    }

    fn is_nothing(&self) -> bool {
        self.upstreams.is_nothing()
            || (self.models.is_nothing() && self.tools.is_nothing() && self.roles.is_nothing())
    }

    /// Whole seconds, so that what is stored, announced and said to the caller is the same instant.
    fn grant(self, longest: Duration, now: SystemTime) -> Option<Grant> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        let lifetime = self.ttl.min(longest).as_secs();
        let expires_at =
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.checked_add(lifetime)?))?;
        let Self { models, tools, upstreams, roles, tier, .. } = self;
        Some(Grant { models, tools, upstreams, roles, tier, expires_at, confirmation: None })
    }
}

impl Rule {
    fn is_about(&self, asked: &Asked<'_>) -> Holds {
        if asked.id.issuer != self.issuer {
            return Holds::No;
        }
        self.conditions.iter().fold(Holds::Yes, |so_far, condition| so_far.and(condition.holds(asked)))
    }
}

#[cfg(test)]
mod tests;
