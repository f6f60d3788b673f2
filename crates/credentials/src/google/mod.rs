//! Google Cloud: an access token for Vertex AI, from whatever credentials there are.
//!
//! One file per kind of credentials; each fetches one token and keeps nothing.

mod adc;
mod authorized_user;
#[cfg(feature = "bedrock-auth")]
mod aws;
mod executable;
mod external_account;
mod fields;
mod hosts;
mod identity;
mod impersonation;
mod metadata;
mod misconfigured;
mod provider;
mod service_account;
mod source;
mod subject;

use std::time::{Duration, SystemTime};

use portunus_auth_core::{CredentialError, Issued, SecretSource};

use self::authorized_user::AuthorizedUser;
use self::external_account::ExternalAccount;
use self::fields::Fields;
use self::impersonation::{Impersonation, Target};
use self::metadata::Metadata;
use self::misconfigured::Misconfigured;
use self::service_account::ServiceAccount;
use crate::IssuerError;
use crate::http::Http;

pub use self::identity::GoogleIdentityTokenSource;
pub use self::provider::VertexOAuthCredentialProvider;
pub use self::source::GoogleSource;

/// What Vertex AI needs.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// One fetch.
struct Call<'a> {
    http: &'a Http,
    metadata_http: &'a Http,
    now: SystemTime,
    /// Separated by spaces.
    scope: &'a str,
    /// Whether somebody configured the scope.
    scope_is_chosen: bool,
}

/// How to get a token.
#[derive(Clone, Debug)]
enum Way {
    ServiceAccount(ServiceAccount),
    AuthorizedUser(AuthorizedUser),
    ExternalAccount(ExternalAccount),
    Impersonation(Impersonation),
    Metadata(Metadata),
}

impl Way {
    fn parse(fields: &Fields<'_>, env: &dyn SecretSource) -> Result<Self, Misconfigured> {
        match fields.required("type")? {
            "service_account" => ServiceAccount::parse(fields).map(Self::ServiceAccount),
            "authorized_user" => AuthorizedUser::parse(fields).map(Self::AuthorizedUser),
            "external_account" => Self::external_account(fields, env),
            "impersonated_service_account" => Impersonation::parse(fields, env).map(Self::Impersonation),
            "gdch_service_account" => Err(Misconfigured::UnsupportedType("gdch_service_account")),
            "external_account_authorized_user" => {
                Err(Misconfigured::UnsupportedType("external_account_authorized_user"))
            }
            _ => Err(Misconfigured::UnknownType),
        }
    }

    fn external_account(fields: &Fields<'_>, env: &dyn SecretSource) -> Result<Self, Misconfigured> {
        let target = Target::parse(fields, env)?;
        let email = target.as_ref().map(|target| target.email.as_str());
        let account = Self::ExternalAccount(ExternalAccount::parse(fields, email, env)?);
        let Some(target) = target else { return Ok(account) };
        let seconds = match fields.object("service_account_impersonation")? {
            Some(options) => options.number("token_lifetime_seconds")?,
            None => None,
        };
        Impersonation::new(target, account, Vec::new(), seconds).map(Self::Impersonation)
    }

    async fn token(&self, call: &Call<'_>) -> Result<Issued, CredentialError> {
        match self {
            Self::ServiceAccount(account) => account.token(call).await,
            Self::AuthorizedUser(user) => user.token(call).await,
            Self::ExternalAccount(account) => account.token(call).await,
            Self::Impersonation(impersonation) => impersonation.token(call).await,
            Self::Metadata(server) => server.token(call).await,
        }
    }
}

/// Google's own code for a fault that passes (it comes with the status 400 as well).
fn classify(error: IssuerError, retry_after: Option<Duration>) -> CredentialError {
    if error.error.as_deref() == Some("internal_failure") {
        return CredentialError::Unavailable { retry_after, source: error.into() };
    }
    error.classify(retry_after)
}
