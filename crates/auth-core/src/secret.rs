//! Text that must not be shown: no `Display`, no `Serialize`, and a `Debug` that says only what it is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::HeaderValue;
pub use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// A bearer token, as presented by a caller or obtained for an upstream.
#[derive(Clone)]
pub struct BearerToken(SecretString);

impl BearerToken {
    /// Takes over the token's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The token in an `Authorization` field of the scheme `Bearer`, which is compared without case
    /// (RFC 9110 section 11.1) and followed by one or more spaces (section 11.4). `None`: another scheme,
    /// or anything but one token.
    pub fn from_authorization(value: &HeaderValue) -> Option<Self> {
        Self::with_scheme(value, "Bearer")
    }

    /// The same of another scheme that carries a token, such as `DPoP` (RFC 9449 section 7.1).
    pub fn with_scheme(value: &HeaderValue, expected: &str) -> Option<Self> {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        let token = token.trim_start_matches(' ');
        let is_one = !token.is_empty() && !token.contains([' ', '\t']);
        (scheme.eq_ignore_ascii_case(expected) && is_one).then(|| Self::new(token))
    }

    /// The text, for digesting, verifying or sending; never for showing.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<SecretString> for BearerToken {
    fn from(text: SecretString) -> Self {
        Self(text)
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(***)")
    }
}

/// Where a secret is to be read from: `${env:NAME}` (or `${NAME}`) or `${file:PATH}`.
///
/// Configuration holds references only; a literal secret is refused, so that no secret is ever
/// committed with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// The environment variable of that name.
    Env(String),
    /// The file at that path, without the white space at its end.
    File(PathBuf),
}

/// Answers what a [`SecretRef`] refers to. The program's edge implements it over the real
/// environment and file system, a test over a map.
pub trait SecretSource {
    /// The variable's value, if it is set.
    fn env(&self, name: &str) -> Option<String>;

    /// The file's text.
    ///
    /// # Errors
    /// Whatever reading the file reported.
    fn file(&self, path: &Path) -> std::io::Result<String>;
}

/// Why a reference gave no secret. Never holds the secret's text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The text is not of the form of a reference.
    #[error(
        "a secret is given by reference only: write `${{env:NAME}}` or `${{file:PATH}}` and keep the secret there"
    )]
    NotAReference,
    /// The variable is not set, or empty.
    #[error("the environment variable `{0}` is not set, or empty; set it before starting")]
    NoVariable(String),
    /// The file could not be read.
    #[error("the secret file `{}` cannot be read", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds nothing but white space.
    #[error("the secret file `{}` is empty", .0.display())]
    EmptyFile(PathBuf),
}

impl SecretRef {
    /// Reads the secret.
    ///
    /// # Errors
    /// [`SecretError`] when it is absent, unreadable or empty.
    pub fn resolve(&self, source: &dyn SecretSource) -> Result<SecretString, SecretError> {
        match self {
            Self::Env(name) => {
                let text = source.env(name).unwrap_or_default();
                let text = text.trim();
                if text.is_empty() {
                    return Err(SecretError::NoVariable(name.clone()));
                }
                Ok(SecretString::from(text))
            }
            Self::File(path) => {
                let text =
                    source.file(path).map_err(|source| SecretError::NoFile { path: path.clone(), source })?;
                let text = text.trim();
                if text.is_empty() {
                    return Err(SecretError::EmptyFile(path.clone()));
                }
                Ok(SecretString::from(text))
            }
        }
    }
}

