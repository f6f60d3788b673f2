//! Rules for Rust code: how long things are, and which words stand where.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{Exception, Room, Rules};
use super::source::Source;
use super::{Finding, RULES};

pub(crate) fn check(rules: &Rules, files: &BTreeMap<String, String>) -> Vec<Finding> {
    let rust = files.iter().filter(|(name, _)| name.ends_with(".rs"));
    let sources: BTreeMap<&str, Source> = rust.map(|(name, text)| (&**name, Source::read(text))).collect();
    let tests = test_files(&sources);
    let mut findings = budgets(rules, &sources, &tests);
    for room in &rules.rooms {
        findings.extend(words_out_of_place(room, &sources, &tests));
    }
    for never in &rules.never {
        for (file, source) in &sources {
            for (line, _) in source.lines_with(&never.says) {
                findings.push(Finding::new(file, line, format!("`{}`", never.says), &never.instead));
            }
        }
    }
    findings.extend(crate_docs(files));
    findings
}

/// The files that hold tests only: in a folder for them, or declared as `#[cfg(test)] mod NAME;`.
fn test_files<'a>(sources: &BTreeMap<&'a str, Source>) -> BTreeSet<&'a str> {
    let mut modules = Vec::new();
    for (file, source) in sources {
        let folder = ["lib.rs", "main.rs", "mod.rs"].iter().find_map(|root| file.strip_suffix(root));
        let folder = folder.map_or_else(|| file.replace(".rs", "/"), str::to_owned);
        modules.extend(source.test_modules.iter().map(|module| format!("{folder}{module}")));
    }
    let is_test = |file: &str| {
        ["/tests/", "/benches/", "/examples/"].iter().any(|folder| file.contains(folder))
            || modules.iter().any(|module| {
                file.strip_prefix(&**module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            })
    };
    sources.keys().copied().filter(|file| is_test(file)).collect()
}

fn budgets(rules: &Rules, sources: &BTreeMap<&str, Source>, tests: &BTreeSet<&str>) -> Vec<Finding> {
    let mut found = Longest { exceptions: &rules.exceptions, used: BTreeSet::new(), findings: Vec::new() };
    let mut packages: BTreeMap<&str, usize> = BTreeMap::new();
    for (file, source) in sources {
        for function in &source.functions {
            let name = Some(function.name.as_str());
            found.check(file, name, function.line, function.lines, rules.budgets.function);
        }
        if !tests.contains(file) {
            found.check(file, None, 1, source.plain_lines(), rules.budgets.file);
            if let Some((package, _)) = file.split_once("/src/") {
                *packages.entry(package).or_default() += source.plain_lines();
            }
        }
    }
    for (package, lines) in packages {
        found.check(package, None, 1, lines, rules.budgets.package);
    }
    found.finish()
}

/// Compares lengths with budgets, and keeps track of which exceptions are needed.
struct Longest<'a> {
    exceptions: &'a [Exception],
    used: BTreeSet<usize>,
    findings: Vec<Finding>,
}

impl Longest<'_> {
    fn check(&mut self, path: &str, function: Option<&str>, line: usize, lines: usize, budget: usize) {
        if lines <= budget {
            return;
        }
        let excepted = |e: &Exception| e.path == path && e.function.as_deref() == function;
        let exception = self.exceptions.iter().position(excepted);
        self.used.extend(exception);
        let budget = exception.map_or(budget, |at| self.exceptions[at].lines);
        if lines > budget {
            let name = function.map_or_else(|| "this".to_owned(), |name| format!("`{name}`"));
            let what = format!("{name} has {lines} lines, {budget} are allowed");
            let todo = format!("split it where an idea ends, or give a reason in {RULES}");
            self.findings.push(Finding::new(path, line, what, todo));
        }
    }

    fn finish(mut self) -> Vec<Finding> {
        for (at, exception) in self.exceptions.iter().enumerate() {
            let what = format!(
                "the exception for {} {}",
                exception.path,
                exception.function.as_deref().unwrap_or("")
            );
            if !self.used.contains(&at) {
                self.findings.push(Finding::new(RULES, 1, format!("{what}is not needed"), "remove it"));
            }
            if exception.reason.trim().is_empty() {
                self.findings.push(Finding::new(RULES, 1, format!("{what}has no reason"), "give one"));
            }
        }
        self.findings
    }
}

/// Tests may say the words: they compare what the code under test opened.
fn words_out_of_place(room: &Room, sources: &BTreeMap<&str, Source>, tests: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut needed = BTreeSet::new();
    for (file, source) in sources.iter().filter(|(file, _)| !tests.contains(*file)) {
        let entry = room.files.iter().find(|admitted| admitted.is(file));
        for says in &room.says {
            for (line, _) in source.lines_with(says).filter(|(_, test)| !test) {
                needed.extend(entry.map(|entry| &*entry.path));
                if entry.is_none() {
                    let what = format!("`{says}` outside the files for what {}", room.name);
                    findings.push(Finding::new(file, line, what, &room.instead));
                }
            }
        }
    }
    for admitted in &room.files {
        let what = format!("{} may hold what {}, but", admitted.path, room.name);
        if !needed.contains(&*admitted.path) {
            findings.push(Finding::new(RULES, 1, format!("{what} does not"), "remove the entry"));
        }
        if admitted.reason.trim().is_empty() {
            findings.push(Finding::new(RULES, 1, format!("{what} the entry has no reason"), "give one"));
        }
    }
    findings
}

