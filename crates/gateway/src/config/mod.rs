//! The configuration file: one TOML document, read strictly.
//!
//! Unknown keys are errors, secrets are given by reference only, and whatever is wrong is reported
//! with file, line and column before anything is opened or listened on.

mod file;
mod provider;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use portunus_auth_core::{Allow, Limit, Pattern, SecretRef, TenantId, TierName};
use portunus_keyserver::{IssuerConfig, KeyServerConfig, PolicyConfig, PublicUrl};
use serde::Deserialize;

pub use file::{ConfigError, Located, Source};
pub use provider::{ModelConfig, ProviderConfig, ProviderType};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[server]`
    #[serde(default)]
    pub server: ServerConfig,
    /// `[state]`
    #[serde(default)]
    pub state: StateConfig,
    /// `[audit]`
    #[serde(default)]
    pub audit: AuditConfig,
    /// `[key_server]`; absent is off.
    pub key_server: Option<KeyServerConfig>,
    /// `[[issuers]]`
    #[serde(default)]
    pub issuers: Vec<IssuerConfig>,
    /// `[[policies]]`
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
    /// `[[tiers]]`
    #[serde(default)]
    pub tiers: Vec<TierConfig>,
    /// `[[keys]]`
    #[serde(default)]
    pub keys: Vec<StaticKeyConfig>,
    /// `[[providers]]`
    #[serde(default)]
    pub providers: Vec<ProviderConfig>,
    /// `[[models]]`
    #[serde(default)]
    pub models: Vec<ModelConfig>,
}

impl Config {
    /// The parts that concern the key server, unless it is off.
    pub(crate) fn key_server(&self) -> Option<portunus_keyserver::Config> {
        let key_server = self.key_server.clone().filter(|key_server| key_server.enabled)?;
        let mut config = portunus_keyserver::Config::new(key_server);
        config.server.public_url.clone_from(&self.server.public_url);
        config.issuers.clone_from(&self.issuers);
        config.policies.clone_from(&self.policies);
        Some(config)
    }
}

/// `[server]`: where and how to listen. Sizes are bytes, times such as `"30s"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// The address to listen on; loopback unless said otherwise.
    pub listen: SocketAddr,
    /// Where callers reach the gateway, `https://` and no slash at its end. What it publishes about itself names
    /// this address, never the one that a request was sent to; without it, it publishes nothing.
    pub public_url: Option<PublicUrl>,
    /// Networks of the proxies in front of the gateway, such as `10.0.0.0/8`. Of these alone it believes, by
    /// `x-forwarded-for`, for whom they send a request; none unless said otherwise.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Worker threads; one for each core unless said otherwise.
    pub workers: Option<std::num::NonZeroUsize>,
    /// Connections that callers may have open; further ones wait to be accepted.
    pub max_connections: std::num::NonZeroUsize,
    /// The largest request body.
    pub max_body_bytes: usize,
    /// How much all requests' bodies may take up together; beyond, requests are refused with 503.
    pub max_bodies_bytes: usize,
    /// How long a request's head may take to arrive, counted from the answer before it: so also how long
    /// a connection may be idle.
    #[serde(with = "duration")]
    pub head_timeout: Duration,
    /// How long a request's body may take to arrive.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// How long connecting to an upstream may take.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long an upstream may take until its answer begins.
    #[serde(with = "duration")]
    pub upstream_timeout: Duration,
    /// How long an upstream's answer may pause, and a caller may leave it unread.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// How long requests in flight may go on once the process has been told to end.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000),
            public_url: None,
            trusted_proxies: Vec::new(),
            workers: None,
            max_connections: std::num::NonZeroUsize::new(10_000).unwrap_or(std::num::NonZeroUsize::MIN),
            max_body_bytes: 16 * 1024 * 1024,
            max_bodies_bytes: 512 * 1024 * 1024,
            head_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            upstream_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// `[state]`: where keys live.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// `memory:` or `file:PATH`.
    pub url: String,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { url: "file:portunus.redb".to_owned() }
    }
}

/// `[audit]`: where the audit goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// The file that JSON lines are appended to.
    pub file: PathBuf,
    /// How many events may wait to be written. When they all wait, requests are refused with 503,
    /// because what cannot be audited must not happen.
    pub queue: std::num::NonZeroUsize,
}

impl Default for AuditConfig {
    fn default() -> Self {
        let queue = std::num::NonZeroUsize::new(65_536).unwrap_or(std::num::NonZeroUsize::MIN);
        Self { file: PathBuf::from("portunus-audit.jsonl"), queue }
    }
}

/// `[[tiers]]`: limits that a grant names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierConfig {
    /// The name that grants use.
    pub name: TierName,
    /// The rate at which one principal may make requests, or `"unlimited"`. A whole minute's worth may come
    /// at once; from then on they may come as evenly as the rate says.
    pub requests_per_minute: Limit,
    /// Requests that one principal may have in flight, on this gateway; 64 unless said otherwise.
    #[serde(default = "concurrent")]
    pub concurrent_requests: Limit,
}

fn concurrent() -> Limit {
    Limit::At(std::num::NonZeroU64::MIN.saturating_add(63))
}

/// `[[keys]]`: a static key, for machines that cannot present an identity.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticKeyConfig {
    /// Its name in the audit.
    pub name: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// The key itself, by reference; or
    pub key: Option<SecretRef>,
    /// its digest, `sha256:` and 64 hexadecimal digits.
    pub digest: Option<String>,
    /// What it may do.
    pub grant: StaticGrantConfig,
}

/// The grant of a static key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticGrantConfig {
    /// Models; none unless listed, or `"all"`.
    #[serde(default = "Allow::none")]
    pub models: Allow<Pattern>,
    /// Tools; none unless listed, or `"all"`.
    #[serde(default = "Allow::none")]
    pub tools: Allow<Pattern>,
    /// The providers that may serve these models, by name. Only narrows; left out, whichever serve them.
    #[serde(default = "all")]
    pub upstreams: Allow<Pattern>,
    /// Roles; none unless listed, or `"all"`.
    #[serde(default = "Allow::none")]
    pub roles: Allow<Pattern>,
    /// The tier whose limits hold.
    pub tier: TierName,
}

fn all() -> Allow<Pattern> {
    Allow::All
}

/// Times such as `"90s"`, `"15m"` or `"1h 30m"`, longer than nothing.
mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de::Error as _};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        let parsed = humantime::parse_duration(&text)
            .map_err(|_| D::Error::custom("a time is written like \"30s\", \"15m\" or \"8h\""))?;
        if parsed.is_zero() {
            return Err(D::Error::custom("a time must be longer than nothing"));
        }
        Ok(parsed)
    }
}
