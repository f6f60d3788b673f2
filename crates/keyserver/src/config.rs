//! The configuration as it is written.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use portunus_auth_core::{Allow, Limit, Pattern, SecretRef, TenantId, TierName};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor, value};

use crate::clients::ClientConfig;
use crate::jose::Algorithm;
use crate::preset::Preset;
use crate::public_url::ServerConfig;
use crate::tenants::TenantsConfig;

/// The key server's part of a configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// `[server]`.
    #[serde(default)]
    pub server: ServerConfig,
    /// `[key_server]`.
    pub key_server: KeyServerConfig,
    /// `[[issuers]]`.
    #[serde(default)]
    pub issuers: Vec<IssuerConfig>,
    /// `[[policies]]`.
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
}

/// `[key_server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeyServerConfig {
    /// Whether there is a key server. An absent section also means that there is none.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The audience that identity tokens must be made for.
    pub audience: String,
    /// The longest that any key may live.
    #[serde(default = "one_hour")]
    pub token_ttl: Ttl,
    /// The most live keys of one identity. Those that descend from others may be half of them.
    #[serde(default = "one_hundred")]
    pub max_keys_per_identity: NonZeroUsize,
    /// How many tokens of issuers one client address (of IPv6, a /64) may present in a minute. What is over
    /// that is refused before anything is verified.
    #[serde(default = "twenty_a_second")]
    pub tokens_per_minute: Limit,
    /// How long known keys keep working while the store cannot be reached. Revocations by other servers may be
    /// missed for that long.
    #[serde(default = "five_minutes")]
    pub fail_static: Ttl,
    /// Who may list and revoke keys. Without it, nobody may over HTTP.
    pub admin: Option<AdminConfig>,
    /// Who may ask what a key is good for, beside the administrator and whoever holds a key of the same
    /// tenant.
    #[serde(default)]
    pub clients: Vec<ClientConfig>,
    /// The secret under which keys are digested, at least 32 characters. Without it, one is made once
    /// and kept in the store. All servers that share a store need the same one; with a new one, no
    /// earlier key works.
    pub pepper: Option<SecretRef>,
}

/// `key_server.admin`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AdminConfig {
    /// The administrator's token, at least 16 characters without white space.
    pub bearer_token: SecretRef,
}

/// One of `[[issuers]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct IssuerConfig {
    /// What policies call it.
    pub name: String,
    /// Which provider it is, and thereby what is known of its tokens.
    #[serde(default)]
    pub preset: Preset,
    /// Its `iss`, character by character; https, or http on the local machine. For SPIFFE it may be
    /// `spiffe://TRUST_DOMAIN`.
    pub issuer: String,
    /// Whose users it knows.
    pub tenant: TenantsConfig,
    /// Where its tokens say which tenant of a table in `tenant`, as a JSON pointer (RFC 6901).
    pub tenant_claim: Option<String>,
    /// The trust domain of a SPIFFE issuer that is not named by it.
    pub trust_domain: Option<String>,
    /// The audiences of its tokens, in place of `key_server.audience`.
    pub audience: Option<OneOrMany<String>>,
    /// Audiences that its tokens may have beside ours.
    pub other_audiences: Option<OneOrMany<String>>,
    /// Its clients (`azp`) whose tokens are accepted beside those made for us alone.
    pub authorized_parties: Option<OneOrMany<String>>,
    /// The algorithms that it may sign with.
    pub algorithms: Option<Vec<Algorithm>>,
    /// Where its keys are, in place of what its discovery document says.
    pub jwks_uri: Option<String>,
    /// Whether its documents may be at addresses of a private network.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// The longest time between `iat` and `exp`; by the preset, a day at most, if left out.
    pub max_token_age: Option<Ttl>,
    /// How far its clock may be from ours; 30 seconds if left out, 5 minutes at most.
    pub leeway: Option<Ttl>,
    /// Where its tokens have the list of groups, as a JSON pointer (RFC 6901); by the preset if left out.
    pub groups_claim: Option<String>,
    /// Where its tokens have the list of roles, as a JSON pointer; by the preset if left out.
    pub roles_claim: Option<String>,
    /// Whether whoever has no groups, or no roles, has a token without that claim, and nobody else has one. If
    /// not, which the presets know, of a token without the claim it cannot be told who is in no group.
    #[serde(default)]
    pub absent_means_none: bool,
}

