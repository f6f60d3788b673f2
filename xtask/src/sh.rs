//! Runs other programs, and shows what it runs.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Result;

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace's folder")
}

/// `program` with these arguments, in the workspace's folder.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Runs it to its end.
///
/// # Errors
/// When it cannot be started, or fails.
pub(crate) fn run(command: &mut Command) -> Result {
    show(command);
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(failed(command, &status.to_string()).into()) }
}

/// Whether it can be run and succeeds; says nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// What it writes to its standard output.
///
/// # Errors
/// When it cannot be started, fails, or writes something else than text.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    show(command);
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| not_started(command, &error))?;
    if !output.status.success() {
        return Err(failed(command, &output.status.to_string()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs it, passing on what it writes line by line; answers whether it succeeded, and all its lines.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn tee(mut command: Command) -> Result<(bool, Vec<String>)> {
    show(&command);
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().map_err(|error| not_started(&command, &error))?;
    // The command holds the pipe's other end; the reader below ends only when that is closed.
    drop(command);
    let mut lines = Vec::new();
    for line in BufReader::new(reader).lines() {
        let line = line?;
        println!("{line}");
        lines.push(line);
    }
    Ok((child.wait()?.success(), lines))
}

/// Prints a command the way one would type it.
pub(crate) fn show(command: &Command) {
    println!("$ {}", line(command));
}

fn line(command: &Command) -> String {
    let mut line = String::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            line += &format!("{}={} ", name.display(), quoted(&value.to_string_lossy()));
        }
    }
    line += &command.get_program().to_string_lossy();
    for argument in command.get_args() {
        line += " ";
        line += &quoted(&argument.to_string_lossy());
    }
    line
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.into() } else { format!("'{text}'") }
}

fn not_started(command: &Command, error: &std::io::Error) -> String {
    let program = command.get_program().display();
    format!("`{program}` cannot be started ({error}); install it, or put it on the PATH")
}

fn failed(command: &Command, status: &str) -> String {
    format!("`{}` failed ({status}); its own output above says why", line(command))
}

/// An environment variable.
#[expect(clippy::disallowed_methods, reason = "the one place in this program that reads the environment")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The time, for measuring how long something takes.
#[expect(clippy::disallowed_methods, reason = "the one place in this program that reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
