//! `cargo xtask vectors`: the tests on data that lives outside the repository, and how much of it passes.

use std::path::PathBuf;

use crate::{Result, sh};

/// Runs every test in a module named `vectors` and answers one line for each corpus, with its failures;
/// with a name, for the corpora that have it in theirs.
///
/// # Errors
/// When a test or a case failed, or no corpus was run.
pub(crate) fn run(name: Option<&str>) -> Result<Vec<String>> {
    let folder =
        sh::variable("PORTUNUS_VECTORS").map_or_else(|| sh::root().join("../shared/vectors"), PathBuf::from);
    let Ok(folder) = folder.canonicalize() else {
        let line = "skipped: no test vectors here; set PORTUNUS_VECTORS to their folder";
        println!("{line}");
        return Ok(vec![line.into()]);
    };
    let reports = sh::root().join("target/vectors");
    if reports.exists() {
        std::fs::remove_dir_all(&reports)?;
    }
    std::fs::create_dir_all(&reports)?;
    let reports = reports.canonicalize()?;

    let mut nextest =
        sh::command("cargo", &["nextest", "run", "--workspace", "--all-features", "--no-fail-fast"]);
    nextest.args(["-E", "test(vectors::)"]);
    nextest.env("PORTUNUS_VECTORS", folder).env("PORTUNUS_VECTORS_REPORT", &reports);
    let passed = sh::run(&mut nextest);

    let mut lines = Vec::new();
    for file in std::fs::read_dir(&reports)? {
        let report = std::fs::read_to_string(file?.path())?;
        let corpus = report.split(':').next().unwrap_or_default();
        if name.is_none_or(|name| corpus.contains(name)) {
            lines.push(report.trim_end().to_owned());
        }
    }
    lines.sort();
    for line in &lines {
        println!("{line}");
    }
    passed?;
    if lines.is_empty() {
        let wanted = name.map_or_else(String::new, |name| format!(" with `{name}` in its name"));
        return Err(
            format!("no corpus{wanted} was run; is there a test in a module `vectors` for it?").into()
        );
    }
    if lines.iter().any(|report| report.contains("\n  failed: ")) {
        return Err("some vectors failed; they are listed above".into());
    }
    Ok(lines)
}
