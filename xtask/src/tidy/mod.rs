//! `cargo xtask tidy`: the house rules that need no compiler.

mod code;
mod manifests;
mod rules;
mod source;
mod texts;

use std::fmt;

use crate::{Result, sh};

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    file: String,
    line: usize,
    what: String,
    todo: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { file: file.into(), line, what: what.into(), todo: todo.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.file, self.line, self.what, self.todo)
    }
}

/// Where the rules are.
const RULES: &str = "xtask/tidy.toml";

/// # Errors
/// When something breaks a rule.
pub(crate) fn run() -> Result {
    let rules: rules::Rules = toml::from_str(&std::fs::read_to_string(sh::root().join(RULES))?)
        .map_err(|error| format!("{RULES}: {error}"))?;
    let files = texts::tracked()?;
    let mut findings = manifests::check(&rules, &files)?;
    findings.extend(code::check(&rules, &files));
    findings.extend(texts::check(&files));
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing found", files.len());
        return Ok(());
    }
    Err(format!("tidy: {} findings; each line above says what to do", findings.len()).into())
}
