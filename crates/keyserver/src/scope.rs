//! Scopes: what is asked for, and what was granted, as OAuth writes them.
//!
//! `model:PATTERN`, `tool:PATTERN`, `role:PATTERN` and `upstream:PATTERN`, separated by single spaces.

use std::collections::BTreeSet;

use portunus_auth_core::{Allow, Grant, GrantRequest, Pattern};

/// The most scopes in one request.
const MAX_SCOPES: usize = 256;

/// A request for scopes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope {
    models: Option<Allow<Pattern>>,
    tools: Option<Allow<Pattern>>,
    roles: Option<Allow<Pattern>>,
    upstreams: Option<Allow<Pattern>>,
}

impl Scope {
    /// Reads a request. An unknown scope spoils it and is never ignored: whoever asks for it would believe
    /// that they got it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let [mut models, mut tools, mut roles, mut upstreams] = [const { BTreeSet::new() }; 4];
        for (count, scope) in text.split(' ').enumerate() {
            let (kind, pattern) = scope.split_once(':')?;
            let pattern = Pattern::new(pattern).ok()?;
            let set = match kind {
                "model" => &mut models,
                "tool" => &mut tools,
                "role" => &mut roles,
                "upstream" => &mut upstreams,
                _ => return None,
            };
            if count >= MAX_SCOPES {
                return None;
            }
            set.insert(pattern);
        }
        let asked = |set: BTreeSet<Pattern>| (!set.is_empty()).then(|| Allow::only(set));
        Some(Self {
            models: asked(models),
            tools: asked(tools),
            roles: asked(roles),
            upstreams: asked(upstreams),
        })
    }
}

/// The grant as far as it was asked for. Without scopes that is all of it; with scopes, those and nothing
/// else, so that a key for one model does not bring tools and roles along. `None`: nothing of something
/// asked for is granted, or nothing is asked for but upstreams, which admit nothing by themselves.
pub(crate) fn narrow(grant: &Grant, asked: Option<&Scope>) -> Option<Grant> {
    let Some(Scope { models, tools, roles, upstreams }) = asked.cloned() else { return Some(grant.clone()) };
    let asked = [models.is_some(), tools.is_some(), roles.is_some()];
    let wanted = GrantRequest { models, tools, roles, upstreams, ..GrantRequest::default() };
    let mut granted = grant.narrow(&wanted).ok()?;
    for (was_asked, allow) in
        asked.into_iter().zip([&mut granted.models, &mut granted.tools, &mut granted.roles])
    {
        if !was_asked {
            *allow = Allow::none();
        }
    }
    asked.contains(&true).then_some(granted)
}

/// The grant as a scope: everything it admits, and nothing else. Upstreams are left out where all may be
/// called, as in a request that does not ask for some of them.
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
    if let Allow::Only(patterns) = &grant.upstreams {
        scopes.extend(patterns.iter().map(|pattern| format!("upstream:{}", pattern.as_str())));
    }
    scopes.join(" ")
}
