//! `portunus credentials test` says who answers, for whom and until when, and never what.

use std::path::Path;
use std::process::Output;

use portunus_mock::{EntraApp, Fault, FederationRule, GitHubJob, MockCloud, MockIdp, OpenAiMapping};

use crate::program::{portunus, run};

fn cloud() -> MockCloud {
    MockCloud::builder().entra(EntraApp::new("contoso", "app", "canary-secret")).build().unwrap()
}

fn configure(folder: &Path, cloud: &MockCloud, secret: &str) {
    std::fs::write(folder.join("secret"), secret).unwrap();
    std::fs::write(folder.join("token"), "canary-file").unwrap();
    let text = format!(
        r#"
[[providers]]
name = "from-entra"
provider_type = "azure"
base_url = "https://x.openai.azure.com/openai/v1"
credential = {{ source = "azure", tenant_id = "contoso", client_id = "app", client_secret = "${{file:secret}}", authority = "{}" }}

[[providers]]
name = "chained"
provider_type = "openai"
credential = {{ source = "chain", sources = [{{ source = "env", var = "UNSET" }}, {{ source = "file", path = "token" }}] }}

[[providers]]
name = "off"
provider_type = "openai"
api_key = "${{UNSET}}"
enabled = false
"#,
        cloud.url()
    );
    std::fs::write(folder.join("portunus.toml"), text).unwrap();
}

fn says(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8(text).unwrap();
    for secret in ["canary", "entra-mock-token", "sk-ant-oat01", "openai-mock-token", "eyJ"] {
        assert!(!text.contains(secret), "{text}");
    }
    (output.status.code(), text)
}

#[test]
fn every_provider_is_told_with_its_source_its_subject_and_its_end() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &cloud(), "canary-secret");
    let cloud = cloud();
    configure(folder.path(), &cloud, "canary-secret");
    let (code, text) = says(&run(folder.path(), &["credentials", "test"]));
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<_> = text.lines().collect();
    let entra = "from-entra  azure  ok, from Entra client secret, for application app of contoso, until 20";
    assert!(lines[0].starts_with(entra) && lines[0].ends_with("s), renewed 5m before"), "{text}");
    assert!(lines[1].starts_with("chained  chain  ok, from file, until 20"), "{text}");
    assert_eq!(lines.len(), 2, "a provider that is switched off is not asked: {text}");

    let one = ["credentials", "test", "--provider", "chained", "--json"];
    let (code, text) = says(&run(folder.path(), &one));
    assert_eq!(code, Some(0), "{text}");
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((told[0]["provider"].as_str(), told[0]["source"].as_str()), (Some("chained"), Some("file")));
    assert_eq!(told.as_array().unwrap().len(), 1);
    let (code, text) = says(&run(folder.path(), &["credentials", "test", "--provider", "none"]));
    assert_eq!((code, text.contains("no provider `none`")), (Some(78), true), "{text}");
}

#[test]
fn a_failure_is_told_with_what_can_be_done() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = cloud();
    configure(folder.path(), &cloud, "canary-wrong");
    let (code, text) = says(&run(folder.path(), &["credentials", "test"]));
    assert_eq!(code, Some(77), "{text}");
    assert!(text.contains("from-entra  azure  FAILED: issuer rejected the credential"), "{text}");
    assert!(text.contains("to do: renew what was refused"), "{text}");
    assert!(text.contains("7000215") && text.contains("chained  chain  ok"), "{text}");

    std::fs::remove_file(folder.path().join("token")).unwrap();
    let (code, text) = says(&run(folder.path(), &["credentials", "test", "--json"]));
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("tried: env, file"), "{text}");
}

#[test]
fn a_source_is_tried_without_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = cloud();
    let with_env = |args: &[&str]| {
        let mut command = portunus(folder.path());
        command.args(args).envs([
            ("AZURE_TENANT_ID", "contoso"),
            ("AZURE_CLIENT_ID", "app"),
            ("AZURE_CLIENT_SECRET", "canary-secret"),
            ("AZURE_AUTHORITY_HOST", &*cloud.url()),
        ]);
        says(&command.output().unwrap())
    };
    let (code, text) = with_env(&["credentials", "test", "--source", "azure-default"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("-  azure-default  ok, from Entra client secret"), "{text}");

    let absent = ["credentials", "test", "--source", "{ source = \"file\", path = \"absent\" }"];
    assert_eq!(with_env(&absent).0, Some(78));
    let nobody = ["credentials", "test", "--source", "aws-container"];
    let (code, text) = with_env(&nobody);
    assert_eq!((code, text.contains("no credential configured")), (Some(78), true), "{text}");
    for wrong in [
        "nonsense",
        "{ source = \"file\" }",
        "x = 1",
        "{ source = \"static-token\", token = \"sk-canary-1\" }",
    ] {
        let (code, text) = with_env(&["credentials", "test", "--source", wrong]);
        assert_eq!(code, Some(64), "{text}");
    }
}

/// A provider of Anthropic's and one of OpenAI's, called as a job of GitHub's.
fn federations(url: &str) -> String {
    format!(
        r#"
[[providers]]
name = "claude"
provider_type = "anthropic"
[providers.credential]
source = "anthropic-federation"
federation_rule_id = "fdrl_1"
organization_id = "org"
service_account_id = "svac_1"
base_url = "{url}"
identity = {{ source = "github-actions", audience = "aud" }}

[[providers]]
name = "gpt"
provider_type = "openai"
[providers.credential]
source = "openai-federation"
identity_provider_id = "idp_1"
service_account_id = "svc_1"
token_url = "{url}/oauth/token"
identity = {{ source = "github-actions", audience = "aud" }}
"#
    )
}

/// A job of GitHub's with `permissions: id-token: write` has all that the two providers want.
#[test]
fn a_job_without_any_key_is_told_whom_it_acts_as() {
    let folder = tempfile::tempdir().unwrap();
    let identity = MockIdp::builder().build().unwrap().mint("repo:octo/repo").without("jti").id_token();
    let cloud = MockCloud::builder()
        .federation_rule(
            FederationRule::new("fdrl_1", "org").for_service_account("svac_1").trusting(&identity),
        )
        .openai(OpenAiMapping::new("idp_1", "svc_1").trusting(&identity))
        .github_job(GitHubJob::new("canary-request-token", "aud", [identity]))
        .build()
        .unwrap();
    let url = cloud.url();
    std::fs::write(folder.path().join("portunus.toml"), federations(&url)).unwrap();
    let job = |args: &[&str]| {
        let mut command = portunus(folder.path());
        command.args(["credentials", "test"]).args(args).env("PORTUNUS_LOG", "trace").envs([
            ("GITHUB_ACTIONS", "true"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", &*(url.clone() + GitHubJob::request_path())),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary-request-token"),
        ]);
        says(&command.output().unwrap())
    };
    let (code, text) = job(&[]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "claude  anthropic-federation  ok, from Anthropic workload identity federation, for svac_1, until 20",
        "gpt  openai-federation  ok, from OpenAI workload identity federation, for svc_1, until 20",
        "renewed 20m before",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, text) = job(&["--source", "{ source = \"github-actions\", audience = \"aud\" }"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("ok, from GitHub Actions, for repo:octo/repo"), "{text}");

    cloud.fail_next(usize::MAX, Fault::status(503));
    let (code, text) = job(&["--json"]);
    assert_eq!(code, Some(75), "{text}");
    assert!(text.contains("try again later"), "{text}");

    let outside = run(folder.path(), &["credentials", "test"]);
    let (code, text) = says(&outside);
    assert_eq!((code, text.contains("set up what this source reads")), (Some(78), true), "{text}");
}
