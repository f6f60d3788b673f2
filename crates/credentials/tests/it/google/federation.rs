//! A workload's identity of another issuer (AIP-4117).

use std::path::Path;
use std::time::Duration;

use portunus_credentials::http::Http;
use portunus_credentials::{CredentialError, CredentialProvider};
use portunus_mock::{Fault, GoogleAccount, GoogleCloud, GooglePool};
use serde_json::json;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::support::{clock, seconds, text};

const WORKLOAD: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x";
const WORKFORCE: &str = "//iam.googleapis.com/locations/global/workforcePools/p/providers/x";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";

fn pool(audience: &str) -> GooglePool {
    GooglePool::new(audience, JWT, "canary-subject")
}

fn file(cloud: &MockCloud, audience: &str, source: Value) -> Value {
    json!({
        "type": "external_account", "audience": audience, "subject_token_type": JWT,
        "token_url": format!("{}/v1/token", cloud.url()), "credential_source": source,
        "universe_domain": "googleapis.com",
    })
}

fn written(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_file_holds_the_token_and_is_read_at_every_exchange() {
    let (clock, folder) = (clock(), tempfile::tempdir().unwrap());
    let cloud = serve(&clock, GoogleCloud::new().pool(pool(WORKLOAD)));
    let plain = written(&folder, "plain", "canary-subject\n");
    let wrapped = written(&folder, "wrapped", r#"{"t":"canary-subject"}"#);
    let json_format = json!({ "type": "json", "subject_token_field_name": "t" });
    for source in [
        json!({ "file": plain }),
        json!({ "file": plain, "format": { "type": "text" } }),
        json!({ "file": wrapped, "format": json_format }),
    ] {
        let provider = provider(&file(&cloud, WORKLOAD, source), &clock);
        assert!(text(&provider.resolve().await.unwrap()).starts_with("ya29."));
    }
    let sent = form(cloud.requests()[0].body());
    assert_eq!(sent.iter().find(|(name, _)| name == "scope").unwrap().1, CLOUD_PLATFORM);

    let provider = provider(&file(&cloud, WORKLOAD, json!({ "file": plain })), &clock);
    provider.resolve().await.unwrap();
    written(&folder, "plain", "canary-rotated");
    clock.advance(seconds(3_599));
    let error = provider.resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "the file is read anew: {error:?}");
    assert!(everything(&error).contains("invalid_grant") && !everything(&error).contains("canary"));
}

#[tokio::test]
async fn a_file_without_the_token_is_invalid() {
    let (clock, folder) = (clock(), tempfile::tempdir().unwrap());
    let cloud = serve(&clock, GoogleCloud::new().pool(pool(WORKLOAD)));
    let json_format = json!({ "type": "json", "subject_token_field_name": "t" });
    let empty = written(&folder, "empty", " \n");
    let other = written(&folder, "other", r#"{"canary":1}"#);
    let array = written(&folder, "array", r#"["canary"]"#);
    let number = written(&folder, "number", r#"{"t":7}"#);
    let text = written(&folder, "text", "canary");
    let missing = folder.path().join("missing").to_str().unwrap().to_owned();
    let mut sources = vec![json!({ "file": empty }), json!({ "file": missing })];
    sources.extend([other, array, number, text].map(|file| json!({ "file": file, "format": json_format })));
    for source in sources {
        let error = provider(&file(&cloud, WORKLOAD, source.clone()), &clock).resolve().await.unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{source}: {error:?}");
        assert!(!everything(&error).contains("canary"), "{error:?}");
    }
    assert_eq!(cloud.count("/v1/token"), 0);
}

#[tokio::test]
async fn an_address_hands_out_the_token() {
    let clock = clock();
    let cloud = serve(&clock, GoogleCloud::new().pool(pool(WORKLOAD)));
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(json!({ "value": "canary-subject" }));
    Mock::given(method("GET"))
        .and(path("/token"))
        .and(header("authorization", "Bearer canary-request"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let format = json!({ "type": "json", "subject_token_field_name": "value" });
    let source = |name: &str| {
        json!({
            "url": format!("{}/{name}", server.uri()), "headers": { "Authorization": "Bearer canary-request" },
            "format": format,
        })
    };
    let good = provider(&file(&cloud, WORKLOAD, source("token")), &clock);
    assert!(!format!("{good:?}").contains("canary"));
    good.resolve().await.unwrap();

    let error = provider(&file(&cloud, WORKLOAD, source("nowhere")), &clock).resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");

    for (status, body, kind) in [
        (200, "{}", "unavailable"),
        (200, "canary", "unavailable"),
        (503, "canary", "unavailable"),
        (403, "canary", "rejected"),
    ] {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(status).set_body_string(body);
        Mock::given(method("GET")).respond_with(answer).mount(&server).await;
        let source = json!({ "url": server.uri(), "format": format });
        let http = Http::for_metadata().with_attempts(1, Duration::ZERO);
        let provider = provider(&file(&cloud, WORKLOAD, source), &clock).with_metadata_http(http);
        let error = provider.resolve().await.unwrap_err();
        assert!(!everything(&error).contains("canary"), "{error:?}");
        let found = match error {
            CredentialError::Unavailable { .. } => "unavailable",
            CredentialError::Rejected(_) => "rejected",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, kind, "{status} {body}");
    }
}

#[tokio::test]
async fn a_pool_may_want_to_know_the_client_or_who_pays() {
    let (clock, folder) = (clock(), tempfile::tempdir().unwrap());
    let source = json!({ "file": written(&folder, "t", "canary-subject") });
    // In the URL-safe alphabet the pair would read differently.
    let (id, secret) = ("client?>", "canary~~?>");
    let cloud =
        serve(&clock, GoogleCloud::new().pool(pool(WORKFORCE).client(id, secret).user_project("p-1")));
    let mut paying = file(&cloud, WORKFORCE, source.clone());
    paying["workforce_pool_user_project"] = "p-1".into();
    provider(&paying, &clock).resolve().await.unwrap();
    let sent = form(cloud.requests()[0].body());
    assert_eq!(sent.iter().find(|(name, _)| name == "options").unwrap().1, r#"{"userProject":"p-1"}"#);

    let mut known = paying.clone();
    known["client_id"] = id.into();
    known["client_secret"] = secret.into();
    provider(&known, &clock).resolve().await.unwrap();

    known["client_secret"] = "canary-wrong".into();
    let error = provider(&known, &clock).resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");

    let mut misplaced = file(&cloud, WORKLOAD, source);
    misplaced["workforce_pool_user_project"] = "p-1".into();
    assert!(refusal(&misplaced, &[], &clock).contains("workforce_pool_user_project"));
}

#[tokio::test]
async fn a_workload_may_act_as_a_service_account() {
    let (clock, folder) = (clock(), tempfile::tempdir().unwrap());
    let cloud = serve(
        &clock,
        GoogleCloud::new().pool(pool(WORKLOAD)).account(GoogleAccount::new(
            EMAIL,
            "k",
            cases()["public_key_pem"].as_str().unwrap(),
        )),
    );
    let mut file = file(&cloud, WORKLOAD, json!({ "file": written(&folder, "t", "canary-subject") }));
    file["service_account_impersonation_url"] =
        format!("{}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken", cloud.url()).into();
    file["service_account_impersonation"] = json!({ "token_lifetime_seconds": 900 });
    provider(&file, &clock).resolve().await.unwrap();
    let asked = cloud.requests();
    assert_eq!(form(asked[0].body()).iter().find(|(name, _)| name == "scope").unwrap().1, IAM_SCOPE);
    assert_eq!(asked[1].json().unwrap(), json!({ "scope": [CLOUD_PLATFORM], "lifetime": "900s" }));
}

#[tokio::test]
async fn a_fault_of_the_exchange_passes() {
    let (clock, folder) = (clock(), tempfile::tempdir().unwrap());
    let cloud = serve(&clock, GoogleCloud::new().pool(pool(WORKLOAD)));
    let source = json!({ "file": written(&folder, "t", "canary-subject") });
    let http = Http::with_timeouts(seconds(5), Duration::from_millis(500)).with_attempts(1, Duration::ZERO);
    let provider = provider(&file(&cloud, WORKLOAD, source), &clock).with_http(http);
    for fault in [Fault::Hang, Fault::status(500), Fault::Malformed, Fault::Oversized] {
        cloud.fail_next(1, fault.clone());
        let error = provider.resolve().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{fault:?}: {error:?}");
        clock.advance(seconds(5));
    }
    provider.resolve().await.unwrap();
}

const ALLOWED: [(&str, &str); 1] = [("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")];

/// A program that prints this, and what else it does first.
#[cfg(unix)]
fn program(folder: &tempfile::TempDir, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = written(folder, "program", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[cfg(unix)]
fn prints(response: &Value) -> String {
    format!("cat <<'END'\n{response}\nEND")
}

#[cfg(unix)]
#[tokio::test]
async fn a_program_prints_the_token_if_the_environment_allows_it() {
    let (clock, folder) = (clock(), tempfile::tempdir().unwrap());
    let cloud = serve(&clock, GoogleCloud::new().pool(pool(WORKLOAD)));
    let response = json!({
        "version": 1, "success": true, "token_type": JWT, "id_token": "canary-subject",
        "expiration_time": 1_700_000_100,
    });
    let seen = folder.path().join("seen");
    let script = format!(
        "printf '%s\\n' \"$@\" $GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE $GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE $GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE > {}\n{}",
        seen.display(),
        prints(&response)
    );
    let command = format!("{} --a=1 $HOME;id", program(&folder, &script));
    let file =
        file(&cloud, WORKLOAD, json!({ "executable": { "command": command, "timeout_millis": 5_000 } }));
    for env in [&[][..], &[("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "true")]] {
        assert!(refusal(&file, env, &clock).contains("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES"));
    }
    assert!(!Path::new(&seen).exists(), "it must not have run");
    let provider = provider_with(&file, &ALLOWED, &clock).unwrap();
    provider.resolve().await.unwrap();
    let told = std::fs::read_to_string(seen).unwrap();
    assert_eq!(told, format!("--a=1\n$HOME;id\n{WORKLOAD}\n{JWT}\n0\n"), "no shell reads the command");
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_program_does_instead_is_told_apart() {
    let clock = clock();
    let cloud = serve(&clock, GoogleCloud::new().pool(pool(WORKLOAD)));
    let good = json!({ "version": 1, "success": true, "token_type": JWT, "id_token": "canary-subject" });
    let with = |key: &str, value: Value| {
        let mut response = good.clone();
        response[key] = value;
        prints(&response)
    };
    for (script, kind, says) in [
        (with("success", json!(false)), "rejected", "refused"),
        (
            prints(&json!({ "version": 1, "success": false, "code": "SIGN_IN", "message": "canary" })),
            "rejected",
            "SIGN_IN",
        ),
        (prints(&json!({ "version": 1, "success": false, "code": "canary-1" })), "rejected", "refused"),
        (with("version", json!(2)), "unavailable", "something else"),
        (with("token_type", json!("canary")), "unavailable", "something else"),
        (with("expiration_time", json!(1_700_000_000)), "unavailable", "expired"),
        ("echo canary".to_owned(), "unavailable", "something else"),
        ("yes canary".to_owned(), "unavailable", ""),
        (format!("{}\necho canary >&2\nexit 3", prints(&good)), "rejected", "exit status: 3"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = json!({ "executable": { "command": program(&folder, &script) } });
        let provider = provider_with(&file(&cloud, WORKLOAD, source), &ALLOWED, &clock).unwrap();
        let error = provider.resolve().await.unwrap_err();
        let all = everything(&error);
        assert!(all.contains(says) && !all.contains("canary"), "{script}: {all}");
        let found = match error {
            CredentialError::Unavailable { .. } => "unavailable",
            CredentialError::Rejected(_) => "rejected",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, kind, "{script}");
    }
    let source = json!({ "executable": { "command": "/nonexistent/program" } });
    let provider = provider_with(&file(&cloud, WORKLOAD, source), &ALLOWED, &clock).unwrap();
    let error = provider.resolve().await.unwrap_err();
    assert!(matches!(error, CredentialError::Invalid(_)), "{error:?}");
    assert_eq!(cloud.count("/v1/token"), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_program_left_in_its_file_is_used_while_it_is_good() {
    let (clock, folder) = (clock(), tempfile::tempdir().unwrap());
    let cloud = serve(&clock, GoogleCloud::new().pool(pool(WORKLOAD)));
    let mut response =
        json!({ "version": 1, "success": true, "token_type": JWT, "id_token": "canary-subject" });
    let output = folder.path().join("output").to_str().unwrap().to_owned();
    let command =
        program(&folder, &format!("echo >> {}/ran\n{}", folder.path().display(), prints(&response)));
    let source = json!({ "executable": { "command": command, "output_file": output } });
    let file = file(&cloud, WORKLOAD, source);
    let runs = || std::fs::read(folder.path().join("ran")).map_or(0, |ran| ran.len());
    let resolve = || async { provider_with(&file, &ALLOWED, &clock).unwrap().resolve().await.unwrap() };
    resolve().await;
    assert_eq!(runs(), 1);
    std::fs::write(&output, response.to_string()).unwrap();
    resolve().await;
    assert_eq!(runs(), 2, "without an end it is not kept");
    response["expiration_time"] = 1_700_000_060.into();
    std::fs::write(&output, response.to_string()).unwrap();
    resolve().await;
    assert_eq!(runs(), 2);
    clock.advance(seconds(60));
    resolve().await;
    assert_eq!(runs(), 3);
}

#[test]
fn a_file_that_leads_elsewhere_or_says_too_little_is_refused() {
    let clock = clock();
    let cloud = serve(&clock, GoogleCloud::new());
    let source = |source: Value| ("credential_source", source);
    let json_format = json!({ "type": "json" });
    for ((key, value), says) in [
        (("token_url", json!("https://evil.test/canary")), "token_url"),
        (("token_url", json!("http://sts.googleapis.com/v1/token")), "token_url"),
        (("token_url", json!("https://sts.googleapis.com@evil.test/v1/token")), "token_url"),
        (("token_url", json!("https://oauth2.googleapis.com/token")), "token_url"),
        (("token_info_url", json!("https://evil.test/canary")), "token_info_url"),
        (
            ("service_account_impersonation_url", json!("https://evil.test/a:generateAccessToken")),
            "service_account_impersonation_url",
        ),
        (("universe_domain", json!("evil.test")), "GOOGLE_CLOUD_UNIVERSE_DOMAIN"),
        (("audience", json!("")), "audience"),
        (("subject_token_type", json!(null)), "subject_token_type"),
        (source(json!(null)), "credential_source"),
        (source(json!("canary")), "credential_source"),
        (source(json!({})), "one of `file`"),
        (source(json!({ "file": "/a", "url": "https://canary" })), "one of `file`"),
        (source(json!({ "file": "/a", "format": json_format })), "subject_token_field_name"),
        (source(json!({ "file": "/a", "format": { "type": "xml" } })), "format"),
        (source(json!({ "url": "canary" })), "`url`"),
        (source(json!({ "url": "http://canary.test/" })), "https"),
        (source(json!({ "url": "file:///etc/passwd" })), "https"),
        (source(json!({ "url": "https://u:canary@a.test/" })), "`url`"),
        (source(json!({ "url": "https://a.test/", "headers": { "a b": "canary" } })), "headers"),
        (source(json!({ "url": "https://a.test/", "headers": { "a": "canary\n" } })), "headers"),
        (source(json!({ "url": "https://a.test/", "headers": { "a": 7 } })), "headers"),
    ] {
        let mut file = file(&cloud, WORKLOAD, json!({ "file": "/a" }));
        file[key] = value.clone();
        let all = refusal(&file, &[], &clock);
        assert!(all.contains(says), "{key} {value}: {all}");
    }
    for executable in
        [json!({}), json!({ "command": " " }), json!({ "command": "a", "timeout_millis": 4_999 })]
    {
        let file = file(&cloud, WORKLOAD, json!({ "executable": executable }));
        refusal(&file, &ALLOWED, &clock);
    }
}

#[test]
fn another_universe_has_to_be_the_environments_as_well() {
    let clock = clock();
    let file = json!({
        "type": "external_account", "audience": WORKLOAD, "subject_token_type": JWT,
        "universe_domain": "example.goog", "credential_source": { "file": "/a" },
    });
    assert!(refusal(&file, &[], &clock).contains("GOOGLE_CLOUD_UNIVERSE_DOMAIN"));
    let universe = [("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "example.goog")];
    assert!(provider_with(&file, &universe, &clock).is_ok());
    let mut file = file;
    file["token_url"] = "https://sts.googleapis.com/v1/token".into();
    assert!(refusal(&file, &universe, &clock).contains("token_url"));
}

#[cfg(not(feature = "bedrock-auth"))]
#[test]
fn an_account_on_aws_says_what_it_needs() {
    let clock = clock();
    let cloud = serve(&clock, GoogleCloud::new());
    let file = file(&cloud, WORKLOAD, json!({ "environment_id": "aws1" }));
    assert!(refusal(&file, &[], &clock).contains("the feature `bedrock-auth`"));
}
