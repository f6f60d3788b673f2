#![doc = include_str!("../README.md")]

mod bench;
mod ci;
mod deny;
mod e2e;
mod features;
mod fuzz;
mod interop;
mod process;
mod setup;
mod sh;
mod steps;
mod test;
mod tidy;
mod vectors;

use std::process::ExitCode;

/// What a command ends with; the text says what to do.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const HELP: &str = "\
cargo xtask COMMAND

  ci              the whole gate: fmt, lint, tidy, test, docs, features, deny
  test            every test, on a fresh machine, with what it has to install
  tidy            the house rules, without compiling
  features        each crate with no features, then with each feature alone
  deny            licences, sources, duplicate and banned crates, advisories
  vectors [NAME]  the test vectors that live outside the repository; reports with NAME in their name
  e2e             the quick start, driven by the official SDKs, and a search for leaked secrets
  fuzz --smoke    what strangers send, fuzzed for two minutes; fuzz TARGET goes on until it is stopped
  interop         other people's clients and servers against ours: the clouds' libraries, SDKs, OAuth
  bench           what the gateway costs a request, against calling the mock directly
";

const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["ci"] => ci::run(),
        ["test"] => test::run(),
        ["tidy"] => tidy::run(),
        ["features"] => features::run(),
        ["deny"] => deny::run(),
        ["vectors"] => vectors::run(None).map(drop),
        ["vectors", name] => vectors::run(Some(name)).map(drop),
        ["e2e"] => e2e::run(),
        ["fuzz", "--smoke"] => fuzz::smoke(),
        ["fuzz", target] => fuzz::endless(target),
        ["interop"] => interop::run(),
        ["bench"] => bench::run(),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
