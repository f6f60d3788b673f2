#![doc = include_str!("../README.md")]

pub mod audit;
pub mod authn;
pub mod clock;
pub mod credential;
pub mod dialect;
pub mod endpoint;
pub mod grant;
pub mod principal;
pub mod problem;
pub mod secret;
#[cfg(any(test, feature = "test-util"))]
pub mod vectors;

pub use audit::{AuditEvent, AuditFull, AuditSink, Outcome, Reason, Trail};
pub use authn::{AuthError, Authenticator};
pub use clock::{Clock, SystemClock};
pub use credential::{
    CompanionHeader, Credential, CredentialError, CredentialProvider, CredentialSource, Issued,
};
pub use dialect::{CallHead, Dialect};
pub use grant::{
    Action, Allow, Confirmation, Denied, Grant, GrantRequest, Limit, Pattern, Permit, TierName, Wider,
};
pub use principal::{KeyId, Principal, PrincipalId, TenantId, Via};
pub use problem::ConfigProblem;
pub use secret::{BearerToken, SecretError, SecretRef, SecretSource};

/// Any error, as the `source` of a typed one.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
