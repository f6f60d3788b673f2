//! Examples of who gets what, to be checked whenever policies change.

use std::fmt;

use portunus_auth_core::{Allow, Pattern, TierName};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Policies;
use super::explain::{Explanation, Question, Ruling, Unanswerable};
use crate::config::Ttl;

/// A file of examples.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Fixtures {
    /// `[[cases]]`. At least one, or nothing is tested.
    #[serde(deserialize_with = "some_cases")]
    pub cases: Vec<Case>,
}

/// One of `[[cases]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Case {
    /// What it is an example of.
    #[serde(deserialize_with = "not_empty")]
    pub name: String,
    /// The issuer's name in the configuration, in place of `iss` in the claims.
    pub issuer: Option<String>,
    /// The claims, as in a token.
    pub claims: Map<String, Value>,
    /// The policy that the caller names, if any.
    pub policy: Option<String>,
    /// What must come of it.
    pub expect: Expected,
}

/// What must come of a case: `"denied"`, or what must be granted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Expected {
    /// They get nothing, whether a policy denies them or none admits them.
    Denied,
    /// They get this.
    Grant(ExpectedGrant),
}

/// What must be granted. What is left out is not compared; at least one must be there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ExpectedGrant {
    /// The policy that decides.
    pub policy: Option<String>,
    /// Exactly these models.
    pub models: Option<Allow<Pattern>>,
    /// Exactly these tools.
    pub tools: Option<Allow<Pattern>>,
    /// Exactly these providers.
    pub upstreams: Option<Allow<Pattern>>,
    /// Exactly these roles.
    pub roles: Option<Allow<Pattern>>,
    /// The tier.
    pub tier: Option<TierName>,
    /// How long a key would live.
    pub ttl: Option<Ttl>,
}

impl ExpectedGrant {
    fn is_nothing(&self) -> bool {
        let Self { policy, models, tools, upstreams, roles, tier, ttl } = self;
        let sets = [models, tools, upstreams, roles];
        policy.is_none() && sets.iter().all(|set| set.is_none()) && tier.is_none() && ttl.is_none()
    }
}

/// How a case went.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CaseResult {
    /// The case.
    pub name: String,
    /// Whether what came of it is what must.
    pub passed: bool,
    /// What did not.
    pub differences: Vec<Difference>,
    /// What came of it, or why nothing could.
    #[serde(flatten)]
    pub got: Got,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Got {
    /// What the policies say.
    Explanation(Box<Explanation>),
    /// The claims are nobody's.
    Error(String),
}

/// Something that came out otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// What of it.
    pub field: &'static str,
    /// What must have come.
    pub expected: Value,
    /// What came.
    pub got: Value,
}

impl Policies {
    /// Asks every case, in their order.
    pub fn test(&self, fixtures: &Fixtures) -> Vec<CaseResult> {
        fixtures.cases.iter().map(|case| self.test_one(case)).collect()
    }

    fn test_one(&self, case: &Case) -> CaseResult {
        let Case { name, issuer, claims, policy, expect } = case;
        let question = Question { claims: claims.clone(), issuer: issuer.clone(), policy: policy.clone() };
        match self.explain(&question) {
            Ok(explanation) => {
                let differences = expect.differences(&explanation);
                CaseResult {
                    name: name.clone(),
                    passed: differences.is_empty(),
                    differences,
                    got: Got::Explanation(Box::new(explanation)),
                }
            }
            // Also where a refusal is expected: it would be one for another reason.
            Err(unanswerable) => CaseResult {
                name: name.clone(),
                passed: false,
                differences: Vec::new(),
                got: Got::Error(Unanswerable::to_string(&unanswerable)),
            },
        }
    }
}

impl Expected {
    fn differences(&self, got: &Explanation) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut compare = |field, expected: Option<Value>, got: Value| match expected {
            Some(expected) if expected != got => differences.push(Difference { field, expected, got }),
            _ => {}
        };
        match (self, &got.grant) {
            (Self::Denied, None) => {}
            (Self::Denied, Some(_)) => compare("ruling", Some("denied".into()), value(&got.ruling)),
            (Self::Grant(_), None) => compare("ruling", Some(value(&Ruling::Granted)), value(&got.ruling)),
            (Self::Grant(expected), Some(offer)) => {
                compare("policy", expected.policy.as_ref().map(value), value(&got.policy));
                compare("models", expected.models.as_ref().map(value), value(&offer.models));
                compare("tools", expected.tools.as_ref().map(value), value(&offer.tools));
                compare("upstreams", expected.upstreams.as_ref().map(value), value(&offer.upstreams));
                compare("roles", expected.roles.as_ref().map(value), value(&offer.roles));
                compare("tier", expected.tier.as_ref().map(value), value(&offer.tier));
                let seconds = |ttl: Ttl| Value::from(ttl.get().as_secs());
                compare("ttl", expected.ttl.map(seconds), Value::from(offer.ttl));
            }
        }
        differences
    }
}

/// As it is written. What cannot be written is unlike everything expected.
fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

fn some_cases<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Case>, D::Error> {
    let cases = Vec::<Case>::deserialize(from)?;
    if cases.is_empty() {
        return Err(de::Error::custom("there is no case, so nothing would be tested"));
    }
    Ok(cases)
}

fn not_empty<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.trim().is_empty() {
        return Err(de::Error::custom("say what this is an example of"));
    }
    Ok(text)
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct DeniedOrGrant;

        impl<'de> Visitor<'de> for DeniedOrGrant {
            type Value = Expected;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"denied\", or a table of what must be granted")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Expected, E> {
                match text {
                    "denied" => Ok(Expected::Denied),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expected, A::Error> {
                let grant = ExpectedGrant::deserialize(MapAccessDeserializer::new(map))?;
                if grant.is_nothing() {
                    return Err(de::Error::custom("say what must be granted, or \"denied\""));
                }
                Ok(Expected::Grant(grant))
            }
        }

        from.deserialize_any(DeniedOrGrant)
    }
}
