//! Which rule decides and why, and what kept the others from it.

use std::sync::Arc;

use portunus_auth_core::{Allow, BearerToken, Grant, Pattern, PrincipalId, TierName};
use serde::Serialize;
use serde_json::{Map, Value};

use super::condition::{Asked, Condition, Finding, Holds};
use super::{Policies, Rule, Terms, Verdict};
use crate::jose::{Refused, UnverifiedJwt};
use crate::{json, scope};

/// About whom an explanation is wanted. The claims are taken as given: nothing here verifies them.
#[derive(Clone)]
#[non_exhaustive]
pub struct Question {
    /// The claims, as in a token.
    pub claims: Map<String, Value>,
    /// The issuer's name in the configuration, in place of the claim `iss`.
    pub issuer: Option<String>,
    /// The policy that the caller names, if any.
    pub policy: Option<String>,
}

impl Question {
    /// About somebody with these claims, from the issuer that they name, who names no policy.
    pub fn new(claims: Map<String, Value>) -> Self {
        Self { claims, issuer: None, policy: None }
    }

    /// About somebody with the claims in this JSON object, read as strictly as a token's.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when it is no object, has a member twice, or nests too deeply.
    pub fn from_claims(text: &[u8]) -> Result<Self, Refused> {
        Ok(Self::new(json::object(text).ok_or(Refused::Malformed)?))
    }

    /// About whoever this token says it is about. Its signature, its times and its audience are **not**
    /// checked: it may be anybody's invention.
    ///
    /// # Errors
    /// [`Refused`] when it cannot be read.
    pub fn from_unverified(token: &BearerToken) -> Result<Self, Refused> {
        let jwt = UnverifiedJwt::read(token)?;
        Ok(Self::new(json::object(jwt.payload()).ok_or(Refused::Malformed)?))
    }
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { issuer, policy, claims: _ } = self;
        f.debug_struct("Question").field("issuer", issuer).field("policy", policy).finish_non_exhaustive()
    }
}

/// Why there is nobody to explain anything about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswerable {
    /// Neither the claims nor the question names an issuer that is configured.
    #[error("no configured issuer is named; give `iss` as it is configured")]
    UnknownIssuer,
    /// The claims are of another issuer than the question.
    #[error("`iss` is not the URL of the issuer that is named")]
    AnotherIssuer,
    /// The subject is missing, or is none that the issuer may give.
    #[error(
        "`sub` must be a text that is not empty, not too long, and without control characters; or whatever the \
         issuer's preset has in its place"
    )]
    NoSubject,
    /// They are of a tenant, directory or trust domain that the issuer's configuration does not list.
    #[error("the claims are of no tenant that the issuer's configuration lists")]
    NoTenant,
}

/// What the policies say about somebody.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// What comes of it.
    pub ruling: Ruling,
    /// The policy that decides.
    pub policy: Option<Arc<str>>,
    /// What that policy asks, and what it found.
    pub why: Vec<Looked>,
    /// What would be granted.
    pub grant: Option<Offer>,
    /// Whom the claims are about.
    pub identity: PrincipalId,
    /// The other policies, in their order.
    pub others: Vec<Considered>,
}

/// What comes of all policies together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ruling {
    /// They get what the policy grants, less what policies take away of which it cannot be told whether they
    /// come before it.
    Granted,
    /// The policy denies them.
    Denied,
    /// No policy that grants is about them.
    NoPolicy,
    /// The policy that they name is not about them.
    NotNamed,
    /// Of what the policy grants, nothing is left by another that has to be heeded too.
    NothingLeft,
}

/// What would be granted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Offer {
    /// The models.
    pub models: Allow<Pattern>,
    /// The tools.
    pub tools: Allow<Pattern>,
    /// The providers that may serve them.
    pub upstreams: Allow<Pattern>,
    /// The roles.
    pub roles: Allow<Pattern>,
    /// The tier of limits.
    pub tier: TierName,
    /// How long a key would live, in seconds.
    pub ttl: u64,
    /// All of that as a scope.
    pub scope: String,
    /// Whether the identity token may be exchanged again.
    pub reusable_subject_token: bool,
}

/// A policy that does not decide.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Considered {
    /// Its name.
    pub policy: Arc<str>,
    /// What it would do.
    pub effect: Effect,
    /// Whether it is about them.
    pub holds: Holds,
    /// What it asks, and what it found.
    pub conditions: Vec<Looked>,
}

/// What a policy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effect {
    /// It denies.
    Deny,
    /// It grants.
    Grant,
}

/// One thing that a policy asks, and what it found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Looked {
    /// What it looks at: a matcher of the policy, with the JSON pointer where there is one.
    pub field: String,
    /// What it wants to find one of.
    pub wanted: Vec<String>,
    /// The texts it found.
    pub found: Vec<String>,
    /// What that is.
    pub finding: Finding,
}

