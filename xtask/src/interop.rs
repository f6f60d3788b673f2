//! `cargo xtask interop`: other people's clients and servers. What the clouds' own libraries send for the same
//! inputs is compared with what we send; a certified provider issues the identity tokens that we exchange, and generic
//! clients use the key server by what it says about itself; the vendors' SDKs take the mock for each of their services.

use std::process::Command;

use crate::{Result, setup, sh};

/// # Errors
/// When one of the others cannot be installed, or differs from us.
pub(crate) fn run() -> Result {
    let example = ["build", "-p", "portunus-credentials", "--example", "ask", "--all-features"];
    sh::run(&mut sh::command("cargo", &example))?;
    sh::run(&mut sh::command("cargo", &["build", "-p", "portunus"]))?;
    sh::run(&mut sh::command("cargo", &["build", "-p", "portunus-mock", "--example", "serve"]))?;
    let debug = sh::root().join("target/debug");
    // All of it goes to this machine; a proxy would only be in the way.
    let near = ("NO_PROXY", "127.0.0.1,localhost");

    let python = setup::python("interop-venv", setup::ORACLES)?;
    let mut outbound = Command::new(&python);
    outbound.args(["-W", "ignore::DeprecationWarning", "tests/interop/outbound.py"]).current_dir(sh::root());
    let outbound = sh::run(outbound.arg(debug.join("examples/ask")).env(near.0, near.1));

    let mut providers = Command::new(&python);
    providers.args(["-W", "ignore", "tests/interop/providers.py"]).current_dir(sh::root());
    let providers = sh::run(providers.arg(debug.join("examples/serve")));

    let scripts = setup::node("tests/interop")?;
    let mut inbound = Command::new(scripts.join("node_modules/.bin/node"));
    inbound.arg("inbound.mjs").args([&debug.join("portunus"), &python]).current_dir(&scripts);
    let inbound = sh::run(inbound.env(near.0, near.1));
    outbound.and(providers).and(inbound)
}
