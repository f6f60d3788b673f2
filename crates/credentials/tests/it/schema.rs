//! The JSON schema of a source's configuration, as it is committed for editors and other tools.

use std::collections::BTreeSet;
use std::path::PathBuf;

use portunus_credentials::ProviderConfig;
use serde_json::{Value, json};

fn schema() -> Value {
    schemars::schema_for!(ProviderConfig).to_value()
}

/// Set `UPDATE_SCHEMA=1` to write it anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "the person who runs the test says so by a variable")]
fn the_committed_schema_is_the_codes() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schema/provider-config.json");
    let written = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&file, &written).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == written, "run this test with UPDATE_SCHEMA=1, and commit {}", file.display());
}

/// What the schema says of each source, by its name.
fn variants() -> Vec<(String, Value)> {
    let schema = schema();
    let named = |variant: &Value| {
        (variant["properties"]["source"]["const"].as_str().unwrap().to_owned(), variant.clone())
    };
    schema["oneOf"].as_array().unwrap().iter().map(named).collect()
}

#[test]
fn it_has_every_source_with_all_its_settings_described() {
    let names: BTreeSet<_> = variants().into_iter().map(|(name, _)| name).collect();
    // serde lists the names that it knows when it is given another.
    let error = serde_json::from_value::<ProviderConfig>(json!({ "source": "none" })).unwrap_err();
    let listed = error.to_string();
    let listed: BTreeSet<_> = listed.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert_eq!(names, listed);
    for (name, variant) in variants() {
        for (setting, schema) in variant["properties"].as_object().unwrap() {
            let is_described = setting == "source" || schema["description"].is_string();
            assert!(is_described, "{name}: {setting} says nothing about itself");
        }
    }
}

#[test]
fn what_it_requires_is_what_the_code_requires() {
    for (name, variant) in variants() {
        let required = variant["required"].as_array().cloned().unwrap_or_default();
        let required: Vec<_> =
            required.iter().filter_map(Value::as_str).filter(|key| *key != "source").collect();
        let refused = |value: &Value| serde_json::from_value::<ProviderConfig>(value.clone()).is_err();
        let bare = json!({ "source": name });
        assert_eq!(refused(&bare), !required.is_empty(), "{name}: {required:?}");
        let more = json!({ "source": name, "nonsense": 1 });
        assert!(refused(&more), "{name} takes settings that it does not have");
    }
}
