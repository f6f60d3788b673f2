//! `cargo xtask features`: whoever takes one crate, with one feature, gets something that compiles.

use cargo_metadata::MetadataCommand;

use crate::{Result, sh};

/// # Errors
/// Naming the first combination that does not compile.
pub(crate) fn run() -> Result {
    let workspace = MetadataCommand::new().current_dir(sh::root()).no_deps().exec()?;
    for package in workspace.workspace_packages() {
        check(&package.name, None)?;
        for feature in package.features.keys().filter(|name| *name != "default") {
            check(&package.name, Some(feature))?;
        }
    }
    Ok(())
}

fn check(package: &str, feature: Option<&str>) -> Result {
    let mut command = sh::command("cargo", &["check", "--quiet", "-p", package, "--no-default-features"]);
    if let Some(feature) = feature {
        command.args(["--features", feature]);
    }
    sh::run(&mut command).map_err(|_| {
        let with = feature.map_or_else(|| "no feature".into(), |name| format!("the feature `{name}` alone"));
        format!("{package} does not compile with {with}; make the code or the feature list say what it needs")
            .into()
    })
}
