//! Runs the program.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

pub(crate) fn portunus(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
    command.current_dir(folder).env_clear();
    command
}

pub(crate) fn run(folder: &Path, args: &[&str]) -> Output {
    portunus(folder).args(args).stdin(Stdio::null()).output().unwrap()
}

/// A gateway that serves, ended when dropped.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) url: String,
    _stdout: BufReader<ChildStdout>,
}

impl Serving {
    /// Starts `portunus serve` on the folder's configuration, and waits until it listens.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut child = portunus(folder)
            .args(["serve", "--config", "portunus.toml"])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ");
        let url = url.unwrap_or_else(|| panic!("the gateway said: {line}")).to_owned();
        Self { child, url, _stdout: stdout }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is a client like any other")]
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(30)).build().unwrap()
}

pub(crate) fn config(issuer: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"

[state]
url = "file:keys.redb"

[audit]
file = "audit.jsonl"

[key_server]
audience = "portunus"
token_ttl = "1h"
admin = {{ bearer_token = "${{file:admin.key}}" }}

[[issuers]]
name = "idp"
issuer = "{issuer}"
tenant = "acme"

[[policies]]
name = "engineers"
match = {{ issuer = "idp", groups = ["eng"] }}
grant = {{ models = ["gpt-4o"], tier = "standard", ttl = "1h" }}

[[tiers]]
name = "standard"
requests_per_minute = "unlimited"
"#
    )
}
