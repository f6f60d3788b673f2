//! Keys as they are typed, and in files.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use portunus_mock::{Key, ServerBuilder};

use super::read;
use crate::args::MockServe;
use crate::exit::Failure;

/// `TOKEN:uses=2,ttl=5m,models=a|b,paths=/v1/messages`, not read yet: what is said of it must not repeat it.
#[derive(Clone)]
pub(crate) struct KeySpec(String);

impl FromStr for KeySpec {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySpec")
    }
}

impl KeySpec {
    pub(super) fn token(&self) -> &str {
        split(&self.0).0
    }

    fn key(&self) -> Result<Key, String> {
        let (token, options) = split(&self.0);
        let mut key = Key::new(token);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            key = match name {
                "uses" => key.uses(value.parse().map_err(|_| "`uses` is a number")?),
                "ttl" => key.ttl(humantime::parse_duration(value).map_err(|_| "`ttl` is a time such as 5m")?),
                "models" => key.models(value.split('|')),
                "paths" => key.paths(value.split('|')),
                name => return Err(format!("`{name}` is none of uses, ttl, models, paths")),
            };
        }
        Ok(key)
    }
}

/// The token, and its options. They begin after the first colon that a name and `=` follow: a token may hold
/// colons, and so do models of Bedrock.
fn split(text: &str) -> (&str, &str) {
    let is_option = |rest: &str| {
        let name = rest.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()))
    };
    let colon = text.match_indices(':').map(|(at, _)| at).find(|at| is_option(&text[at + 1..]));
    colon.map_or((text, ""), |at| (&text[..at], &text[at + 1..]))
}

pub(super) fn add(mut builder: ServerBuilder, args: &MockServe) -> Result<ServerBuilder, Failure> {
    let wrong = |place: String| move |says: String| Failure::Usage(format!("{place}: {says}"));
    for (at, spec) in args.key.iter().enumerate() {
        builder = builder.with_key(spec.key().map_err(wrong(format!("--key, the {}.", at + 1)))?);
    }
    for path in &args.key_file {
        for (at, line) in read(path)?.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = KeySpec(line.to_owned()).key();
            builder = builder.with_key(key.map_err(wrong(format!("{}:{}", path.display(), at + 1)))?);
        }
    }
    for key in &args.aws_key {
        builder = builder.with_key(Key::aws(&key.name, secret(key.file.as_deref(), "--aws-key")?));
    }
    Ok(builder)
}

fn secret(file: Option<&Path>, option: &str) -> Result<String, Failure> {
    let file =
        file.ok_or_else(|| Failure::Usage(format!("{option} needs ID=FILE: the file holds the secret")))?;
    read(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_begin_where_a_name_does() {
        for (text, token, options) in [
            ("sk-1", "sk-1", ""),
            ("a:b:c", "a:b:c", ""),
            ("sk-1:uses=2,ttl=5m", "sk-1", "uses=2,ttl=5m"),
            ("a:b:models=x-v1:0|y", "a:b", "models=x-v1:0|y"),
            ("YWJj:ZGVm==", "YWJj:ZGVm==", ""),
        ] {
            assert_eq!(split(text), (token, options), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_option_and_not_the_key() {
        for (text, says) in
            [("canary:use=1", "`use`"), ("canary:uses=x", "`uses`"), ("canary:ttl=x", "`ttl`")]
        {
            let error = KeySpec(text.to_owned()).key().unwrap_err();
            assert!(error.contains(says) && !error.contains("canary"), "{error}");
        }
        assert_eq!(format!("{:?}", KeySpec("canary".to_owned())), "KeySpec");
    }
}
