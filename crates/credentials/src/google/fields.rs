//! The members of a credentials file.

use portunus_auth_core::secret::SecretString;
use serde_json::{Map, Value};

use super::misconfigured::Misconfigured;

/// A JSON object whose members are read by name. It has no `Debug`, because some of them are secret.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, Misconfigured> {
        value.as_object().map(Self).ok_or(Misconfigured::NotJson)
    }

    /// A text. One that is empty or `null` counts as absent.
    pub(super) fn text(&self, key: &'static str) -> Result<Option<&'a str>, Misconfigured> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(Misconfigured::Wrong(key)),
        }
    }

    pub(super) fn required(&self, key: &'static str) -> Result<&'a str, Misconfigured> {
        self.text(key)?.ok_or(Misconfigured::Missing(key))
    }

    /// A whole number.
    pub(super) fn number(&self, key: &'static str) -> Result<Option<u64>, Misconfigured> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(Misconfigured::Wrong(key)),
        }
    }

    pub(super) fn object(&self, key: &'static str) -> Result<Option<Self>, Misconfigured> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_object().map(Self).map(Some).ok_or(Misconfigured::Wrong(key)),
        }
    }

    /// The texts of a list.
    pub(super) fn list(&self, key: &'static str) -> Result<Vec<String>, Misconfigured> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => {
                list.iter().map(text).collect::<Option<_>>().ok_or(Misconfigured::Wrong(key))
            }
            Some(_) => Err(Misconfigured::Wrong(key)),
        }
    }

    /// The names and texts of an object.
    pub(super) fn texts(&self, key: &'static str) -> Result<Vec<(&'a str, &'a str)>, Misconfigured> {
        let Some(object) = self.object(key)? else { return Ok(Vec::new()) };
        let pairs = object.0.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        pairs.collect::<Option<_>>().ok_or(Misconfigured::Wrong(key))
    }

    pub(super) fn secret(&self, key: &'static str) -> Result<SecretString, Misconfigured> {
        self.required(key).map(SecretString::from)
    }
}
