//! `cargo xtask interop`: what the clouds' own libraries send for the same inputs, compared with what we
//! send.

use std::process::Command;

use crate::{Result, setup, sh};

/// # Errors
/// When one of the libraries cannot be installed, or differs from us.
pub(crate) fn run() -> Result {
    let example = ["build", "-p", "portunus-credentials", "--example", "ask", "--all-features"];
    sh::run(&mut sh::command("cargo", &example))?;
    let python = setup::python("interop-venv", setup::ORACLES)?;
    let mut checks = Command::new(python);
    checks.arg("tests/interop/outbound.py").arg("target/debug/examples/ask").current_dir(sh::root());
    // Their metadata and token requests go to this machine; a proxy would only be in the way.
    checks.env("NO_PROXY", "127.0.0.1,localhost");
    sh::run(&mut checks)
}
