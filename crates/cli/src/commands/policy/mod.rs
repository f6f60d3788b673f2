//! `portunus policy …`

mod show;

use std::io::Read as _;
use std::path::Path;

use portunus_auth_core::BearerToken;
use portunus_keyserver::{Explanation, Fixtures, Question};
use serde::Serialize;

use crate::args::{PolicyExplain, PolicyTest};
use crate::exit::Failure;

/// The longest file that is read. A token is shorter still.
const MAX: u64 = 1024 * 1024;

/// What is printed for programs.
#[derive(Serialize)]
struct Told<'e> {
    /// Nobody looked at a signature, a time or an audience.
    verified: bool,
    #[serde(flatten)]
    explanation: &'e Explanation,
}

/// Says which policy decides about somebody, and why. Asks no server and verifies nothing.
pub(crate) fn explain(args: &PolicyExplain) -> Result<(), Failure> {
    let policies = portunus_gateway::policies(&args.config)?;
    let mut question = question(args)?;
    question.issuer.clone_from(&args.issuer);
    question.policy.clone_from(&args.policy);
    let explained = policies.explain(&question);
    let explanation = &explained.map_err(|why| Failure::Usage(why.to_string()))?;
    if args.json {
        println!("{}", pretty(&Told { verified: false, explanation }));
    } else {
        print!("{}", show::explanation(explanation));
    }
    Ok(())
}

fn question(args: &PolicyExplain) -> Result<Question, Failure> {
    let (path, text, is_token) = match (&args.claims, &args.token_file) {
        (Some(path), None) => (path, read(path)?, false),
        (None, Some(path)) => (path, read(path)?, true),
        _ => return Err(Failure::Usage("give either --claims or --token-file".to_owned())),
    };
    let (question, needed) = if is_token {
        (Question::from_unverified(&BearerToken::new(text.trim())), "a signed JWT")
    } else {
        (Question::from_claims(text.as_bytes()), "a JSON object without duplicate members")
    };
    question.map_err(|_| Failure::Usage(format!("{}: this is not {needed}", path.display())))
}

/// Checks examples, and says which of them do not hold.
pub(crate) fn test(args: &PolicyTest) -> Result<(), Failure> {
    let policies = portunus_gateway::policies(&args.config)?;
    let mut results = Vec::new();
    for path in &args.fixtures {
        results.extend(policies.test(&fixtures(path)?).into_iter().map(|result| (path, result)));
    }
    let failed = results.iter().filter(|(_, result)| !result.passed).count();
    if args.json {
        let cases: Vec<_> =
            results.iter().map(|(file, result)| show::Case { file: file.as_path(), result }).collect();
        println!("{}", pretty(&cases));
    } else {
        for (path, result) in &results {
            print!("{}", show::case(path, result));
        }
    }
    let total = results.len();
    if failed > 0 {
        return Err(Failure::Denied(format!("{failed} of {total} cases failed")));
    }
    eprintln!("{total} cases passed");
    Ok(())
}

/// TOML, or JSON by the file's name.
fn fixtures(path: &Path) -> Result<Fixtures, Failure> {
    let text = read(path)?;
    let wrong = |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", path.display()));
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => serde_json::from_str(&text).map_err(|error| wrong(&error)),
        _ => toml::from_str(&text).map_err(|error| wrong(&error)),
    }
}

/// The file, or standard input for `-`.
fn read(path: &Path) -> Result<String, Failure> {
    let wrong = |error: std::io::Error| Failure::Usage(format!("{}: {error}", path.display()));
    let from: Box<dyn std::io::Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(wrong)?)
    };
    let mut text = String::new();
    from.take(MAX + 1).read_to_string(&mut text).map_err(wrong)?;
    if text.len() as u64 > MAX {
        return Err(Failure::Usage(format!("{}: longer than {MAX} bytes", path.display())));
    }
    Ok(text)
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
