//! The keys in the configuration, known by their digests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use portunus_auth_core::{ConfigProblem, Grant, Principal, PrincipalId, SecretSource, Via};
use secrecy::ExposeSecret as _;

use crate::config::StaticKeyConfig;

/// A static key is known by its digest only.
pub(crate) type StaticKeys = HashMap<[u8; 32], Arc<Principal>>;

/// The prefix of issued keys. No static key may begin with it, so looking at it first changes nothing.
pub(crate) const ISSUED: &str = portunus_keyserver::PREFIX;

/// SHA-256 of a key. What is compared are digests, so the time it takes tells nothing about a key.
pub(crate) fn fingerprint(key: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    out
}

/// The configured keys, with whatever is wrong in `problems`.
pub(crate) fn static_keys(
    keys: &[StaticKeyConfig],
    secrets: &dyn SecretSource,
    problems: &mut Vec<ConfigProblem>,
) -> StaticKeys {
    let mut known = HashMap::new();
    for (n, key) in keys.iter().enumerate() {
        match static_key(key, secrets) {
            Ok((digest, principal)) => {
                if known.insert(digest, principal).is_some() {
                    problems
                        .push(ConfigProblem::new(format!("keys.{n}.name"), "this key is configured twice"));
                }
            }
            Err(problem) => problems.push(problem.below(&format!("keys.{n}"))),
        }
    }
    known
}

fn static_key(
    key: &StaticKeyConfig,
    secrets: &dyn SecretSource,
) -> Result<([u8; 32], Arc<Principal>), ConfigProblem> {
    let digest = match (&key.key, &key.digest) {
        (Some(reference), None) => {
            let text = reference
                .resolve(secrets)
                .map_err(|error| ConfigProblem::new("key", crate::gateway::chain(&error)))?;
            let text = text.expose_secret();
            if text.len() < 16 {
                return Err(ConfigProblem::new(
                    "key",
                    "the key is shorter than 16 characters; make a random one",
                ));
            }
            if text.starts_with(ISSUED) {
                let says = format!("a static key must not begin with `{ISSUED}`, like the keys issued here");
                return Err(ConfigProblem::new("key", says));
            }
            fingerprint(text)
        }
        (None, Some(digest)) => parse_digest(digest)
            .ok_or_else(|| ConfigProblem::new("digest", "a digest is `sha256:` and 64 hexadecimal digits"))?,
        _ => return Err(ConfigProblem::new("name", "give either `key` or `digest`")),
    };
    let grant = Grant {
        models: key.grant.models.clone(),
        tools: key.grant.tools.clone(),
        upstreams: key.grant.upstreams.clone(),
        roles: key.grant.roles.clone(),
        tier: key.grant.tier.clone(),
        // A static key ends when it is taken out of the configuration.
        expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 16),
        confirmation: None,
    };
    let id = PrincipalId {
        tenant: key.tenant.clone(),
        issuer: "static".into(),
        subject: key.name.as_str().into(),
    };
    Ok((digest, Arc::new(Principal::authenticated(id, grant, Via::StaticKey(key.name.as_str().into())))))
}

fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.is_ascii())?;
    let mut digest = [0; 32];
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}
