//! What is wrong with a configuration, or what it becomes.

mod issuers;

use portunus_auth_core::{ConfigProblem, Limit};

use crate::config::{Config, KeyServerConfig};
use crate::issuer::Issuer;
use crate::jwks::Source;
use crate::policy::Policies;

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
        let mut issuers: Vec<(Issuer, Source)> = Vec::new();
        for (place, issuer) in self.issuers.iter().enumerate() {
            let built = issuer.build(&self.key_server.audience, &self.issuers[..place]);
            gather(&format!("issuers.{place}"), built, &mut issuers, &mut problems);
        }
        let longest = self.key_server.token_ttl.get();
        let namings = issuers.iter().map(|(issuer, _)| issuer.naming.clone()).collect();
        let policies = Policies::build((&self.issuers, namings), &self.policies, longest);
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
        if matches!(self.tokens_per_minute, Limit::At(most) if u32::try_from(most.get()).is_err()) {
            found("tokens_per_minute", "at most 4294967295, or \"unlimited\"");
        }
        if self.max_keys_per_identity.get() > MAX_KEYS_PER_IDENTITY {
            found("max_keys_per_identity", "at most 10000 keys are possible");
        }
    }
}

/// A name that is safe to show and to write.
pub(crate) fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=64).contains(&name.len()) && name.chars().all(good)
}
