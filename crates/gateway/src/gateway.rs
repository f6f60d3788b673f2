//! A checked configuration, and the gateway made from it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use portunus_auth_core::audit::{Actor, EventKind};
use portunus_auth_core::{
    Allow, AuditFull, Clock, ConfigProblem, Outcome, Pattern, SecretSource, SystemClock, TierName, Trail,
};
use portunus_keyserver::{KeyServer, Parts, Policies};
use portunus_store::Store;

use crate::audit::AuditFile;
use crate::authn::Authn;
use crate::call::BodyLimits;
use crate::config::{Config, ConfigError};
use crate::limit::Limits;
use crate::providers::{self, ProviderCredential};
use crate::reply::Challenges;
use crate::routes::Routes;
use crate::static_keys::{StaticKeys, static_keys};

/// All that requests share.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) authn: Authn,
    pub(crate) limits: Limits,
    pub(crate) routes: Routes,
    pub(crate) body_limits: BodyLimits,
    pub(crate) audit: Arc<AuditFile>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) key_server: Option<KeyServer>,
    /// How callers are told to authenticate.
    pub(crate) challenges: Challenges,
    /// Whose word for a client's address is taken.
    pub(crate) trusted_proxies: Vec<ipnet::IpNet>,
}

/// What can be told of a configuration without opening or listening on anything.
#[derive(Debug)]
struct Checked {
    keys: StaticKeys,
    limits: Limits,
    routes: Routes,
}

/// Whether this file would serve: reads it and every secret it refers to, opens nothing.
///
/// # Errors
/// [`ConfigError`] with every problem found, each with its place.
pub fn check(path: &Path, secrets: &dyn SecretSource) -> Result<(), ConfigError> {
    let (config, source) = Config::read(path)?;
    check_all(&config, secrets, Arc::new(SystemClock)).map(drop).map_err(|problems| source.locate(problems))
}

/// How each provider in this file obtains its credential, for trying it out.
///
/// # Errors
/// [`ConfigError`] with every problem of the providers and their credentials, each with its place.
pub fn credentials(
    path: &Path,
    secrets: &dyn SecretSource,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<ProviderCredential>, ConfigError> {
    let (config, source) = Config::read(path)?;
    let mut problems = Vec::new();
    let found = providers::credentials(&config, secrets, clock, &mut problems);
    if problems.is_empty() { Ok(found) } else { Err(source.locate(problems)) }
}

/// The policies in this file, to be asked without serving them. Reads no secret.
///
/// # Errors
/// [`ConfigError`] with every problem of the key server, its issuers and its policies, each with its place.
pub fn policies(path: &Path) -> Result<Policies, ConfigError> {
    let (config, source) = Config::read(path)?;
    let key_server = config.key_server().ok_or_else(|| {
        let says = "there is no key server here, so no policy says anything";
        vec![ConfigProblem::new("key_server", says)]
    });
    key_server.and_then(|key_server| Policies::new(&key_server)).map_err(|problems| source.locate(problems))
}

fn check_all(
    config: &Config,
    secrets: &dyn SecretSource,
    clock: Arc<dyn Clock>,
) -> Result<Checked, Vec<ConfigProblem>> {
    let mut problems = Vec::new();
    let keys = static_keys(&config.keys, secrets, &mut problems);
    let routes = providers::routes(config, secrets, &clock, &mut problems);
    check_names(config, &mut problems);
    check_upstreams(config, &mut problems);
    if let Err(error) = portunus_store::check(&config.state.url) {
        problems.push(ConfigProblem::new("state.url", error));
    }
    problems.extend(check_key_server(config, secrets));
    match Limits::new(&config.tiers, clock) {
        Ok(limits) => {
            check_tiers(config, &limits, &mut problems);
            if problems.is_empty() { Ok(Checked { keys, limits, routes }) } else { Err(problems) }
        }
        Err(problem) => {
            problems.push(problem);
            Err(problems)
        }
    }
}

impl Gateway {
    /// Opens what the configuration names: the store, the audit, the key server's keys.
    ///
    /// # Errors
    /// What is wrong with the configuration, or cannot be opened.
    pub(crate) async fn open(
        config: &Config,
        secrets: &dyn SecretSource,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let Checked { keys, limits, routes } = check_all(config, secrets, clock.clone())?;
        let one = |at: &str, error: &dyn std::error::Error| vec![ConfigProblem::new(at, chain(error))];
        let (audit, store) = open_files(config, &clock).await?;
        let key_server = match config.key_server() {
            None => None,
            Some(key_server) => {
                let parts = Parts::new(store.clone(), clock.clone(), audit.clone(), secrets);
                Some(KeyServer::new(key_server, parts).await.map_err(|error| match error {
                    portunus_keyserver::SetupError::Config(problems) => problems,
                    other => one("state.url", &other),
                })?)
            }
        };
        Ok(Self {
            authn: Authn::new(keys, key_server.clone()),
            limits,
            routes,
            body_limits: BodyLimits {
                bytes: config.server.max_body_bytes,
                time: config.server.body_timeout,
                total: config.server.max_bodies_bytes,
                used: AtomicUsize::new(0),
            },
            audit,
            clock,
            store,
            trusted_proxies: config.server.trusted_proxies.clone(),
            challenges: Challenges::new(key_server.as_ref().and_then(KeyServer::public_url)),
            key_server,
        })
    }

    /// Begins the trail of something that is to leave one event.
    pub(crate) fn trail(&self, kind: EventKind) -> Result<Trail, AuditFull> {
        Trail::begin(self.audit.clone(), self.clock.clone(), kind)
    }

    /// Records something that the system itself did.
    pub(crate) fn note(&self, kind: EventKind) {
        match self.trail(kind) {
            Ok(mut trail) => {
                trail.event().actor = Some(Actor::System);
                trail.finish(Outcome::Allowed);
            }
            Err(full) => tracing::error!(%full, ?kind, "an event could not be audited"),
        }
    }
}

/// Opens the audit and the store, which read what is there already.
async fn open_files(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<AuditFile>, Arc<dyn Store>), Vec<ConfigProblem>> {
    let (config, clock) = (config.clone(), clock.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let audit = AuditFile::open(&config.audit.file, config.audit.queue.get())
            .map_err(|error| ConfigProblem::new("audit.file", chain(&error)))?;
        let store = portunus_store::open(&config.state.url, clock)
            .map_err(|error| ConfigProblem::new("state.url", chain(&error)))?;
        Ok((Arc::new(audit), store))
    });
    let opened = opened.await.unwrap_or_else(|crashed| Err(ConfigProblem::new("state.url", crashed)));
    opened.map_err(|problem| vec![problem])
}

