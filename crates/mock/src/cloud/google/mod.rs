//! Google's token services: OAuth's token endpoint, the Security Token Service, IAM's credentials and the
//! metadata server. Each checks all that is sent.

mod iam;
mod metadata;
mod sts;
mod token;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::{Value, json};

use super::{Cloud, next};
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::secrets::Secrets;

pub use metadata::GoogleMetadata;
pub use sts::GooglePool;
pub use token::{GoogleAccount, GoogleUser};

/// Who and what Google knows.
#[derive(Debug, Default)]
pub struct GoogleCloud {
    accounts: Vec<GoogleAccount>,
    users: Vec<GoogleUser>,
    pools: Vec<GooglePool>,
    metadata: Option<GoogleMetadata>,
    issued: Mutex<Secrets<Issued>>,
}

/// What is known of a token that was issued.
#[derive(Debug)]
struct Issued {
    scope: String,
    ends: SystemTime,
}

impl GoogleCloud {
    /// Knows nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows a service account.
    #[must_use]
    pub fn account(mut self, account: GoogleAccount) -> Self {
        self.accounts.push(account);
        self
    }

    /// Knows a person's login.
    #[must_use]
    pub fn user(mut self, user: GoogleUser) -> Self {
        self.users.push(user);
        self
    }

    /// Trusts the identities of a workload or workforce pool.
    #[must_use]
    pub fn pool(mut self, pool: GooglePool) -> Self {
        self.pools.push(pool);
        self
    }

    /// Is also the metadata server of a machine.
    #[must_use]
    pub fn metadata(mut self, metadata: GoogleMetadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    pub(super) fn is_complete(&self) -> bool {
        self.accounts.iter().all(GoogleAccount::is_complete)
    }

    fn account_of(&self, email: &str) -> Option<&GoogleAccount> {
        self.accounts.iter().find(|account| account.email == email)
    }

    /// A new token of that scope, and when it ends.
    fn issue(&self, cloud: &Cloud, scope: &str, life: Duration) -> (String, SystemTime) {
        let token = format!("ya29.google-mock-token-{}", next(&cloud.tokens));
        let ends = cloud.desk.clock.now() + life;
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.insert(&token, Issued { scope: scope.to_owned(), ends });
        (token, ends)
    }

    /// Whether the token was issued here, has not ended, and has one of these scopes.
    fn admits(&self, token: &str, now: SystemTime, scopes: &[&str]) -> bool {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.get(token).is_some_and(|issued| {
            now < issued.ends && issued.scope.split(' ').any(|scope| scopes.contains(&scope))
        })
    }
}

/// The answer to a request that is for one of Google's services.
pub(super) fn answer(cloud: &Cloud, request: &Recorded) -> Option<Answer> {
    let google = &cloud.google;
    let path = request.path();
    Some(match path {
        "/token" => token::token(cloud, google, request),
        "/v1/token" => sts::exchange(cloud, google, request),
        _ => {
            if let Some(email) = path
                .strip_prefix("/v1/projects/-/serviceAccounts/")
                .and_then(|rest| rest.strip_suffix(":generateAccessToken"))
            {
                iam::generate(cloud, google, email, request)
            } else {
                metadata::answer(cloud, google, path.strip_prefix("/computeMetadata/v1/")?, request)?
            }
        }
    })
}

/// An error as OAuth's endpoints word it (RFC 6749 section 5.2).
type Problem = (u16, &'static str, &'static str);

fn refused((status, error, says): Problem) -> Answer {
    reply(status, &json!({ "error": error, "error_description": says }))
}

fn granted(token: &str, seconds: u64, more: Value) -> Answer {
    let mut body = json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer" });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    reply(200, &body)
}

fn reply(status: u16, body: &Value) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    answer::json(status, answer::write(body))
}
