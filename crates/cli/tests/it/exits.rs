//! How the program ends, and what it then says.

use std::process::Output;
use std::time::Duration;

use portunus_mock::MockIdp;

use crate::program::{Serving, config, portunus, run};

fn says(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn wrong_usage_ends_with_64_and_help_with_0() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["serve", "--confg", "x"][..], &["unknown"], &[], &["token", "exchange"]] {
        let (code, text) = says(&run(folder.path(), args));
        assert_eq!(code, Some(64), "{args:?}: {text}");
        assert!(text.contains("Usage"), "{text}");
    }
    let (code, text) = says(&run(folder.path(), &["--help"]));
    assert_eq!(code, Some(0));
    for command in ["quickstart", "serve", "config", "mock", "token", "credentials", "policy"] {
        assert!(text.contains(command), "{text}");
    }
    assert_eq!(says(&run(folder.path(), &["--version"])).0, Some(0));
}

#[test]
fn a_wrong_configuration_ends_with_78_and_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portunus.toml");
    for (text, place) in [
        ("[server]\nlisten = \"127.0.0.1:0\"\nlissten = 1\n", "portunus.toml:3:1: unknown field `lissten`"),
        (
            "[[keys]]\nname = \"a\"\ntenant = \"t\"\nkey = \"${env:ABSENT}\"\ngrant = { tier = \"t\" }\n[[tiers]]\nname = \"t\"\nrequests_per_minute = 1\n",
            "portunus.toml:4:7:",
        ),
        (
            "[[tiers]]\nname = \"a\"\nrequests_per_minute = 1\n[[tiers]]\nname = \"a\"\nrequests_per_minute = 1\n",
            "portunus.toml:5:8: the name `a` is used twice",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        for args in [["config", "check"].as_slice(), &["serve"]] {
            let (code, output) = says(&run(folder.path(), args));
            assert_eq!(code, Some(78), "{args:?}: {output}");
            assert!(output.contains(place), "{output}");
        }
    }
    // What only opening it tells.
    let unreachable = "[server]\nlisten = \"127.0.0.1:0\"\n[state]\nurl = \"file:/nonexistent/keys.redb\"\n";
    std::fs::write(&path, unreachable).unwrap();
    let (code, output) = says(&run(folder.path(), &["serve"]));
    assert_eq!(code, Some(78), "{output}");
    assert!(output.contains("portunus.toml:4:7:") && output.contains("/nonexistent/keys.redb"), "{output}");

    let (code, output) = says(&run(folder.path(), &["config", "check", "--config", "absent.toml"]));
    assert_eq!((code, output.contains("absent.toml: cannot be read")), (Some(78), true), "{output}");
}

#[test]
fn fixture_files_are_validated() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.yaml"), "fixtures: [{response: {content: a}}]").unwrap();
    std::fs::write(folder.path().join("bad.yaml"), "fixtures:\n  - respnse: {content: a}\n").unwrap();
    let (code, text) = says(&run(folder.path(), &["mock", "validate", "good.yaml"]));
    assert_eq!((code, text.contains("can be used")), (Some(0), true), "{text}");
    for args in [
        &["mock", "validate", "bad.yaml", "good.yaml", "absent.yaml"][..],
        &["mock", "serve", "--fixtures", "bad.yaml", "absent.yaml"],
    ] {
        let (code, text) = says(&run(folder.path(), args));
        assert_eq!(code, Some(78), "{text}");
        assert!(text.contains("bad.yaml:2:5: unknown field `respnse`"), "{text}");
        assert!(text.contains("absent.yaml: the file cannot be read: No such file"), "{text}");
    }
}

#[test]
fn quickstart_once_shows_a_key_a_call_and_its_audit_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = portunus(folder.path());
    command.args(["quickstart", "--once", "--listen", "127.0.0.1:0", "--dir", "demo"]);
    command.env("PORTUNUS_QUICKSTART_PROVIDER_SECRET", "sk-canary-quickstart");
    let (code, text) = says(&command.output().unwrap());
    assert_eq!(code, Some(0), "{text}");
    for part in ["ptk_", "Hello from the mock.", "\"event\":\"llm.request\",\"outcome\":\"allowed\""] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert!(!text.contains("sk-canary-quickstart"), "{text}");
    let (code, text) = says(&run(&folder.path().join("demo"), &["config", "check"]));
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_key_is_exchanged_from_standard_input_and_refusals_end_with_77() {
    let folder = tempfile::tempdir().unwrap();
    let idp = MockIdp::builder().build().unwrap();
    std::fs::write(folder.path().join("admin.key"), "admin-token-of-this-test").unwrap();
    std::fs::write(folder.path().join("portunus.toml"), config(idp.issuer())).unwrap();
    let serving = Serving::start(folder.path());
    let token = idp.mint("alice").audience("portunus").claim("groups", ["eng"]).id_token();
    std::fs::write(folder.path().join("id.jwt"), token).unwrap();
    let exchange = || {
        let mut command = portunus(folder.path());
        command.args(["token", "exchange", "--server", &serving.url, "--subject-token-file", "id.jwt"]);
        says(&command.output().unwrap())
    };
    let (code, key) = exchange();
    assert_eq!(code, Some(0), "{key}");
    assert!(key.starts_with("ptk_") && key.trim_end().len() == 53, "{key}");
    std::fs::write(folder.path().join("key"), &key).unwrap();
    let narrow = |more: &[&str]| {
        let mut command = portunus(folder.path());
        command.args([
            "token",
            "exchange",
            "--server",
            &serving.url,
            "--subject-token-file",
            "key",
            "--json",
        ]);
        says(&command.args(more).output().unwrap())
    };
    let (code, text) = narrow(&["--scope", "model:gpt-4o", "--ttl", "60"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\"expires_in\": 60") && text.contains("\"scope\": \"model:gpt-4o\""), "{text}");
    let (code, text) = narrow(&["--scope", "model:gpt-5"]);
    assert_eq!((code, text.contains("invalid_scope")), (Some(77), true), "{text}");
    let (code, text) = narrow(&["--subject-token-type", "id_token"]);
    assert_eq!((code, text.contains("invalid_request")), (Some(77), true), "a key is no ID token: {text}");

    let (code, text) = exchange();
    assert_eq!(code, Some(77), "an identity token is good for one key: {text}");
    assert!(text.contains("invalid_request"), "{text}");

    let nowhere = ["token", "exchange", "--server", "http://127.0.0.1:1", "--subject-token-file", "id.jwt"];
    let (code, text) = says(&run(folder.path(), &nowhere));
    assert_eq!(code, Some(75), "{text}");
    let readable =
        ["token", "exchange", "--server", "http://llm.example.com", "--subject-token-file", "id.jwt"];
    let (code, text) = says(&run(folder.path(), &readable));
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("https://"), "{text}");
    let (code, text) = says(&run(folder.path(), &["token", "exchange", "--server", &serving.url]));
    assert_eq!(code, Some(64), "{text}");
}

#[test]
fn sigterm_drains_and_ends_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let idp = MockIdp::builder().build().unwrap();
    std::fs::write(folder.path().join("admin.key"), "admin-token-of-this-test").unwrap();
    std::fs::write(folder.path().join("portunus.toml"), config(idp.issuer())).unwrap();
    let mut serving = Serving::start(folder.path());
    let pid = serving.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let mut status = None;
    for _ in 0..500 {
        status = serving.child.try_wait().unwrap();
        if status.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    let audit = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    assert_eq!(audit.matches("server.st").count(), 2);
}