/// One of `[[policies]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PolicyConfig {
    /// What the audit, and callers who ask for it, call it.
    pub name: String,
    /// Whom it is about.
    #[serde(rename = "match")]
    pub matches: MatchConfig,
    /// `"deny"`, or left out for a policy that grants.
    pub effect: Option<DenyEffect>,
    /// What it grants.
    pub grant: Option<GrantConfig>,
    /// Whether one identity token may be exchanged again and again.
    #[serde(default)]
    pub reusable_subject_token: bool,
}

/// `policies.match`. All parts that are there must hold; at least one beside the issuer must be there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MatchConfig {
    /// The name of one of `[[issuers]]`.
    pub issuer: String,
    /// Patterns, one of which the subject is like.
    pub subject: Option<OneOrMany<Pattern>>,
    /// Patterns, one of which one of the groups is like.
    pub groups: Option<OneOrMany<Pattern>>,
    /// Patterns, one of which one of the roles is like.
    pub roles: Option<OneOrMany<Pattern>>,
    /// By JSON pointer (RFC 6901): patterns, one of which the claim, or one item of a list there, is like.
    pub claims: Option<BTreeMap<String, OneOrMany<Pattern>>>,
    /// Verified e-mail addresses, one of which it is. The part before the `@` is compared letter by letter.
    pub email: Option<OneOrMany<String>>,
    /// Whether the case of the ASCII letters in `email` does not matter. Only where the issuer's domains give
    /// `Alice@` and `alice@` to the same person.
    #[serde(default)]
    pub email_ignore_case: bool,
    /// Domains, one of which the verified e-mail address is in.
    pub email_domain: Option<OneOrMany<String>>,
    /// Tenants, one of which the user belongs to. Not enough by itself.
    pub tenant: Option<OneOrMany<TenantId>>,
}

/// `policies.effect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenyEffect {
    /// Whoever the policy is about is refused, whatever other policies say.
    Deny,
}

/// `policies.grant`. A list left out admits nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GrantConfig {
    /// The models.
    #[serde(default = "Allow::none")]
    pub models: Allow<Pattern>,
    /// The tools.
    #[serde(default = "Allow::none")]
    pub tools: Allow<Pattern>,
    /// The providers that may serve these models, by name. Only narrows: left out, whichever serve them.
    #[serde(default = "all")]
    pub upstreams: Allow<Pattern>,
    /// The roles.
    #[serde(default = "Allow::none")]
    pub roles: Allow<Pattern>,
    /// The tier of limits.
    pub tier: TierName,
    /// The longest that a key may live; `key_server.token_ttl` bounds it too.
    pub ttl: Ttl,
}

impl Config {
    /// Without issuers and policies, with which nobody gets a key; add them.
    pub fn new(key_server: KeyServerConfig) -> Self {
        Self { server: ServerConfig::default(), key_server, issuers: Vec::new(), policies: Vec::new() }
    }
}

impl KeyServerConfig {
    /// A key server for identity tokens made for this audience, and for the rest what a configuration that
    /// says no more means.
    pub fn new(audience: impl Into<String>) -> Self {
        Self {
            enabled: yes(),
            audience: audience.into(),
            token_ttl: one_hour(),
            max_keys_per_identity: one_hundred(),
            tokens_per_minute: twenty_a_second(),
            fail_static: five_minutes(),
            admin: None,
            clients: Vec::new(),
            pepper: None,
        }
    }
}

