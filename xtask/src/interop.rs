//! `cargo xtask interop`: other people's clients and servers. What the clouds' own libraries send for the same
//! inputs is compared with what we send; a certified provider issues the identity tokens that we exchange, and generic
//! clients use the key server by what it says about itself; the vendors' SDKs take the mock for each of their services,
//! and OAuth clients in three languages sign in at its OAuth server.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::Process;
use crate::steps::Steps;
use crate::{Result, setup, sh};

/// Rust clients that the product must not depend on.
pub(crate) const CLIENTS: &str = "tests/interop/clients/Cargo.toml";
/// The credentials that the mock admits, as the scripts know them.
const MOCK: [&str; 3] = ["0", "test-key", "AKIDEXAMPLE:secr/et+x"];

/// # Errors
/// When one of the others cannot be installed, or differs from us.
pub(crate) fn run() -> Result {
    build()?;
    let python = setup::python("interop-venv", setup::ORACLES)?;
    let scripts = setup::node("tests/interop")?;
    let node = scripts.join("node_modules/.bin/node");
    let debug = sh::root().join("target/debug");
    let (_mock, mock) = serve(&debug.join("examples/serve"), &MOCK)?;
    let (_idp, idp) = serve(&debug.join("examples/idp"), &["0"])?;

    let mut steps = Steps::default();
    let mut step = |name, program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(if program == node { &*scripts } else { sh::root() });
        // All of it goes to this machine; a proxy would only be in the way.
        command.env("NO_PROXY", "127.0.0.1,localhost").env("PYTHONWARNINGS", "ignore");
        steps.step(name, || sh::run(&mut command).map(|()| Vec::new()));
    };
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let (ask, portunus) = (path(&debug.join("examples/ask")), path(&debug.join("portunus")));
    step("outbound", &python, &["tests/interop/outbound.py", &ask]);
    step("inbound", &node, &["inbound.mjs", &portunus, &path(&python)]);
    step("SDKs, Python", &python, &["tests/interop/providers.py", &mock]);
    step("SDKs, npm", &node, &["providers.mjs", &mock]);
    step("OAuth, Python", &python, &["tests/interop/oauth.py", &idp]);
    step("OAuth, npm", &node, &["oauth.mjs", &idp]);
    step("both, Rust", &debug.join("portunus-interop"), &[&mock, &idp]);
    steps.finish()
}

fn build() -> Result {
    let cargo =
        |arguments: &str| sh::run(&mut sh::command("cargo", &arguments.split(' ').collect::<Vec<_>>()));
    cargo("build -p portunus-credentials --example ask --all-features")?;
    cargo("build -p portunus")?;
    cargo("build -p portunus-mock --example serve --example idp")?;
    cargo(&format!("clippy --locked --manifest-path {CLIENTS} --target-dir target -- -D warnings"))?;
    cargo(&format!("build --locked --manifest-path {CLIENTS} --target-dir target"))
}

/// Starts a server of ours; answers its address, which it prints once it listens.
fn serve(program: &Path, arguments: &[&str]) -> Result<(Process, String)> {
    let mut server = Process::start(Command::new(program).args(arguments).stdout(Stdio::piped()))?;
    let stdout = server.child().stdout.take().ok_or("the program has no standard output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let url = line.trim_end().strip_prefix("READY ");
    let url =
        url.ok_or_else(|| format!("{} did not get ready; its output above says why", program.display()))?;
    Ok((server, url.to_owned()))
}