impl FromStr for SecretRef {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let inner =
            text.strip_prefix("${").and_then(|t| t.strip_suffix('}')).ok_or(SecretError::NotAReference)?;
        if let Some(path) = inner.strip_prefix("file:") {
            return if path.is_empty() {
                Err(SecretError::NotAReference)
            } else {
                Ok(Self::File(PathBuf::from(path)))
            };
        }
        let name = inner.strip_prefix("env:").unwrap_or(inner);
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            Ok(Self::Env(name.to_owned()))
        } else {
            Err(SecretError::NotAReference)
        }
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // A literal secret that was written here by mistake, also as a number, must not be repeated by
        // the error.
        let text = SecretString::deserialize(from).map_err(|_| SecretError::NotAReference);
        text.and_then(|text| text.expose_secret().parse()).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SecretRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretRef".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Where a secret is to be read from: ${env:NAME} or ${file:PATH}.",
            "type": "string",
            "pattern": r"^\$\{.+\}$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    struct Fake(HashMap<&'static str, &'static str>);

    impl SecretSource for Fake {
        fn env(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|v| (*v).to_owned())
        }
        fn file(&self, path: &Path) -> std::io::Result<String> {
            let text = path.to_str().and_then(|p| self.0.get(p));
            text.map(|v| (*v).to_owned()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
        }
    }

    #[test]
    fn references_are_parsed_and_literals_refused() {
        assert_eq!("${env:A_1}".parse::<SecretRef>().unwrap(), SecretRef::Env("A_1".into()));
        assert_eq!("${A_1}".parse::<SecretRef>().unwrap(), SecretRef::Env("A_1".into()));
        assert_eq!("${file:/k}".parse::<SecretRef>().unwrap(), SecretRef::File("/k".into()));
        for bad in ["sk-canary", "", "${}", "${env:}", "${file:}", "${env:A B}", "${1A}", "x${env:A}"] {
            let error = bad.parse::<SecretRef>().unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_literal_in_a_file_is_not_repeated() {
        for json in ["\"sk-7777\"", "7777", "[7777]", "true"] {
            let error = serde_json::from_str::<SecretRef>(json).unwrap_err().to_string();
            assert!(error.starts_with("a secret is given by reference only"), "{error}");
            assert!(!error.contains("7777"), "{error}");
        }
    }

    #[test]
    fn an_absent_or_empty_secret_is_an_error() {
        let source = Fake(HashMap::from([("A", " secret\n"), ("B", "  "), ("/k", "key\n"), ("/e", "\n")]));
        let get = |r: &str| r.parse::<SecretRef>().unwrap().resolve(&source);
        assert_eq!(get("${env:A}").unwrap().expose_secret(), "secret");
        assert_eq!(get("${file:/k}").unwrap().expose_secret(), "key");
        assert!(matches!(get("${env:B}"), Err(SecretError::NoVariable(_))));
        assert!(matches!(get("${env:C}"), Err(SecretError::NoVariable(_))));
        assert!(matches!(get("${file:/e}"), Err(SecretError::EmptyFile(_))));
        assert!(matches!(get("${file:/none}"), Err(SecretError::NoFile { .. })));
    }

    #[test]
    fn a_bearer_token_is_read_whatever_the_case_and_however_many_spaces() {
        for value in ["Bearer k=", "bearer k=", "BEARER    k=", " \tBearer k= \t"] {
            let token = BearerToken::from_authorization(&HeaderValue::from_static(value));
            assert_eq!(token.unwrap().expose(), "k=", "{value:?}");
        }
    }

    #[test]
    fn what_is_not_one_bearer_token_is_none() {
        let none =
            ["", "k", "Bearer", "Bearer ", "Bearer  \t", "Bearer\tk", "Bearerk", "Bearer: k", "Basic k"];
        for value in none.into_iter().chain(["Bearer a b", "Bearer a\tb", "Bearer a, Bearer b"]) {
            let token = BearerToken::from_authorization(&HeaderValue::from_static(value));
            assert!(token.is_none(), "{value:?}");
        }
        let not_text = HeaderValue::from_bytes(b"Bearer k\xff").unwrap();
        assert!(BearerToken::from_authorization(&not_text).is_none());
    }

    #[test]
    fn debug_shows_no_text() {
        assert_eq!(format!("{:?}", BearerToken::new("canary")), "BearerToken(***)");
    }
}
