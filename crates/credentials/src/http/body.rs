//! What is sent: a form or a JSON object, some of whose fields are secret.

use portunus_auth_core::secret::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;

/// The fields of a form, in order. It has no `Debug`, because some of them are secret.
#[expect(missing_debug_implementations, reason = "holds secrets in the clear")]
#[derive(Clone, Default)]
pub struct Form(pub(super) String);

/// The members of a JSON object. It has no `Debug`, because some of them are secret.
#[expect(missing_debug_implementations, reason = "holds secrets in the clear")]
#[derive(Clone, Default)]
pub struct Json(pub(super) Map<String, Value>);

impl Form {
    /// Adds a field.
    #[must_use]
    pub fn field(self, name: &str, value: &str) -> Self {
        let mut form = Serializer::new(self.0);
        form.append_pair(name, value);
        Self(form.finish())
    }

    /// Adds a secret field.
    #[must_use]
    pub fn secret(self, name: &str, value: &SecretString) -> Self {
        self.field(name, value.expose_secret())
    }
}

impl Json {
    /// Adds a member.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a secret member.
    #[must_use]
    pub fn secret(self, name: &str, value: &SecretString) -> Self {
        self.field(name, value.expose_secret())
    }
}
