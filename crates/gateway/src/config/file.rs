//! Reads the file and says where in it something is wrong.

use std::fmt;
use std::path::{Path, PathBuf};

use portunus_auth_core::ConfigProblem;
use toml::de::{DeTable, DeValue};

use super::Config;

/// A configuration that cannot be used. A person must mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{}", list(.0))]
    Wrong(Vec<Located>),
}

fn list(problems: &[Located]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What is wrong, and where: `FILE:LINE:COLUMN: what`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What is wrong.
    pub says: String,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path.display(), self.line, self.column, self.says)
    }
}

/// A configuration together with its text, so that later problems can still be located.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    text: String,
}

impl Config {
    /// Reads and parses the file.
    ///
    /// # Errors
    /// [`ConfigError`] with the place of the first thing that does not parse.
    pub fn read(path: &Path) -> Result<(Self, Source), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let source = Source { path: path.to_owned(), text };
        let config = source.parse()?;
        Ok((config, source))
    }
}

impl Source {
    fn parse(&self) -> Result<Config, ConfigError> {
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            ConfigError::Wrong(vec![self.located(at, explain(error.message()))])
        })
    }

    /// The problems with their places in this file.
    pub fn locate(&self, problems: Vec<ConfigProblem>) -> ConfigError {
        let document = DeTable::parse(&self.text).ok();
        let place = |at: &str| document.as_ref().map_or(0, |document| offset(document.get_ref(), at));
        let mut located: Vec<_> =
            problems.into_iter().map(|problem| self.located(place(&problem.at), problem.says)).collect();
        located.sort_by_key(|problem| (problem.line, problem.column));
        ConfigError::Wrong(located)
    }

    fn located(&self, offset: usize, says: String) -> Located {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        Located { path: self.path.clone(), line, column, says }
    }
}

/// Where in the document the value at a dotted path begins; as near as the path leads.
fn offset(document: &DeTable<'_>, at: &str) -> usize {
    let mut found = 0;
    let mut steps = at.split('.');
    let Some(first) = steps.next() else { return found };
    let Some((key, value)) = document.iter().find(|(key, _)| key.get_ref() == first) else { return found };
    found = key.span().start;
    let mut here = value;
    for step in steps {
        let next = match here.get_ref() {
            DeValue::Table(table) => table.iter().find(|(key, _)| key.get_ref() == step).map(|(_, v)| v),
            DeValue::Array(list) => step.parse().ok().and_then(|n: usize| list.get(n)),
            _ => None,
        };
        let Some(next) = next else { break };
        found = next.span().start;
        here = next;
    }
    found
}

/// The parser's message without what stands in the file, which may be a secret in the wrong place,
/// and with the nearest valid name for an unknown one.
fn explain(message: &str) -> String {
    let message = message.trim_end();
    if message.starts_with("invalid type") || message.starts_with("invalid value") {
        return match message.rfind(", expected ") {
            Some(at) => format!("wrong value: {}", &message[at + 2..]),
            None => "wrong value".to_owned(),
        };
    }
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    if let (true, Some((wrong, valid))) = (unknown, quoted.split_first()) {
        let near = |name: &&&str| strsim::damerau_levenshtein(name, wrong);
        let nearest = valid.iter().min_by_key(near).filter(|name| near(name) <= 3);
        return match nearest {
            Some(name) => format!("{message}; did you mean `{name}`?"),
            None => message.to_owned(),
        };
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "portunus.toml".into(), text: text.to_owned() }
    }

    fn refused(text: &str) -> String {
        source(text).parse().unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_name() {
        let error = refused("[server]\nlisten = \"127.0.0.1:1\"\nmax_body_byte = 5\n");
        assert!(error.starts_with("portunus.toml:3:1: unknown field `max_body_byte`"), "{error}");
        assert!(error.ends_with("did you mean `max_body_bytes`?"), "{error}");
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        for text in [
            "[[keys]]\nname = \"a\"\ntenant = \"t\"\nkey = \"sk-canary\"\ngrant = { tier = \"x\" }\n",
            "[server]\nmax_body_bytes = \"sk-canary\"\n",
            "[server]\nlisten = \"sk-canary\"\n",
            "[[tiers]]\nname = \"a\"\nrequests_per_minute = \"sk-canary\"\n",
        ] {
            let error = refused(text);
            assert!(!error.contains("canary"), "{error}");
            assert!(error.starts_with("portunus.toml:"), "{error}");
        }
    }

    #[test]
    fn problems_found_later_are_located_too() {
        let source = source("[[tiers]]\nname = \"a\"\n\n[[tiers]]\nname = \"b\"\n");
        let problems =
            vec![ConfigProblem::new("tiers.1.name", "twice"), ConfigProblem::new("models", "none")];
        assert_eq!(source.locate(problems).to_string(), "portunus.toml:1:1: none\nportunus.toml:5:8: twice");
    }

    #[test]
    fn broken_toml_is_located() {
        assert!(refused("[server\n").starts_with("portunus.toml:1:"));
        assert!(refused("\n\n= 1\n").starts_with("portunus.toml:3:1:"));
    }
}