/// An error with what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn check_key_server(config: &Config, secrets: &dyn SecretSource) -> Vec<ConfigProblem> {
    match config.key_server() {
        Some(key_server) => key_server.problems(secrets),
        None if config.key_server.is_some() => Vec::new(),
        None if config.issuers.is_empty() && config.policies.is_empty() => Vec::new(),
        None => vec![ConfigProblem::new(
            if config.issuers.is_empty() { "policies" } else { "issuers" },
            "issuers and policies do nothing without a [key_server] section",
        )],
    }
}

fn check_names(config: &Config, problems: &mut Vec<ConfigProblem>) {
    let tiers: Vec<&str> = config.tiers.iter().map(|tier| tier.name.as_str()).collect();
    let keys: Vec<&str> = config.keys.iter().map(|key| key.name.as_str()).collect();
    let providers: Vec<&str> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    for (section, names) in [("tiers", tiers), ("keys", keys), ("providers", providers)] {
        let mut seen = HashSet::new();
        for (n, name) in names.into_iter().enumerate() {
            let at = format!("{section}.{n}.name");
            if name.is_empty() {
                problems.push(ConfigProblem::new(at, "a name must not be empty"));
            } else if !seen.insert(name) {
                problems.push(ConfigProblem::new(
                    at,
                    format!("the name `{name}` is used twice in [[{section}]]"),
                ));
            }
        }
    }
}

/// A grant that names no provider that is there would never let anything through.
fn check_upstreams(config: &Config, problems: &mut Vec<ConfigProblem>) {
    let names = providers::names(config);
    let keys = config.keys.iter().map(|key| Some(&key.grant.upstreams));
    let policies = config.policies.iter().map(|policy| policy.grant.as_ref().map(|grant| &grant.upstreams));
    let mut check = |section: &str, upstreams: Vec<Option<&Allow<Pattern>>>| {
        for (n, upstreams) in upstreams.into_iter().enumerate() {
            let Some(Allow::Only(patterns)) = upstreams else { continue };
            let is_nobody = |pattern: &&Pattern| !names.iter().any(|name| pattern.matches(name));
            for pattern in patterns.iter().filter(is_nobody) {
                let at = format!("{section}.{n}.grant.upstreams");
                problems.push(ConfigProblem::new(at, format!("there is no provider like `{pattern}`")));
            }
        }
    };
    check("keys", keys.collect());
    check("policies", policies.collect());
}

fn check_tiers(config: &Config, limits: &Limits, problems: &mut Vec<ConfigProblem>) {
    let keys = config.keys.iter().map(|key| Some(&key.grant.tier));
    let policies = config.policies.iter().map(|policy| policy.grant.as_ref().map(|grant| &grant.tier));
    let mut check = |section: &str, tiers: Vec<Option<&TierName>>| {
        for (n, tier) in tiers.into_iter().enumerate() {
            if let Some(tier) = tier.filter(|tier| !limits.has(tier)) {
                let at = format!("{section}.{n}.grant.tier");
                problems
                    .push(ConfigProblem::new(at, format!("there is no tier `{tier}`; add it to [[tiers]]")));
            }
        }
    };
    check("keys", keys.collect());
    check("policies", policies.collect());
}
