//! Test vectors that live outside the repository, and the report of how many pass.
//!
//! `cargo xtask vectors` sets `PORTUNUS_VECTORS` to their folder and `PORTUNUS_VECTORS_REPORT` to a
//! folder for the reports, runs every test in a module named `vectors`, and prints what they wrote.

use std::path::PathBuf;

/// The file `path` below the vectors' folder (`PORTUNUS_VECTORS`, or `../shared/vectors` beside the
/// workspace). Where it is absent, says so in one line and answers `None`: the test is skipped.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where the vectors lie")]
pub fn open(path: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("PORTUNUS_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")),
        PathBuf::from,
    );
    let found = std::fs::read(folder.join(path)).ok();
    if found.is_none() {
        println!("skipped: no test vectors at {path}");
    }
    found
}

/// Counts the verdicts on one corpus.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    total: usize,
    failed: Vec<String>,
}

impl Report {
    /// A report on the corpus of that name.
    pub fn on(name: &'static str) -> Self {
        Self { name, total: 0, failed: Vec::new() }
    }

    /// One case.
    pub fn case(&mut self, id: impl std::fmt::Display, passed: bool) {
        self.total += 1;
        if !passed {
            self.failed.push(id.to_string());
        }
    }

    /// Writes the report, `NAME: PASSED of TOTAL` and the ids that failed.
    ///
    /// # Panics
    /// When a case failed, or when there was none.
    #[expect(clippy::disallowed_methods, reason = "tests are told by the environment where to report")]
    pub fn finish(self) {
        let passed = self.total - self.failed.len();
        let mut line = format!("{}: {passed} of {}", self.name, self.total);
        for id in &self.failed {
            line.push_str("\n  failed: ");
            line.push_str(id);
        }
        println!("{line}");
        if let Some(folder) = std::env::var_os("PORTUNUS_VECTORS_REPORT") {
            let file = PathBuf::from(folder).join(self.name.replace(['/', ' '], "-") + ".txt");
            assert!(std::fs::write(&file, line + "\n").is_ok(), "cannot write {}", file.display());
        }
        assert!(self.total > 0, "{}: no case ran", self.name);
        assert!(self.failed.is_empty(), "{}: {} cases failed", self.name, self.failed.len());
    }
}
