//! The configuration of the demonstration, as a person would write it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use portunus_auth_core::SecretSource;
use secrecy::{ExposeSecret as _, SecretString};

use crate::exit::Failure;

pub(crate) const AUDIENCE: &str = "portunus";
pub(crate) const AUDIT: &str = "audit.jsonl";

/// The secrets of the demonstration: new ones every time.
pub(crate) struct Secrets {
    /// What the mock provider asks for, and only the gateway knows.
    pub(crate) provider: SecretString,
    /// One that the mock provider accepts once.
    pub(crate) limited: SecretString,
    /// The administrator's.
    pub(crate) admin: SecretString,
}

impl Secrets {
    /// Random ones. A test that looks for leaks chooses the provider's itself
    /// (`PORTUNUS_QUICKSTART_PROVIDER_SECRET`).
    pub(crate) fn new(environment: &dyn SecretSource) -> Result<Self, Failure> {
        let chosen = environment.env("PORTUNUS_QUICKSTART_PROVIDER_SECRET").filter(|text| !text.is_empty());
        let provider = chosen.map_or_else(|| random("sk-mock-"), |text| Ok(text.into()))?;
        Ok(Self { provider, limited: random("sk-once-")?, admin: random("admin-")? })
    }
}

fn random(prefix: &str) -> Result<SecretString, Failure> {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Failure::Retry("the system has no randomness".to_owned()))?;
    let mut text = prefix.to_owned();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text.into())
}

/// Writes the configuration and, beside it, the secrets it refers to; says where the configuration is.
pub(crate) fn write(
    folder: &Path,
    listen: SocketAddr,
    provider_url: &str,
    issuer: &str,
    secrets: &Secrets,
) -> Result<PathBuf, Failure> {
    let failed =
        |error: std::io::Error| Failure::Retry(format!("{} cannot be written to: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    let folder = folder.canonicalize().map_err(failed)?;
    for (name, secret) in [
        ("provider.key", &secrets.provider),
        ("limited.key", &secrets.limited),
        ("admin.key", &secrets.admin),
    ] {
        write_private(&folder.join(name), secret.expose_secret()).map_err(failed)?;
    }
    // For curl's `-H @FILE`, so that the token stays out of the list of processes.
    let header = format!("Authorization: Bearer {}", secrets.admin.expose_secret());
    write_private(&folder.join("admin.header"), &header).map_err(failed)?;
    let config = folder.join("portunus.toml");
    write_private(&config, &toml(&folder.to_string_lossy(), listen, provider_url, issuer)).map_err(failed)?;
    Ok(config)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

fn toml(folder: &str, listen: SocketAddr, provider_url: &str, issuer: &str) -> String {
    include_str!("portunus.toml")
        .replace("@FOLDER@", folder)
        .replace("@LISTEN@", &listen.to_string())
        .replace("@PROVIDER@", provider_url)
        .replace("@ISSUER@", issuer)
}
