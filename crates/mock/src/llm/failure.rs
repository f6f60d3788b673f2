//! What went wrong, before a provider words it.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderMap;

use super::gate::Refused;
use crate::api_error::{ApiError, Kind};
use crate::fault::Fault;
use crate::rate_limits::RateLimits;

/// An error: its status and what it says, where that is not left to the provider.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(super) cause: Cause,
    pub(super) message: Option<Cow<'static, str>>,
    pub(super) retry_after: Option<Duration>,
    pub(super) limits: Option<Box<RateLimits>>,
    /// Headers of a test's own choice.
    pub(super) headers: Option<Box<HeaderMap>>,
    /// The method that the route takes.
    pub(super) allow: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Status(u16),
    Refused(Refused),
    /// The key is good, but not for this.
    Forbidden,
    RateLimited,
    OutOfQuota,
    Overloaded,
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Halt {
    Failed(Failure),
    /// Not an error of the provider's at all.
    Disturbed(Fault),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Failure {
    pub(crate) fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: Some(message.into()), ..Self::of(Cause::Status(status)) }
    }

    pub(super) fn of(cause: Cause) -> Self {
        Self { cause, message: None, retry_after: None, limits: None, headers: None, allow: None }
    }

    /// One second, the least that a client can be told.
    pub(super) fn retry_soon(self) -> Self {
        Self { retry_after: Some(Duration::from_secs(1)), ..self }
    }
}

impl From<&ApiError> for Failure {
    fn from(error: &ApiError) -> Self {
        let cause = match error.kind {
            Kind::Status(status) => Cause::Status(status),
            Kind::RateLimited => Cause::RateLimited,
            Kind::OutOfQuota => Cause::OutOfQuota,
            Kind::Overloaded => Cause::Overloaded,
        };
        Self {
            message: error.message.clone().map(Into::into),
            retry_after: error.retry_after,
            limits: error.limits.map(Box::new),
            headers: (!error.headers.is_empty()).then(|| Box::new(error.headers.clone())),
            ..Self::of(cause)
        }
    }
}
