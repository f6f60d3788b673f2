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
    nextest.args(["-E", "test(vectors::) and not package(xtask)"]);
    nextest.env("PORTUNUS_VECTORS", folder).env("PORTUNUS_VECTORS_REPORT", &reports);
    let passed = sh::run(&mut nextest);

    let written = std::fs::read_dir(&reports)?.map(|file| Ok(std::fs::read_to_string(file?.path())?));
    let found = verdict(written.collect::<Result<_>>()?, name);
    // A test that crashed before it reported matters more than what the others reported.
    passed.and(found)
}

/// The reports on the corpora that have `name` in theirs; printed, whatever they say.
fn verdict(mut reports: Vec<String>, name: Option<&str>) -> Result<Vec<String>> {
    let corpus = |report: &str| report.split(':').next().unwrap_or_default().to_owned();
    reports.retain(|report| name.is_none_or(|name| corpus(report).contains(name)));
    reports.sort();
    for report in &reports {
        println!("{}", report.trim_end());
    }
    if reports.is_empty() {
        let wanted = name.map_or_else(String::new, |name| format!(" with `{name}` in its name"));
        return Err(
            format!("no corpus{wanted} was run; is there a test in a module `vectors` for it?").into()
        );
    }
    if reports.iter().any(|report| report.contains("\n  failed: ")) {
        return Err("some vectors failed; they are listed above".into());
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_case_or_no_corpus_at_all_is_an_error() {
        let good = || vec!["sigv4: 19 of 19\n".to_owned(), "jose/jwk: 16 of 16\n".to_owned()];
        assert_eq!(verdict(good(), None).unwrap(), ["jose/jwk: 16 of 16\n", "sigv4: 19 of 19\n"]);
        assert_eq!(verdict(good(), Some("jose")).unwrap(), ["jose/jwk: 16 of 16\n"]);
        assert!(verdict(good(), Some("of")).is_err());
        assert!(verdict(vec![], None).is_err());
        let bad = "jose: 1 of 2\n  failed: 7\n".to_owned();
        assert!(verdict([good(), vec![bad.clone()]].concat(), None).is_err());
        assert!(verdict(vec![bad], Some("sigv4")).is_err());
    }
}
