//! Who gets what: pure, and closed unless a rule opens it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_auth_core::{Allow, Grant, Pattern, TierName};
use serde_json::Value;
use url::Host;

use crate::identity::Identity;

/// All rules, in their order.
#[derive(Debug)]
pub(crate) struct Policies {
    pub(crate) rules: Vec<Rule>,
}

/// One rule: for whom, and what then.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    /// The issuer's name in the configuration. A rule without one cannot be written.
    pub(crate) issuer: Arc<str>,
    /// Each must hold. At least one, which the configuration sees to.
    pub(crate) conditions: Vec<Condition>,
    pub(crate) effect: Effect,
}

/// Something that a rule asks of an identity.
#[derive(Debug)]
pub(crate) enum Condition {
    /// The subject is like one of these.
    Subject(Vec<Pattern>),
    /// One of the groups is like one of these.
    Groups(Vec<Pattern>),
    /// The claim at this JSON pointer, or one item of the list there, is like one of these.
    Claim(String, Vec<Pattern>),
    /// The verified e-mail address is in one of these domains.
    EmailDomain(Vec<String>),
}

/// What a rule does to those it is about.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Refuses them, whatever other rules say.
    Deny,
    /// Grants them this.
    Grant(Terms),
}

/// What a rule grants.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) models: Allow<Pattern>,
    pub(crate) tools: Allow<Pattern>,
    pub(crate) upstreams: Allow<Pattern>,
    pub(crate) roles: Allow<Pattern>,
    pub(crate) tier: TierName,
    pub(crate) ttl: Duration,
    pub(crate) reusable_subject_token: bool,
}

/// What was decided.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) policy: Arc<str>,
    pub(crate) grant: Grant,
    /// The subject token may be exchanged again.
    pub(crate) reusable: bool,
}

/// Whether a condition holds. What cannot be told grants nothing and refuses everything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    CannotTell,
}

impl Policies {
    /// What the identity gets for at most `longest`: nothing if any rule denies it, else what the first
    /// rule that is about it grants.
    ///
    /// A caller who names a rule gets what that rule and the first one both grant: rules come in an order
    /// so that an early one can hold somebody down, and naming a later one is no way around it.
    pub(crate) fn decide(
        &self,
        identity: &Identity,
        named: Option<&str>,
        longest: Duration,
        now: SystemTime,
    ) -> Option<Decision> {
        let denies =
            |rule: &Rule| matches!(rule.effect, Effect::Deny) && rule.is_about(identity) != Holds::No;
        if self.rules.iter().any(denies) {
            return None;
        }
        let mut admitting = self.rules.iter().filter_map(|rule| match &rule.effect {
            Effect::Grant(terms) if rule.is_about(identity) == Holds::Yes => Some((&rule.name, terms)),
            _ => None,
        });
        let (first_name, first) = admitting.next()?;
        let (name, terms) = match named {
            Some(named) if named != &**first_name => {
                let (name, terms) = admitting.find(|(name, _)| named == &***name)?;
                (name, first.both(terms)?)
            }
            _ => (first_name, first.clone()),
        };
        Some(Decision {
            policy: name.clone(),
            reusable: terms.reusable_subject_token,
            grant: terms.grant(longest, now)?,
        })
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

    pub(crate) fn is_nothing(&self) -> bool {
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
    fn is_about(&self, identity: &Identity) -> Holds {
        if identity.id().issuer != self.issuer {
            return Holds::No;
        }
        let all = self.conditions.iter().map(|condition| condition.holds(identity));
        all.fold(Holds::Yes, |so_far, this| match (so_far, this) {
            (Holds::No, _) | (_, Holds::No) => Holds::No,
            (Holds::CannotTell, _) | (_, Holds::CannotTell) => Holds::CannotTell,
            (Holds::Yes, Holds::Yes) => Holds::Yes,
        })
    }
}

impl Condition {
    fn holds(&self, identity: &Identity) -> Holds {
        let claims = identity.claims();
        match self {
            Self::Subject(patterns) => Holds::when(any(patterns, &identity.id().subject)),
            Self::Groups(patterns) => match claims.get("groups") {
                Some(Value::Array(groups)) => match groups.iter().map(Value::as_str).collect() {
                    Some(groups) => {
                        let groups: Vec<&str> = groups;
                        Holds::when(groups.iter().any(|group| any(patterns, group)))
                    }
                    None => Holds::CannotTell,
                },
                Some(_) => Holds::CannotTell,
                // The issuer left the groups out because there are too many of them.
                None if claims.contains_key("_claim_names") || claims.contains_key("hasgroups") => {
                    Holds::CannotTell
                }
                None => Holds::No,
            },
            Self::Claim(pointer, patterns) => match at(claims, pointer) {
                Some(Value::Array(items)) => Holds::when(items.iter().any(|item| is_like(item, patterns))),
                Some(one) => Holds::when(is_like(one, patterns)),
                None => Holds::No,
            },
            Self::EmailDomain(domains) => match claims.get("email") {
                None => Holds::No,
                Some(email) => match (claims.get("email_verified"), email.as_str().and_then(email_domain)) {
                    (Some(Value::Bool(true)), Some(domain)) => Holds::when(domains.contains(&domain)),
                    _ => Holds::CannotTell,
                },
            },
        }
    }
}

impl Holds {
    fn when(it_is: bool) -> Self {
        if it_is { Self::Yes } else { Self::No }
    }
}

fn any(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(text))
}

/// RFC 6901, from the claims downwards.
fn at<'c>(claims: &'c serde_json::Map<String, Value>, pointer: &str) -> Option<&'c Value> {
    let path = pointer.strip_prefix('/')?;
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
    match rest {
        None => Some(value),
        Some(rest) => value.pointer(&format!("/{rest}")),
    }
}

/// Texts, whole numbers and booleans are compared as they are written; nothing else is.
fn is_like(value: &Value, patterns: &[Pattern]) -> bool {
    match value {
        Value::String(text) => any(patterns, text),
        Value::Number(number) if number.is_u64() || number.is_i64() => any(patterns, &number.to_string()),
        Value::Bool(flag) => any(patterns, if *flag { "true" } else { "false" }),
        _ => false,
    }
}

/// The domain of an address that has exactly one `@` and nothing quoted, in its ASCII form.
fn email_domain(email: &str) -> Option<String> {
    let (local, name) = email.split_once('@')?;
    let odd =
        |c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '@' | '\\' | ',' | '<' | '>');
    if local.is_empty() || email.len() > 254 || local.contains(odd) || name.contains(odd) {
        return None;
    }
    domain(name)
}

/// A domain name in its ASCII form (A-labels, lower case), without a dot at its end.
pub(crate) fn domain(name: &str) -> Option<String> {
    if name.contains('%') || name.ends_with('.') {
        return None;
    }
    match Host::parse(name) {
        Ok(Host::Domain(domain)) => Some(domain),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
