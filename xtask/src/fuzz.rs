//! `cargo xtask fuzz`: what strangers send, fuzzed, on the stable toolchain.

use crate::{Result, setup, sh};

const TARGETS: [&str; 8] =
    ["jwt", "jwks", "discovery", "config", "claims", "token_request", "verify", "dpop"];

/// Each target for a while: enough to find what a change has broken, not what nobody has thought of.
///
/// # Errors
/// When a target cannot be built, or crashes.
pub(crate) fn smoke() -> Result {
    setup::cargo_tool("fuzz")?;
    for target in TARGETS {
        run(target, &["-max_total_time=15", "-max_len=4096"])?;
    }
    Ok(())
}

/// One target, until it is stopped.
///
/// # Errors
/// When there is no such target, or it crashes.
pub(crate) fn endless(target: &str) -> Result {
    if !TARGETS.contains(&target) {
        return Err(format!("there is no target `{target}`; there are {}", TARGETS.join(", ")).into());
    }
    setup::cargo_tool("fuzz")?;
    run(target, &["-max_len=16384"])
}

fn run(target: &str, options: &[&str]) -> Result {
    let corpus = format!("fuzz/corpus/{target}");
    std::fs::create_dir_all(sh::root().join(&corpus))?;
    let seeds = format!("fuzz/seeds/{target}");
    let mut fuzz =
        sh::command("cargo", &["fuzz", "run", "--sanitizer", "none", "--target-dir", "target/fuzz", target]);
    sh::run(fuzz.args([&corpus, &seeds]).arg("--").args(options))
}
