//! Rules for manifests: who may use whom, and what every crate takes from the workspace.

use std::collections::BTreeMap;

use cargo_metadata::{Dependency, DependencyKind, MetadataCommand, Package};

use super::rules::{Layer, Rules};
use super::{Finding, RULES};
use crate::{Result, sh};

/// The crate that others use in tests only.
const MOCK: &str = "portunus-mock";

/// # Errors
/// When cargo cannot read the manifests.
pub(crate) fn check(rules: &Rules, files: &BTreeMap<String, String>) -> Result<Vec<Finding>> {
    let workspace = MetadataCommand::new().current_dir(sh::root()).no_deps().exec()?;
    let mut findings = Vec::new();
    for package in workspace.workspace_packages() {
        let manifest = package.manifest_path.strip_prefix(&workspace.workspace_root)?;
        let folder = manifest.parent().map_or("", |folder| folder.as_str());
        let text = files.get(manifest.as_str()).map_or("", String::as_str);
        let file = Manifest { name: manifest.as_str(), text, package };
        match rules.layers.get(&**package.name) {
            Some(layer) => findings.extend(file.layers(layer)),
            None => {
                findings.push(file.found("name", "is in no layer", format!("add it to [layers] in {RULES}")))
            }
        }
        findings.extend(file.inherited()?);
        if !files.contains_key(&format!("{folder}/README.md")) {
            findings.push(file.found(
                "readme",
                "has no README.md",
                "write one; it is the crate's documentation",
            ));
        }
    }
    Ok(findings)
}

struct Manifest<'a> {
    name: &'a str,
    text: &'a str,
    package: &'a Package,
}

impl Manifest<'_> {
    /// A finding on the first line that begins with `key`.
    fn found(&self, key: &str, what: impl std::fmt::Display, todo: impl Into<String>) -> Finding {
        let line = self.text.lines().position(|line| line.starts_with(key)).map_or(1, |at| at + 1);
        Finding::new(self.name, line, format!("{} {what}", self.package.name), todo)
    }

    fn layers(&self, layer: &Layer) -> Vec<Finding> {
        let inside = self.package.dependencies.iter().filter(|d| d.path.is_some());
        inside.filter_map(|dependency| self.layer(layer, dependency)).collect()
    }

    fn layer(&self, layer: &Layer, dependency: &Dependency) -> Option<Finding> {
        let name = &dependency.name;
        // A crate may also depend on itself there, to have its own test features.
        let for_tests = name == MOCK || *name == *self.package.name;
        if for_tests && dependency.kind == DependencyKind::Development {
            // A version would make cargo look for a published one before this crate can be published.
            let versioned = dependency.req.to_string() != "*";
            let todo = format!("write `{name} = {{ path = \"..\" }}`, without a version or `workspace`");
            return versioned.then(|| self.found(name, format!("uses {name} with a version"), todo));
        }
        if layer.uses.contains(name) {
            return None;
        }
        if layer.uses_optionally.contains(name) {
            let may = dependency.optional || dependency.kind == DependencyKind::Development;
            let todo = "make it optional, behind a feature";
            return (!may).then(|| self.found(name, format!("always uses {name}"), todo));
        }
        let todo =
            format!("move the code to a crate that both may use; [layers] in {RULES} says who may use whom");
        Some(self.found(name, format!("may not use {name}"), todo))
    }

    /// What a crate must not decide for itself.
    fn inherited(&self) -> Result<Vec<Finding>> {
        let manifest: toml::Table = self.text.parse().map_err(|error| format!("{}: {error}", self.name))?;
        let from_workspace = |table: &str, key: Option<&str>| {
            let table = manifest.get(table)?;
            key.map_or(Some(table), |key| table.get(key))?.get("workspace")?.as_bool()
        };
        let published = self.package.publish.as_ref().is_none_or(|registries| !registries.is_empty());
        let mut keys = vec!["version", "edition", "rust-version", "license"];
        keys.extend(published.then_some("keywords"));
        let mut findings = Vec::new();
        for key in keys {
            if from_workspace("package", Some(key)) != Some(true) {
                let todo = format!("write `{key}.workspace = true`");
                findings.push(self.found(key, format!("has its own `{key}`, or none"), todo));
            }
        }
        if from_workspace("lints", None) != Some(true) {
            let todo = "write `[lints]` and `workspace = true`";
            findings.push(self.found("[lints", "does not take the workspace's lints", todo));
        }
        if self.package.description.is_none() {
            findings.push(self.found("description", "has no description", "say in one line what it is"));
        }
        Ok(findings)
    }
}
