//! A wrong configuration is refused at start, with file, line and reason.

use std::path::Path;

use portunus_gateway::{Server, check};

use crate::world::{Secrets, config};

fn write(folder: &Path, text: &str) -> std::path::PathBuf {
    let path = folder.join("portunus.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn good(folder: &Path) -> String {
    config(folder, "http://127.0.0.1:9", "http://127.0.0.1:8", "")
}

#[test]
fn the_usual_configuration_is_good() {
    let folder = tempfile::tempdir().unwrap();
    check(&write(folder.path(), &good(folder.path())), &Secrets::usual()).unwrap();
}

/// Each change, and what the refusal must say.
const WRONG: [(&str, &str, &str); 24] = [
    ("workers = 2", "worker = 2", "unknown field `worker`"),
    ("workers = 2", "workers = 0", "wrong value"),
    ("token_ttl = \"1h\"", "token_ttl = \"soon\"", ""),
    ("audience = \"portunus\"", "audience = \"\"", "audience"),
    ("\"${env:ADMIN}\"", "\"${env:NOT_SET}\"", "`NOT_SET` is not set"),
    ("\"${env:PROVIDER_SECRET}\"", "\"sk-canary-literal\"", "by reference only"),
    ("\"${env:STATIC_KEY}\"", "\"${file:/nonexistent/key}\"", "/nonexistent/key"),
    ("name = \"slow\"", "name = \"standard\"", "used twice"),
    ("name = \"mock-anthropic\"", "name = \"mock-openai\"", "used twice"),
    (
        "name = \"claude-*\"\nprovider_model = \"mock-anthropic/*\"",
        "name = \"gpt-4o*\"\nprovider_model = \"mock-openai/*\"",
        "the same model",
    ),
    ("upstreams = [\"*-anthropic\"]", "upstreams = [\"*-antropic\"]", "no provider like `*-antropic`"),
    ("tier = \"standard\", ttl", "upstreams = [], tier = \"standard\", ttl", "without an upstream"),
    ("tier = \"standard\", ttl", "tier = \"fast\", ttl", "there is no tier `fast`"),
    ("match = { issuer = \"idp\"", "match = { issuer = \"nobody\"", "no entry of `[[issuers]]`"),
    ("match = { issuer = \"idp\", groups = [\"eng\"] }", "match = { issuer = \"idp\" }", ""),
    (
        "provider_model = \"mock-anthropic/*\"",
        "provider_model = \"nowhere/*\"",
        "there is no provider `nowhere`",
    ),
    ("provider_model = \"mock-anthropic/*\"", "provider_model = \"mock-anthropic\"", "PROVIDER/MODEL"),
    ("base_url = \"http://127.0.0.1:9/v1\"", "base_url = \"http://example.com/v1\"", "must be https"),
    ("issuer = \"http://127.0.0.1:8\"", "issuer = \"http://idp.example\"", "https"),
    ("url = \"file:", "url = \"redis:", "`memory:` or `file:PATH`"),
    (
        "provider_type = \"openai\"",
        "provider_type = \"openai\"\nforward_headers = [\"authorization\"]",
        "never reaches a provider",
    ),
    (
        "provider_type = \"openai\"",
        "provider_type = \"openai\"\nforward_headers = [\"dpop\"]",
        "never reaches a provider",
    ),
    ("name = \"secret-model\"", "name = \"renamed\"", "the same model as the third one"),
    ("requests_per_minute = 3", "requests_per_minute = 0", "wrong value"),
];

#[test]
fn every_mistake_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let good = good(folder.path());
    for (from, to, says) in WRONG {
        assert!(good.contains(from), "{from}");
        let wrong = good.replacen(from, to, 1);
        let path = write(folder.path(), &wrong);
        let error = check(&path, &Secrets::usual()).unwrap_err().to_string();
        assert!(error.contains(says), "{to}: {error}");
        assert!(!error.contains("canary"), "{error}");
        let place = error.strip_prefix(&format!("{}:", path.display()));
        let line: usize = place.unwrap().split(':').next().unwrap().parse().unwrap();
        let changed = good.lines().zip(wrong.lines()).position(|(a, b)| a != b).unwrap() + 1;
        assert!(
            (changed.saturating_sub(1)..=changed + 1).contains(&line),
            "{to}: line {line}, changed {changed}: {error}"
        );
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = good(folder.path())
        .replace("name = \"slow\"", "name = \"standard\"")
        .replace("mock-anthropic/*", "nowhere/*");
    let error = check(&write(folder.path(), &wrong), &Secrets::usual()).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 2, "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = check(Path::new("/nonexistent/portunus.toml"), &Secrets::usual()).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/portunus.toml: cannot be read"), "{error}");
}

#[tokio::test]
async fn a_store_or_an_audit_that_cannot_be_opened_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let good = good(folder.path());
    for (from, to, place) in [
        ("/keys.redb", "/missing/keys.redb", ":8:"),
        ("file:", "postgres:", ":8:"),
        ("/audit.jsonl", "/missing/audit.jsonl", ":11:"),
    ] {
        let path = write(folder.path(), &good.replacen(from, to, 1));
        let error = Server::start(&path, &Secrets::usual()).await.unwrap_err().to_string();
        assert!(error.contains(place), "{to}: {error}");
    }
}

#[test]
fn built_in_providers_read_their_vendors_variables() {
    let folder = tempfile::tempdir().unwrap();
    let more = "[[models]]\nname = \"o1\"\nprovider_model = \"openai/o1\"\n[[models]]\nname = \"claude-3-opus\"\nprovider_model = \"anthropic/claude-3-opus\"\n[[models]]\nname = \"azure-gpt\"\nprovider_model = \"azure/gpt-4o\"\napi_key = \"${AZURE_AD_TOKEN}\"\n";
    let path = write(folder.path(), &(good(folder.path()) + more));
    let error = check(&path, &Secrets::usual()).unwrap_err().to_string();
    for variable in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AZURE_AD_TOKEN"] {
        assert!(error.contains(variable), "{error}");
    }
    let secrets = Secrets::usual()
        .with("OPENAI_API_KEY", "sk-a")
        .with("ANTHROPIC_API_KEY", "sk-b")
        .with("AZURE_AD_TOKEN", "c")
        .with("AZURE_OPENAI_ENDPOINT", "https://acme.openai.azure.com/");
    check(&path, &secrets).unwrap();
}
