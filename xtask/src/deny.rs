//! `cargo xtask deny`: what the dependencies may be, by `deny.toml`.

use crate::{Result, setup, sh};

/// # Errors
/// When a dependency breaks a rule, or `cargo deny` cannot be installed.
pub(crate) fn run() -> Result {
    setup::cargo_tool("deny")?;
    if sh::run(&mut sh::command("cargo", &["deny", "--all-features", "fetch", "db"])).is_ok() {
        return sh::run(&mut sh::command("cargo", &["deny", "--all-features", "check"]));
    }
    println!("advisories skipped: their database could not be fetched");
    sh::run(&mut sh::command("cargo", &["deny", "--all-features", "check", "bans", "licenses", "sources"]))
}
