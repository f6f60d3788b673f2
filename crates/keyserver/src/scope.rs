//! Scopes: what is asked for, and what was granted, as OAuth writes them.
//!
//! `model:PATTERN`, `tool:PATTERN` and `role:PATTERN`, separated by single spaces.

use std::collections::BTreeSet;
use std::time::SystemTime;

use portunus_auth_core::{Allow, Grant, GrantRequest, Pattern};

/// The most scopes in one request.
const MAX_SCOPES: usize = 256;

/// The text is no list of known scopes, or nothing of it is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid scope")]
pub(crate) struct InvalidScope;

/// A request for scopes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope {
    models: Option<Allow<Pattern>>,
    tools: Option<Allow<Pattern>>,
    roles: Option<Allow<Pattern>>,
}

impl Scope {
    /// Reads a request. An unknown scope is an error, never ignored: whoever asks for it would believe
    /// that they got it.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidScope> {
        let (mut models, mut tools, mut roles) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (count, scope) in text.split(' ').enumerate() {
            let (kind, pattern) = scope.split_once(':').ok_or(InvalidScope)?;
            let pattern = Pattern::new(pattern).map_err(|_| InvalidScope)?;
            let set = match kind {
                "model" => &mut models,
                "tool" => &mut tools,
                "role" => &mut roles,
                _ => return Err(InvalidScope),
            };
            if count >= MAX_SCOPES {
                return Err(InvalidScope);
            }
            set.insert(pattern);
        }
        let asked = |set: BTreeSet<Pattern>| (!set.is_empty()).then_some(Allow::Only(set));
        Ok(Self { models: asked(models), tools: asked(tools), roles: asked(roles) })
    }
}

/// The grant as far as it was asked for. Without scopes that is all of it; with scopes, those and nothing
/// else, so that a key for one model does not bring tools and roles along.
pub(crate) fn narrow(
    grant: &Grant,
    asked: Option<&Scope>,
    end: Option<SystemTime>,
) -> Result<Grant, InvalidScope> {
    let mut request = GrantRequest { expires_at: end, ..GrantRequest::default() };
    if let Some(scope) = asked {
        request.models.clone_from(&scope.models);
        request.tools.clone_from(&scope.tools);
        request.roles.clone_from(&scope.roles);
    }
    let mut narrowed = grant.narrow(&request).map_err(|_| InvalidScope)?;
    if let Some(scope) = asked {
        let not_asked = |asked: &Option<_>, granted: &mut Allow<Pattern>| {
            if asked.is_none() {
                *granted = Allow::none();
            }
        };
        not_asked(&scope.models, &mut narrowed.models);
        not_asked(&scope.tools, &mut narrowed.tools);
        not_asked(&scope.roles, &mut narrowed.roles);
    }
    Ok(narrowed)
}

/// The grant as a scope: everything it admits, and nothing else.
pub(crate) fn describe(grant: &Grant) -> String {
    let mut scopes = Vec::new();
    for (kind, allow) in [("model", &grant.models), ("tool", &grant.tools), ("role", &grant.roles)] {
        match allow {
            Allow::All => scopes.push(format!("{kind}:*")),
            Allow::Only(patterns) => {
                scopes.extend(patterns.iter().map(|pattern| format!("{kind}:{}", pattern.as_str())));
            }
        }
    }
    scopes.join(" ")
}