impl Looked {
    fn by_issuer(rule: &Rule, asked: &Asked<'_>) -> Self {
        let is = *rule.issuer == *asked.id.issuer;
        Self {
            field: "issuer".to_owned(),
            wanted: vec![(*rule.issuer).to_owned()],
            found: vec![(*asked.id.issuer).to_owned()],
            finding: if is { Finding::Matches } else { Finding::Differs },
        }
    }

    fn by(condition: &Condition, asked: &Asked<'_>) -> Self {
        let (finding, found) = condition.look(asked);
        Self { field: condition.about.to_string(), wanted: condition.wanted.texts(), found, finding }
    }

    /// All that the rule asks. What another issuer's users have in their claims means something else, so the
    /// rest is not looked at then.
    fn all(rule: &Rule, asked: &Asked<'_>) -> Vec<Self> {
        let issuer = Self::by_issuer(rule, asked);
        let is = issuer.finding == Finding::Matches;
        let rest = rule.conditions.iter().filter(|_| is).map(|condition| Self::by(condition, asked));
        std::iter::once(issuer).chain(rest).collect()
    }
}

impl Considered {
    fn of(rule: &Rule, asked: &Asked<'_>) -> Self {
        Self {
            policy: rule.name.clone(),
            effect: match rule.effect {
                super::Effect::Deny => Effect::Deny,
                super::Effect::Grant(_) => Effect::Grant,
            },
            holds: rule.is_about(asked),
            conditions: Looked::all(rule, asked),
        }
    }

    /// What keeps the policy from being about them.
    pub fn failed(&self) -> impl Iterator<Item = &Looked> {
        self.conditions.iter().filter(|looked| looked.finding != Finding::Matches)
    }
}

impl Policies {
    /// What the policies say about whoever has these claims, by the same steps by which they decide.
    /// Changes nothing.
    ///
    /// # Errors
    /// [`Unanswerable`] when the claims are nobody's.
    pub fn explain(&self, question: &Question) -> Result<Explanation, Unanswerable> {
        let id = self.identity(question)?;
        let asked = Asked { id: &id, claims: &question.claims, kept: None };
        Ok(self.explained(&asked, question.policy.as_deref()))
    }

    pub(crate) fn explained(&self, asked: &Asked<'_>, named: Option<&str>) -> Explanation {
        let (ruling, decisive, terms) = match self.verdict(asked, named) {
            Verdict::Granted(rule, terms) => (Ruling::Granted, Some(rule), Some(terms)),
            Verdict::Denied(rule) => (Ruling::Denied, Some(rule), None),
            Verdict::Nothing(rule) => (Ruling::NothingLeft, Some(rule), None),
            Verdict::NotNamed => (Ruling::NotNamed, None, None),
            Verdict::Nobody => (Ruling::NoPolicy, None, None),
        };
        let is_another = |rule: &&Rule| decisive.is_none_or(|decisive| decisive.name != rule.name);
        let others = self.rules.iter().filter(is_another).map(|rule| Considered::of(rule, asked));
        Explanation {
            ruling,
            policy: decisive.map(|rule| rule.name.clone()),
            why: decisive.map(|rule| Looked::all(rule, asked)).unwrap_or_default(),
            grant: terms.and_then(|terms| self.offer(terms)),
            identity: asked.id.clone(),
            others: others.collect(),
        }
    }

    fn offer(&self, terms: Terms) -> Option<Offer> {
        let ttl = terms.ttl.min(self.longest).as_secs();
        let reusable_subject_token = terms.reusable_subject_token;
        let grant = terms.grant(self.longest, std::time::SystemTime::UNIX_EPOCH)?;
        let scope = scope::describe(&grant);
        let Grant { models, tools, upstreams, roles, tier, .. } = grant;
        Some(Offer { models, tools, upstreams, roles, tier, ttl, scope, reusable_subject_token })
    }

    fn identity(&self, question: &Question) -> Result<PrincipalId, Unanswerable> {
        let url = match question.claims.get("iss") {
            None => None,
            Some(Value::String(url)) => Some(url),
            Some(_) => return Err(Unanswerable::UnknownIssuer),
        };
        let issuer = match (&question.issuer, url) {
            (Some(name), _) => self.issuers.iter().find(|issuer| *issuer.name == **name),
            (None, Some(url)) => self.issuers.iter().find(|issuer| issuer.goes_by(url)),
            (None, None) => None,
        };
        let issuer = issuer.ok_or(Unanswerable::UnknownIssuer)?;
        if url.is_some_and(|url| !issuer.goes_by(url)) {
            return Err(Unanswerable::AnotherIssuer);
        }
        issuer.whose(&question.claims).map_err(|why| match why {
            Refused::UnknownTenant => Unanswerable::NoTenant,
            _ => Unanswerable::NoSubject,
        })
    }
}