/// A crate's README is its documentation, so that its examples are compiled and run.
fn crate_docs(files: &BTreeMap<String, String>) -> Vec<Finding> {
    const FIRST: &str = "#![doc = include_str!(\"../README.md\")]";
    let libraries = files.iter().filter(|(name, _)| name.ends_with("/src/lib.rs"));
    let wrong = libraries.filter(|(_, text)| text.lines().next() != Some(FIRST));
    wrong
        .map(|(name, _)| {
            Finding::new(name, 1, "not the README as documentation", format!("begin with `{FIRST}`"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(more: &str) -> Rules {
        let text = format!(
            "{more}\n[budgets]\nfile = 6\nfunction = 3\ncrate = 8\n[layers]\n[[room]]\nname = \"opens\"\nsays = [\".expose()\"]\ninstead = \"pass it on\"\nfiles = [{{ path = \"c/src/secret.rs\", reason = \"it is one\" }}]\n"
        );
        toml::from_str(&text).unwrap()
    }

    fn found(more: &str, files: &[(&str, &str)]) -> Vec<String> {
        let mut files: BTreeMap<String, String> =
            files.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        files.entry("c/src/secret.rs".into()).or_insert("fn a() { b.expose() }\n".into());
        check(&rules(more), &files).iter().map(Finding::to_string).collect()
    }

    const NEVER: &str = "never = []\n";

    #[test]
    fn nothing_is_found_in_good_code() {
        assert_eq!(
            found(NEVER, &[("c/src/a.rs", "fn a() {\n}\n#[cfg(test)]\nmod tests {\n b.expose()\n\n\n\n}\n")]),
            [""; 0]
        );
    }

    #[test]
    fn long_functions_files_and_crates_are_found() {
        let long = found(NEVER, &[("c/src/a.rs", "fn a() {\n\n\n}\n\n\n\n\n")]);
        assert_eq!(long.len(), 3, "{long:?}");
        assert!(long[0].starts_with("c/src/a.rs:1: `a` has 4 lines, 3 are allowed; "), "{long:?}");
        assert!(long[1].starts_with("c/src/a.rs:1: this has 8 lines, 6 are allowed; "), "{long:?}");
        assert!(long[2].starts_with("c:1: this has 9 lines, 8 are allowed; "), "{long:?}");
    }

    #[test]
    fn an_exception_has_a_use_and_a_reason() {
        let exception = |function: &str, reason: &str| {
            format!(
                "{NEVER}exception = [{{ path = \"c/src/a.rs\", function = \"{function}\", lines = 4, reason = \"{reason}\" }}]"
            )
        };
        let file = [("c/src/a.rs", "fn a() {\n\n\n}\n")];
        assert_eq!(found(&exception("a", "a table"), &file), [""; 0]);
        assert_eq!(found(&exception("a", " "), &file).len(), 1);
        assert_eq!(found(&exception("b", "a table"), &file).len(), 2);
    }

    #[test]
    fn words_stay_in_their_room() {
        let out = found(NEVER, &[("c/src/a.rs", "\nfn a() { b.expose() }\n")]);
        assert_eq!(out, ["c/src/a.rs:2: `.expose()` outside the files for what opens; pass it on"]);
        let unused = found(NEVER, &[("c/src/secret.rs", "")]);
        assert_eq!(unused.len(), 1, "{unused:?}");
    }

    #[test]
    fn a_room_may_have_a_folder() {
        let mut rules = rules(NEVER);
        rules.rooms[0].files[0].path = "c/src/".into();
        let sources = BTreeMap::from([("c/src/a/b.rs", Source::read("fn a() { b.expose() }\n"))]);
        assert_eq!(words_out_of_place(&rules.rooms[0], &sources, &BTreeSet::new()), []);
        rules.rooms[0].files[0].path = "c/src".into();
        assert_eq!(words_out_of_place(&rules.rooms[0], &sources, &BTreeSet::new()).len(), 2);
    }

    #[test]
    fn tests_in_other_files_are_known_by_their_declaration_or_folder() {
        let text = "fn a() { b.expose() }\n";
        let files = [
            ("c/src/a.rs", "#[cfg(test)]\nmod kit;\n"),
            ("c/src/a/kit.rs", text),
            ("c/src/a/kit/deep.rs", text),
            ("c/tests/it/main.rs", text),
        ];
        assert_eq!(found(NEVER, &files), [""; 0]);
        assert_eq!(found(NEVER, &[("c/src/a.rs", "mod kit;\n"), ("c/src/a/kit.rs", text)]).len(), 1);
    }

    #[test]
    fn forbidden_words_are_found_in_tests_too() {
        let never = "never = [{ says = \"#[ignore\", instead = \"run it or delete it\" }]\n";
        let out = found(never, &[("c/tests/a.rs", "// #[ignore]\n#[ignore = \"slow\"]\nfn a() {}\n")]);
        assert_eq!(out, ["c/tests/a.rs:2: `#[ignore`; run it or delete it"]);
    }

    #[test]
    fn a_library_begins_with_its_readme() {
        assert_eq!(found(NEVER, &[("c/src/lib.rs", "#![doc = include_str!(\"../README.md\")]\n")]), [""; 0]);
        assert_eq!(found(NEVER, &[("c/src/lib.rs", "//! A library.\n")]).len(), 1);
    }
}
