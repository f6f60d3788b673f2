//! Who signs in, and what is told of them.

use serde_json::{Map, Value};

/// A user and their claims.
///
/// A claim of OIDC's scopes `profile` and `email` is told only when that scope was granted, any other
/// claim always (OIDC Core §5.4).
#[derive(Clone, Debug)]
pub struct User {
    pub(super) subject: String,
    claims: Map<String, Value>,
}

const EMAIL: [&str; 2] = ["email", "email_verified"];
const PROFILE: [&str; 14] = [
    "name",
    "family_name",
    "given_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "updated_at",
];

impl User {
    /// A user of that subject, of whom nothing else is known.
    pub fn new(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), claims: Map::new() }
    }

    /// Adds a claim, or replaces it.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    pub(super) fn get(&self, claim: &str) -> Option<&Value> {
        self.claims.get(claim)
    }

    pub(super) fn claims(&self, scopes: &[String]) -> Map<String, Value> {
        let granted = |scope: &str| scopes.iter().any(|granted| granted == scope);
        let told = |name: &str| {
            if EMAIL.contains(&name) {
                granted("email")
            } else if PROFILE.contains(&name) {
                granted("profile")
            } else {
                true
            }
        };
        self.claims.iter().filter(|(name, _)| told(name)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

impl Default for User {
    /// `mock-user`, Mock User, mock-user@example.com, of the group `eng`.
    fn default() -> Self {
        Self::new("mock-user")
            .claim("name", "Mock User")
            .claim("preferred_username", "mock-user")
            .claim("email", "mock-user@example.com")
            .claim("email_verified", true)
            .claim("groups", vec!["eng"])
    }
}
