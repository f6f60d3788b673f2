//! The HTTP side of an event.

use std::fmt;

use serde::{Serialize, Serializer};

/// The HTTP side of an event.
#[derive(Clone, Debug, Serialize)]
pub struct HttpFacts {
    /// The method.
    #[serde(serialize_with = "method")]
    pub method: http::Method,
    /// The route's template, never the caller's path.
    pub route: &'static str,
    /// The status that was answered, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The name of this request, also in the `portunus-request-id` of the answer.
    pub request_id: RequestId,
}

fn method<S: Serializer>(method: &http::Method, to: S) -> Result<S::Ok, S::Error> {
    // An extension method is the caller's text; the audit keeps it to its first 16 characters.
    to.serialize_str(method.as_str().get(..16).unwrap_or(method.as_str()))
}

/// The name of one request: unique in this process and, with its random half, beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub u64, pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "req_{:016x}{:016x}", self.0, self.1)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
