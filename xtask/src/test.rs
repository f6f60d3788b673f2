//! `cargo xtask test`: every test there is, on a fresh machine.

use crate::steps::Steps;
use crate::{Result, e2e, setup, sh, vectors};

/// # Errors
/// When something failed; the summary says what.
pub(crate) fn run() -> Result {
    let mut steps = Steps::default();
    steps.step("set-up", || setup::cargo_tool("nextest").map(|()| Vec::new()));
    steps.step("tests", || {
        closing("nextest run --workspace --all-features --no-fail-fast", |line| {
            ["Summary [", "FAIL [", "SIGABRT ["].iter().any(|start| line.starts_with(start))
        })
    });
    steps.step("doctests", || {
        closing("test --doc --workspace --all-features --no-fail-fast", |line| {
            line.starts_with("Doc-tests") || line.starts_with("test result:")
        })
    });
    steps.step("vectors", || vectors::run(None));
    steps.step("e2e", || e2e::run().map(|()| Vec::new()));
    steps.finish()
}

/// Runs cargo and answers the lines that say how it ended.
fn closing(arguments: &str, says_how: fn(&str) -> bool) -> Result<Vec<String>> {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let (success, mut lines) = sh::tee(sh::command("cargo", &arguments))?;
    lines.retain(|line| says_how(line.trim()));
    lines.dedup();
    if success {
        return Ok(lines);
    }
    lines.push(format!("`cargo {}` failed; its output above says why", arguments.join(" ")));
    Err(lines.join("\n").into())
}
