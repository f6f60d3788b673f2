//! `cargo xtask ci`: the whole gate.

use crate::steps::Steps;
use crate::{Result, deny, features, interop, sh, test, tidy};

/// # Errors
/// When a step failed; the summary says which.
pub(crate) fn run() -> Result {
    let mut steps = Steps::default();
    let mut step = |name, run: &dyn Fn() -> Result| steps.step(name, || run().map(|()| Vec::new()));
    step("fmt", &|| {
        cargo("fmt --all --check")?;
        cargo(&format!("fmt --check --manifest-path {}", interop::CLIENTS))
    });
    step("lint", &|| cargo("clippy --workspace --all-targets --all-features -- -D warnings"));
    step("tidy", &tidy::run);
    step("test", &test::run);
    step("docs", &|| {
        let mut doc = sh::command("cargo", &["doc", "--no-deps", "--workspace", "--all-features"]);
        sh::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    });
    step("features", &features::run);
    step("deny", &deny::run);
    steps.finish()
}

fn cargo(arguments: &str) -> Result {
    sh::run(&mut sh::command("cargo", &arguments.split(' ').collect::<Vec<_>>()))
}
