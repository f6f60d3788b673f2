//! Errors that a provider answers with, when a test asks for it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::rate_limits::RateLimits;

/// An error, which each dialect words in its own way.
///
/// ```
/// use portunus_mock::{ApiError, Fixture};
/// use std::time::Duration;
///
/// let fixture = Fixture::new().respond_with(ApiError::rate_limited().retry_after(Duration::from_secs(2)));
/// # let _ = fixture;
/// ```
#[derive(Clone, Debug)]
pub struct ApiError {
    pub(crate) kind: Kind,
    pub(crate) message: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) limits: Option<RateLimits>,
    pub(crate) headers: HeaderMap,
    problem: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Status(u16),
    RateLimited,
    OutOfQuota,
    Overloaded,
}

/// An error by its name, in a fixture file or over HTTP.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NamedError {
    RateLimited,
    OutOfQuota,
    Overloaded,
}

impl NamedError {
    pub(crate) fn error(self) -> ApiError {
        match self {
            Self::RateLimited => ApiError::rate_limited(),
            Self::OutOfQuota => ApiError::out_of_quota(),
            Self::Overloaded => ApiError::overloaded(),
        }
    }
}

impl ApiError {
    /// An error with that status, which must be one of 400 to 599.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::of(Kind::Status(status)) }
    }

    /// Too many requests or tokens for now: 429. Without more, it says when to come back only in its
    /// text.
    pub fn rate_limited() -> Self {
        Self::of(Kind::RateLimited)
    }

    /// Out of credit, which waiting does not mend: 429, of Anthropic 402.
    pub fn out_of_quota() -> Self {
        Self::of(Kind::OutOfQuota)
    }

    /// The provider has too much to do: 503, of Anthropic 529.
    pub fn overloaded() -> Self {
        Self::of(Kind::Overloaded)
    }

    /// Says that, instead of the provider's own words.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// When to come back: in `retry-after`, in whole seconds rounded up, or where Google says it.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// States these limits, where the provider does.
    #[must_use]
    pub fn rate_limits(mut self, limits: RateLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Adds a header, in place of the provider's own of that name.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => drop(self.headers.insert(name, value)),
            _ => self.problem = Some("a header's name or value cannot be sent"),
        }
        self
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            message: None,
            retry_after: None,
            limits: None,
            headers: HeaderMap::new(),
            problem: None,
        }
    }

    /// What makes it impossible, if anything does.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Status(400..600) | Kind::RateLimited | Kind::OutOfQuota | Kind::Overloaded => self.problem,
            Kind::Status(_) => Some("an error has a status of 400 to 599"),
        }
    }
}
