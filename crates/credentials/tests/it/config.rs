use std::sync::Arc;

use portunus_auth_core::ConfigProblem;
use portunus_auth_core::secret::ExposeSecret;
use portunus_credentials::{Credential, CredentialProvider, ProviderConfig};

use crate::support::{Env, clock, text};

fn env() -> Env {
    Env::of(&[("TOKEN", "canary-1"), ("SECRET", "canary-2"), ("/key", "canary-3\n")])
}

fn build(toml: &str) -> Result<Arc<dyn CredentialProvider>, ConfigProblem> {
    let config: ProviderConfig = toml::from_str(toml).unwrap();
    config.build(&env(), clock())
}

fn problem(toml: &str) -> ConfigProblem {
    build(toml).unwrap_err()
}

#[tokio::test]
async fn the_simple_sources_are_built() {
    for (toml, token) in [
        (
            r#"source = "static-token"
            token = "${env:TOKEN}""#,
            "canary-1",
        ),
        (
            r#"source = "static-token"
            token = "${file:/key}""#,
            "canary-3",
        ),
        (
            r#"source = "env"
            var = "SECRET""#,
            "canary-2",
        ),
    ] {
        assert_eq!(text(&build(toml).unwrap().resolve().await.unwrap()), token);
    }
}

#[tokio::test]
async fn a_key_has_its_header() {
    for (line, name) in [("", "x-api-key"), ("header = \"Api-Key\"\n", "api-key")] {
        let provider = build(&format!("source = \"api-key\"\n{line}key = \"${{TOKEN}}\"")).unwrap();
        match provider.resolve().await.unwrap() {
            Credential::ApiKey { header, value } => {
                assert_eq!((header.as_str(), value.expose_secret()), (name, "canary-1"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_is_read_when_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let provider = build(&format!("source = \"file\"\npath = {path:?}")).unwrap();
    std::fs::write(&path, "late").unwrap();
    assert_eq!(text(&provider.resolve().await.unwrap()), "late");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (toml, at) in [
        (
            r#"source = "static-token"
            token = "${env:UNSET}""#,
            "token",
        ),
        (
            r#"source = "static-token"
            token = "${file:/none}""#,
            "token",
        ),
        (
            r#"source = "api-key"
            key = "${UNSET}""#,
            "key",
        ),
        (
            r#"source = "api-key"
            header = "no header"
            key = "${TOKEN}""#,
            "header",
        ),
        (
            r#"source = "env"
            var = "UNSET""#,
            "var",
        ),
    ] {
        assert_eq!(problem(toml).at, at, "{toml}");
    }
}

#[test]
fn literals_and_unknown_keys_are_refused_without_repeating_them() {
    for toml in [
        r#"source = "static-token"
           token = "sk-canary""#,
        r#"source = "api-key"
           key = "sk-canary""#,
        r#"source = "env"
           var = "A"
           extra = "sk-canary""#,
        r#"token = "sk-canary""#,
        r#"source = "other"
           token = "sk-canary""#,
    ] {
        let error = toml::from_str::<ProviderConfig>(toml).unwrap_err();
        assert!(!error.message().contains("canary"), "{}", error.message());
    }
}

#[cfg(feature = "bedrock-auth")]
#[test]
fn aws_is_checked_when_it_is_built() {
    let keys = r#"source = "aws-keys"
        access_key_id = "${TOKEN}"
        secret_access_key = "${SECRET}"
    "#;
    for fixed in [keys, "source = \"bedrock-api-key\"\nkey = \"${TOKEN}\""] {
        let provider = build(fixed).unwrap();
        assert!(!provider.renews() && provider.held().is_some());
        assert!(!format!("{provider:?}").contains("canary"));
    }
    assert_eq!(problem(&keys.replace("SECRET", "UNSET")).at, "secret_access_key");
    let role = r#"source = "aws-web-identity"
        role_arn = "arn:aws:iam::123456789012:role/r"
        token_file = "/var/run/token"
    "#;
    assert!(build(role).unwrap().renews());
    assert!(build(&format!("{role}dual_stack = true\nfips = true\nduration_seconds = 900")).is_ok());
    for (line, at) in [
        ("region = \"evil.example/\"", "region"),
        ("endpoint = \"http://sts.example.com\"", "endpoint"),
        ("endpoint = \"https://sts.example.com\"\nfips = true", "endpoint"),
        ("duration_seconds = 899", "duration_seconds"),
    ] {
        assert_eq!(problem(&format!("{role}{line}")).at, at, "{line}");
    }
}

const AZURE: &str = r#"source = "azure"
    tenant_id = "contoso.example"
    client_id = "app"
    client_secret = "${SECRET}"
"#;

#[cfg(not(feature = "azure-auth"))]
#[test]
fn without_the_feature_azure_names_it() {
    assert!(problem(AZURE).says.contains("azure-auth"));
}

#[cfg(feature = "azure-auth")]
#[test]
fn azure_is_checked_when_it_is_built() {
    let provider = build(AZURE).unwrap();
    assert!(provider.renews());
    assert!(!format!("{provider:?}").contains("canary"));
    assert_eq!(problem(&AZURE.replace("contoso.example", "../x")).at, "tenant_id");
    assert_eq!(problem(&AZURE.replace("SECRET", "UNSET")).at, "client_secret");
    for authority in
        ["http://login.example.com", "https://u:canary@login.example.com", "login", "https://a/?b"]
    {
        let problem = problem(&format!("{AZURE}authority = \"{authority}\""));
        assert_eq!(problem.at, "authority", "{authority}");
        assert!(!problem.says.contains("canary"));
    }
}

#[cfg(feature = "azure-auth")]
#[test]
fn a_workload_identity_needs_no_secret() {
    let workload = AZURE
        .replace("\"azure\"", "\"azure-workload-identity\"")
        .replace("client_secret = \"${SECRET}\"", "token_file = \"/var/run/token\"");
    assert!(build(&workload).unwrap().renews());
    assert_eq!(problem(&workload.replace("contoso.example", "../x")).at, "tenant_id");
    assert!(toml::from_str::<ProviderConfig>(&workload.replace("token_file", "client_secret")).is_err());
}
