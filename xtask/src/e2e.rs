//! `cargo xtask e2e`: the quick start as a user runs it, driven by the official SDKs.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Deserialize;

use crate::process::Process;
use crate::{Result, setup, sh};

/// What the gateway holds for the mock provider, and must never show.
const CANARY: &str = "sk-canary-7Qm2Zt9fKx4Rb8Wd";
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(20);

/// The line that `quickstart --json` prints once it serves, as far as it is used here.
#[derive(Deserialize)]
struct Ready {
    ready: bool,
    key: String,
    admin_token: String,
    provider_secret: String,
    audit_file: PathBuf,
}

/// # Errors
/// When a check failed, or a secret was found where none may be.
pub(crate) fn run() -> Result {
    sh::run(&mut sh::command("cargo", &["build", "-p", "portunus"]))?;
    let python = setup::python("e2e-venv", setup::SDKS)?;
    let folder = sh::root().join("target/e2e");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    run_readme(&folder)?;

    let (server, copy, ready_line) = start(&folder)?;
    fs::write(folder.join("ready.json"), &ready_line)?;
    let mut checks = Command::new(python);
    checks.arg(sh::root().join("tests/e2e/e2e.py")).current_dir(&folder);
    checks.args([folder.join("ready.json"), folder.join("secrets.txt")]);
    let (passed, said) = sh::tee(checks)?;
    let status = server.stop(STOP)?;
    copy.join().map_err(|_| "the thread that copies the standard output crashed")??;

    search(&folder, &ready_line, &said.join("\n"))?;
    if !passed {
        return Err("a check failed; the lines that begin with FAIL say why".into());
    }
    if !status.success() {
        return Err(
            format!("the gateway ended on SIGTERM with {status}; it has to drain and end with 0").into()
        );
    }
    Ok(())
}

fn binary() -> Result<Command> {
    let built = sh::root().join("target/debug/portunus");
    Ok(Command::new(built.canonicalize().map_err(|error| format!("{}: {error}", built.display()))?))
}

/// Runs the README's quick start, with the binary that is built already.
fn run_readme(folder: &Path) -> Result {
    let text = fs::read_to_string(sh::root().join("README.md"))
        .map_err(|error| format!("README.md: {error}; it has to show the quick start"))?;
    let arguments = quick_start(&text)
        .ok_or("README.md has no code block with `cargo run --release -- quickstart`; show it there")?;
    let working = folder.join("readme");
    fs::create_dir(&working)?;
    // To its end, and on a free port: the usual one may be taken on this machine.
    let more = ["--once", "--listen", "127.0.0.1:0"];
    sh::run(binary()?.args(arguments.split_whitespace()).args(more).current_dir(working))
}

/// The program's arguments in the fenced block that shows the quick start.
fn quick_start(readme: &str) -> Option<&str> {
    let blocks = readme.split("```").skip(1).step_by(2);
    let commands = blocks.flat_map(str::lines).map(|line| line.trim_start_matches("$ "));
    let mut arguments = commands.filter_map(|line| line.strip_prefix("cargo run --release -- "));
    arguments.find(|arguments| arguments.starts_with("quickstart"))
}

/// Starts the quick start on free ports; answers once it is ready.
fn start(folder: &Path) -> Result<(Process, JoinHandle<std::io::Result<()>>, String)> {
    let mut command = binary()?;
    command.args(["quickstart", "--json", "--listen", "127.0.0.1:0", "--dir"]).arg(folder.join("state"));
    command.env("PORTUNUS_LOG", "trace").env("PORTUNUS_QUICKSTART_PROVIDER_SECRET", CANARY);
    command.current_dir(folder).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(File::create(folder.join("stderr.log"))?);
    let mut server = Process::start(&mut command)?;
    let stdout = server.child().stdout.take().ok_or("the program has no standard output")?;
    let log = File::create(folder.join("stdout.log"))?;
    let (tell, ready) = mpsc::channel();
    let copy = thread::spawn(move || copy_lines(stdout, log, &tell));
    let Ok(line) = ready.recv_timeout(START) else {
        let log = fs::read_to_string(folder.join("stderr.log"))?;
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(20)..].join("\n");
        return Err(format!("`portunus quickstart` did not get ready; the end of its log:\n{last}").into());
    };
    Ok((server, copy, line))
}

/// Keeps all lines for the search but the one that tells us what to search for.
fn copy_lines(from: impl Read, mut to: File, ready: &mpsc::Sender<String>) -> std::io::Result<()> {
    for line in BufReader::new(from).lines() {
        let line = line?;
        if serde_json::from_str(&line).is_ok_and(|Ready { ready, .. }| ready) {
            // Nobody listens any more once the start has timed out.
            let _ = ready.send(line);
        } else {
            writeln!(to, "{line}")?;
        }
    }
    Ok(())
}

/// Looks for every secret of the run in everything that the run wrote.
fn search(folder: &Path, ready_line: &str, said: &str) -> Result {
    let ready: Ready =
        serde_json::from_str(ready_line).map_err(|error| format!("the ready line: {error}"))?;
    let minted = fs::read_to_string(folder.join("secrets.txt"))?;
    let log = fs::read_to_string(folder.join("stderr.log"))?;
    let audit = fs::read_to_string(folder.join(&ready.audit_file))?;
    let stdout = fs::read_to_string(folder.join("stdout.log"))?;
    if ready.provider_secret != CANARY || !log.contains("TRACE") || !audit.contains("llm.request") {
        return Err(
            "nothing to search: the canary was not planted, the log is not at trace, or the audit is \
                    empty"
                .into(),
        );
    }
    // A person at the terminal is shown the first key and the administrator's token, once.
    let never: Vec<&str> = minted.lines().chain([CANARY]).collect();
    let shown_once: Vec<&str> = never.iter().copied().chain([&*ready.key, &*ready.admin_token]).collect();
    let places = [
        ("the log", &log, &shown_once),
        ("the audit", &audit, &shown_once),
        ("the standard output", &stdout, &never),
        ("the checks' output", &said.to_owned(), &shown_once),
    ];
    let mut found = Vec::new();
    for (place, text, secrets) in places {
        for (number, line) in text.lines().enumerate() {
            if secrets.iter().any(|secret| line.contains(secret)) {
                found.push(format!("a secret stands in {place}, line {}", number + 1));
            }
        }
    }
    if found.is_empty() {
        println!("ok no-leak: {} secrets, in none of {} places", shown_once.len(), places.len());
        return Ok(());
    }
    found.truncate(20);
    Err(format!("{}; see {}", found.join("\n"), folder.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_start_is_taken_from_a_code_block() {
        let text = "Run `cargo run --release -- quickstart`.\n```sh\ncargo xtask test\n```\n\n```sh\ncargo run --release -- quickstart --dir x\n```\n";
        assert_eq!(quick_start(text), Some("quickstart --dir x"));
        assert_eq!(quick_start("cargo run --release -- quickstart\n"), None);
    }
}
