//! Rules for every text file, whatever its language.

use std::collections::BTreeMap;

use super::Finding;
use crate::{Result, sh};

/// The text files that are, or are about to be, under version control: name to content.
///
/// # Errors
/// When git cannot list them.
pub(crate) fn tracked() -> Result<BTreeMap<String, String>> {
    let listed =
        sh::output(&mut sh::command("git", &["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    // Neither a file that is being deleted nor one that is no text has anything to check.
    let read = |name: &str| std::fs::read_to_string(sh::root().join(name)).ok();
    Ok(listed.lines().filter_map(|name| Some((name.to_owned(), read(name)?))).collect())
}

pub(crate) fn check(files: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, text) in files {
        for (number, line) in text.lines().enumerate() {
            if let Some(path) = machine_path(line) {
                let what = format!("`{path}` is a path of one machine");
                findings.push(Finding::new(
                    name,
                    number + 1,
                    what,
                    "write a path relative to the repository",
                ));
            }
        }
    }
    let changes = files.get("CHANGELOG.md").map_or("", String::as_str);
    if !changes.lines().any(|line| matches!(line.trim_end(), "## Unreleased" | "## [Unreleased]")) {
        let todo = "add a section `## Unreleased` for what is not released yet";
        findings.push(Finding::new("CHANGELOG.md", 1, "no section `Unreleased`", todo));
    }
    findings
}

/// A folder that exists on some developer's machine only, where it begins a path.
fn machine_path(line: &str) -> Option<String> {
    let folders = ["work", "root", "home"].map(|name| format!("/{name}/"));
    folders.into_iter().find(|folder| {
        line.match_indices(folder.as_str()).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|c| !(c.is_alphanumeric() || "_-.}~$*/".contains(c)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_machine_is_found_where_it_begins() {
        let path = |name: &str| format!("/{name}/x");
        assert!(machine_path(&path("work")).is_some());
        assert!(machine_path(&format!("see `{}`", path("root"))).is_some());
        assert!(machine_path(&format!("HOME={}", path("home"))).is_some());
        for longer in ["https://example.com", "a", "${HOME}", ".."] {
            assert_eq!(machine_path(&format!("{longer}{}", path("work"))), None, "{longer}");
        }
    }

    #[test]
    fn the_changelog_must_have_a_place_for_what_is_new() {
        let with = |text: &str| check(&BTreeMap::from([("CHANGELOG.md".into(), text.into())])).len();
        assert_eq!((with("# Changelog\n\n## Unreleased\n"), with("## [Unreleased]\n")), (0, 0));
        assert_eq!((with("## 1.0.0\n"), with("The Unreleased\n")), (1, 1));
    }
}
