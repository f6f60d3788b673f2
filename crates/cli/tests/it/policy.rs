//! Policies, explained and tested on the command line.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use portunus_mock::MockIdp;
use serde_json::Value;

use crate::program::{config, portunus, run};

const ISSUER: &str = "https://idp.example";

const LEAVERS: &str = r#"
[[policies]]
name = "leavers"
match = { issuer = "idp", subject = "bob" }
effect = "deny"
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "portunus.toml", &(config(ISSUER) + LEAVERS));
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// Exit code, standard output, standard error.
fn says(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn explain(folder: &Path, claims: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = portunus(folder);
    command.args(["policy", "explain", "--claims", "-"]).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever is told to refuse its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(claims.as_bytes());
    says(&child.wait_with_output().unwrap())
}

#[test]
fn an_explanation_is_a_table_that_says_that_nothing_is_verified() {
    // The secrets that the configuration refers to are not there, and not needed.
    let folder = folder();
    let (code, text, _) =
        explain(folder.path(), r#"{"sub":"alice","groups":["eng","x"]}"#, &["--issuer", "idp"]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "alice of issuer idp, tenant acme. NOT VERIFIED",
        "GRANTED by policy engineers",
        "models     gpt-4o\n",
        "tools      none\n",
        "ttl        1h\n",
        "groups /groups  matches: wanted [eng]",
        "found [eng, x]",
        "leavers (denies): is not about them",
        "subject  differs: wanted [bob]",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let denied = format!(r#"{{"sub":"bob","iss":"{ISSUER}","groups":["eng"]}}"#);
    let (code, text, _) = explain(folder.path(), &denied, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("DENIED by policy leavers") && !text.contains("models"), "{text}");
}

#[test]
fn an_explanation_for_programs_is_one_object() {
    let folder = folder();
    let claims = r#"{"sub":"alice","groups":["sales"]}"#;
    let (code, text, _) = explain(folder.path(), claims, &["--issuer", "idp", "--json"]);
    assert_eq!(code, Some(0), "{text}");
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((told["verified"].as_bool(), told["ruling"].as_str()), (Some(false), Some("no_policy")));
    assert_eq!(told["others"][0]["conditions"][1]["finding"], "differs");
}

#[test]
fn a_token_is_read_and_said_not_to_be_verified() {
    let folder = folder();
    let idp = MockIdp::builder().build().unwrap();
    write(folder.path(), "portunus.toml", &config(idp.issuer()));
    let token = idp.mint("alice").audience("somebody-else").claim("groups", ["eng"]).id_token();
    write(folder.path(), "token.jwt", &format!("{token}\n"));
    let (code, text, errors) = says(&run(folder.path(), &["policy", "explain", "--token-file", "token.jwt"]));
    assert_eq!(code, Some(0), "{text}{errors}");
    assert!(text.contains("NOT VERIFIED") && text.contains("GRANTED by policy engineers"), "{text}");
    assert!(!text.contains(&token[..40]) && !errors.contains(&token[..40]));
}

#[test]
fn claims_cannot_move_the_cursor() {
    let folder = folder();
    let claims = "{\"sub\":\"alice\u{202e}\",\"groups\":[\"\\u001b[2J\\u009b31m\\n\"]}";
    let (code, text, _) = explain(folder.path(), claims, &["--issuer", "idp"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text:?}");
    assert!(text.contains("\\u{1b}[2J\\u{9b}31m\\n"), "{text}");
}

#[test]
fn what_cannot_be_explained_ends_with_64_and_a_wrong_configuration_with_78() {
    let folder = folder();
    for (claims, more) in [
        ("", &["--issuer", "idp"][..]),
        ("[]", &["--issuer", "idp"]),
        (r#"{"sub":"a","sub":"b"}"#, &["--issuer", "idp"]),
        (r#"{"sub":"a"}"#, &[]),
        (r#"{"sub":"a"}"#, &["--issuer", "other"]),
        (r#"{"sub":""}"#, &["--issuer", "idp"]),
        (r#"{"sub":"a"}"#, &["--token-file", "x"]),
    ] {
        let (code, text, errors) = explain(folder.path(), claims, more);
        assert_eq!((code, text.as_str()), (Some(64), ""), "{claims} {more:?}: {errors}");
        assert!(!errors.is_empty());
    }
    for args in
        [&["policy", "explain"][..], &["policy", "explain", "--token-file", "absent"], &["policy", "test"]]
    {
        assert_eq!(says(&run(folder.path(), args)).0, Some(64), "{args:?}");
    }
    let wrong = config(ISSUER).replace("groups = [\"eng\"]", "groups = []");
    write(folder.path(), "portunus.toml", &wrong);
    let (code, _, errors) = explain(folder.path(), r#"{"sub":"a"}"#, &["--issuer", "idp"]);
    assert_eq!(code, Some(78));
    let line = wrong.lines().position(|line| line.contains("groups = []")).unwrap() + 1;
    assert!(errors.contains(&format!("portunus.toml:{line}:")), "{errors}");
    write(folder.path(), "portunus.toml", "");
    assert_eq!(explain(folder.path(), r#"{"sub":"a"}"#, &["--issuer", "idp"]).0, Some(78));
}

const CASES: &str = r#"
[[cases]]
name = "an engineer"
issuer = "idp"
claims = { sub = "alice", groups = ["eng"] }
expect = { policy = "engineers", models = ["gpt-4o"], tools = [], ttl = "1h" }

[[cases]]
name = "a leaver"
issuer = "idp"
claims = { sub = "bob", groups = ["eng"] }
expect = "denied"
"#;

#[test]
fn fixtures_that_hold_end_with_0_and_others_with_77() {
    let folder = folder();
    write(folder.path(), "good.toml", CASES);
    write(folder.path(), "wrong.toml", &CASES.replace("\"denied\"", "{ models = \"all\" }"));
    let json = r#"{"cases":[{"name":"eve","issuer":"idp","claims":{"sub":"eve"},"expect":"denied"}]}"#;
    write(folder.path(), "more.json", json);

    let (code, text, errors) = says(&run(folder.path(), &["policy", "test", "good.toml", "more.json"]));
    assert_eq!((code, errors.as_str()), (Some(0), "3 cases passed\n"), "{text}");
    assert_eq!(text, "ok      good.toml: an engineer\nok      good.toml: a leaver\nok      more.json: eve\n");

    let (code, text, errors) = says(&run(folder.path(), &["policy", "test", "wrong.toml", "more.json"]));
    assert_eq!((code, errors.as_str()), (Some(77), "1 of 3 cases failed\n"), "{text}");
    for part in [
        "FAILED  wrong.toml: a leaver",
        "ruling: expected \"granted\", got \"denied\"",
        "DENIED by policy leavers",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }

    let (code, text, _) = says(&run(folder.path(), &["policy", "test", "--json", "wrong.toml"]));
    assert_eq!(code, Some(77));
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&told[0]["passed"], &told[1]["passed"]), (&Value::Bool(true), &Value::Bool(false)));
    assert_eq!(
        (&told[1]["file"], &told[1]["explanation"]["policy"]),
        (&"wrong.toml".into(), &"leavers".into())
    );
}

#[test]
fn fixtures_that_cannot_be_read_end_with_64() {
    let folder = folder();
    write(folder.path(), "empty.toml", "");
    write(folder.path(), "none.json", r#"{"cases":[]}"#);
    write(folder.path(), "typo.toml", &CASES.replace("models", "model"));
    for (file, says_so) in [
        ("empty.toml", "cases"),
        ("none.json", "nothing would be tested"),
        ("typo.toml", "model"),
        ("absent", "absent"),
    ] {
        let (code, text, errors) = says(&run(folder.path(), &["policy", "test", file]));
        assert_eq!((code, text.as_str()), (Some(64), ""), "{errors}");
        assert!(errors.contains(file) && errors.contains(says_so), "{errors}");
    }
}
