//! Programs that print a credential. They are scripts of `sh`, which every Unix has.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portunus_auth_core::Clock;
use portunus_credentials::{CommandSource, Credential, CredentialError, CredentialSource, Issued};
use tempfile::TempDir;

use crate::support::{clock, everything, text};

async fn run(script: &str) -> Result<Issued, CredentialError> {
    CommandSource::new("sh", ["-c", script], clock()).fetch().await
}

async fn life(script: &str) -> Option<u64> {
    let issued = run(script).await.unwrap();
    issued.expires_at.map(|end| end.duration_since(clock().now()).unwrap().as_secs())
}

#[tokio::test]
async fn a_token_is_printed_bare_or_in_json() {
    for (script, token) in [
        ("echo canary-1", "canary-1"),
        ("printf '\\n  canary-2  \\n'", "canary-2"),
        (r#"echo '{"token": "canary-3"}'"#, "canary-3"),
        (r#"echo '{"access_token": "canary-4", "expires_in": 60}'"#, "canary-4"),
        (r#"echo '{"accessToken": "canary-5", "expires_on": 1700003600, "tenant": "t"}'"#, "canary-5"),
    ] {
        assert_eq!(text(&run(script).await.unwrap().credential), token, "{script}");
    }
}

#[tokio::test]
async fn its_end_is_what_was_printed_and_else_five_minutes_away() {
    assert_eq!(life("echo t").await, Some(300));
    assert_eq!(life(r#"echo '{"token": "t"}'"#).await, Some(300));
    assert_eq!(life(r#"echo '{"token": "t", "expires_in": 7}'"#).await, Some(7));
    assert_eq!(life(r#"echo '{"token": "t", "expires_at": 1700000060}'"#).await, Some(60));
    assert_eq!(life(r#"echo '{"token": "t", "expires_on": "1700000060"}'"#).await, Some(60));
    assert_eq!(life(r#"echo '{"token": "t", "expires_at": "2023-11-14T22:14:20Z"}'"#).await, Some(60));
}

#[tokio::test]
async fn aws_keys_are_printed_as_its_tools_do() {
    let issued =
        run(r#"echo '{"Version": 1, "AccessKeyId": "i", "SecretAccessKey": "s", "SessionToken": "t"}'"#);
    let issued = issued.await.unwrap();
    assert!(matches!(issued.credential, Credential::AwsCredentials { session_token: Some(_), .. }));
    assert_eq!(issued.expires_at, None);
}

#[tokio::test]
async fn what_is_no_credential_is_not_repeated() {
    for script in [
        "true",
        "echo canary one",
        "echo canary; echo canary",
        r#"echo '{"canary": 1}'"#,
        r#"echo '{"token": ""}'"#,
        r#"echo '{"token": "canary"'"#,
        r#"echo '{"token": "canary", "expires_at": "soon"}'"#,
        r#"echo '{"token": "canary", "expires_in": -1}'"#,
        r#"echo '{"token": "canary", "expires_in": 1e400}'"#,
        r#"echo '{"AccessKeyId": "canary"}'"#,
        "printf '\\377'",
    ] {
        let error = run(script).await.unwrap_err();
        assert!(matches!(error, CredentialError::Invalid(_)), "{script}: {error:?}");
        assert!(!everything(&error).contains("canary"), "{script}: {error:?}");
    }
}

#[tokio::test]
async fn a_failure_is_told_without_what_was_printed() {
    let error = run("echo canary; echo canary >&2; exit 3").await.unwrap_err();
    assert!(matches!(error, CredentialError::Rejected(_)), "{error:?}");
    let all = everything(&error);
    assert!(all.contains("exit status: 3") && !all.contains("canary"), "{all}");
    let none = CommandSource::new("/no/such/program", [""; 0], clock()).fetch().await.unwrap_err();
    assert!(matches!(none, CredentialError::Invalid(_)), "{none:?}");
}

#[tokio::test]
async fn endless_output_is_cut_off() {
    let error = run("while :; do echo canarycanarycanarycanary; done").await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { .. }), "{error:?}");
    assert!(!everything(&error).contains("canary"));
}

/// A named pipe: reading from it comes to an end when nobody holds it open for writing any more.
fn pipe(folder: &TempDir) -> PathBuf {
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pipe
}

/// Starts a process of its own that holds the pipe, and stays.
fn stays(pipe: &Path) -> [String; 2] {
    ["-c".into(), format!("(exec 3>{}; echo here >&3; exec sleep 1000) & wait", pipe.display())]
}

#[tokio::test]
async fn a_late_program_is_killed_with_what_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = pipe(&folder);
    let source = CommandSource::new("sh", stays(&pipe), clock()).with_timeout(Duration::from_millis(500));
    let read = tokio::task::spawn_blocking(move || std::fs::read(pipe));
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { .. }), "{error:?}");
    assert_eq!(read.await.unwrap().unwrap(), b"here\n");
}

#[tokio::test]
async fn a_dropped_fetch_kills_its_program() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = pipe(&folder);
    let source = CommandSource::new("sh", stays(&pipe), clock());
    let fetch = tokio::spawn(async move { source.fetch().await });
    let (runs, running) = tokio::sync::oneshot::channel();
    let read = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(std::fs::File::open(pipe).unwrap()).lines();
        runs.send(lines.next().unwrap().unwrap()).unwrap();
        lines.count()
    });
    assert_eq!(running.await.unwrap(), "here");
    fetch.abort();
    assert!(fetch.await.unwrap_err().is_cancelled());
    assert_eq!(read.await.unwrap(), 0);
}