impl AdminConfig {
    /// The administrator is who presents this secret.
    pub fn new(bearer_token: SecretRef) -> Self {
        Self { bearer_token }
    }
}

impl IssuerConfig {
    /// An issuer that follows OpenID Connect, found by discovery.
    pub fn new(name: impl Into<String>, issuer: impl Into<String>, tenant: TenantId) -> Self {
        Self {
            name: name.into(),
            preset: Preset::Oidc,
            issuer: issuer.into(),
            tenant: TenantsConfig::One(tenant),
            tenant_claim: None,
            trust_domain: None,
            audience: None,
            other_audiences: None,
            authorized_parties: None,
            algorithms: None,
            jwks_uri: None,
            allow_private_addresses: false,
            max_token_age: None,
            leeway: None,
            groups_claim: None,
            roles_claim: None,
            absent_means_none: false,
        }
    }
}

impl PolicyConfig {
    /// Whom `matches` is about gets what `grant` says.
    pub fn grant(name: impl Into<String>, matches: MatchConfig, grant: GrantConfig) -> Self {
        Self { name: name.into(), matches, effect: None, grant: Some(grant), reusable_subject_token: false }
    }

    /// Whom `matches` is about is refused, whatever other policies say.
    pub fn deny(name: impl Into<String>, matches: MatchConfig) -> Self {
        let effect = Some(DenyEffect::Deny);
        Self { name: name.into(), matches, effect, grant: None, reusable_subject_token: false }
    }
}

impl MatchConfig {
    /// About users of that issuer. Set at least one of the other parts: all users of an issuer cannot be
    /// meant.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            subject: None,
            groups: None,
            roles: None,
            claims: None,
            email: None,
            email_ignore_case: false,
            email_domain: None,
            tenant: None,
        }
    }
}

impl GrantConfig {
    /// Admits nothing yet.
    pub fn new(tier: TierName, ttl: Ttl) -> Self {
        Self {
            models: Allow::none(),
            tools: Allow::none(),
            upstreams: all(),
            roles: Allow::none(),
            tier,
            ttl,
        }
    }
}

fn all() -> Allow<Pattern> {
    Allow::All
}

fn yes() -> bool {
    true
}

fn one_hour() -> Ttl {
    Ttl(Duration::from_secs(3600))
}

fn twenty_a_second() -> Limit {
    const { Limit::At(NonZeroU64::new(1200).unwrap()) }
}

fn five_minutes() -> Ttl {
    Ttl(Duration::from_secs(300))
}

fn one_hundred() -> NonZeroUsize {
    const { NonZeroUsize::new(100).unwrap() }
}

/// A span of time, written as `"30s"`, `"15m"`, `"8h"` or `"1d"`: whole seconds, from one second to a
/// year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(pub(crate) Duration);

impl Ttl {
    /// The span.
    pub fn get(self) -> Duration {
        self.0
    }
}

/// The span of time is not one of whole seconds, from one second to a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time of whole seconds from `1s` to `366d` is needed here")]
pub struct SpanOutOfRange;

impl TryFrom<Duration> for Ttl {
    type Error = SpanOutOfRange;

    fn try_from(span: Duration) -> Result<Self, SpanOutOfRange> {
        let longest = Duration::from_secs(366 * 24 * 60 * 60);
        if span < Duration::from_secs(1) || span > longest || span.subsec_nanos() != 0 {
            return Err(SpanOutOfRange);
        }
        Ok(Self(span))
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let span = humantime::parse_duration(&text).map_err(de::Error::custom)?;
        Self::try_from(span).map_err(de::Error::custom)
    }
}

/// One item, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany<T>, E> {
                Ok(OneOrMany(vec![T::deserialize(value::StrDeserializer::new(text))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(OneOrMany(all))
            }
        }

        from.deserialize_any(Items(PhantomData))
    }
}
