//! `cargo xtask deny`: what the dependencies may be, by `deny.toml`.

use crate::{Result, interop, setup, sh};

/// # Errors
/// When a dependency breaks a rule, or `cargo deny` cannot be installed.
pub(crate) fn run() -> Result {
    setup::cargo_tool("deny")?;
    let deny = |arguments: &[&str]| sh::run(sh::command("cargo", &["deny"]).args(arguments));
    // What is only tested against may have the crates that are banned here, but not their licences.
    deny(&["--manifest-path", interop::CLIENTS, "--config", "deny.toml", "check", "licenses", "sources"])?;
    if deny(&["fetch", "db"]).is_ok() {
        return deny(&["check", "--hide-inclusion-graph"]);
    }
    println!("advisories skipped: their database could not be fetched");
    deny(&["check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
}
