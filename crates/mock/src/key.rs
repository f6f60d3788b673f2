//! The keys that an LLM server admits.

use std::fmt;
use std::time::{Duration, SystemTime};

use portunus_auth_core::BearerToken;

use crate::server::MockServer;

/// A key that a server admits: a bearer token, which is also taken where each provider looks for an API
/// key, or an AWS key that signs calls of Bedrock.
#[derive(Clone, Debug)]
pub struct Key {
    /// The token, or the AWS key's id.
    pub(crate) token: BearerToken,
    pub(crate) uses: Option<u32>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) models: Option<Vec<String>>,
    pub(crate) paths: Option<Vec<String>>,
    pub(crate) aws: Option<AwsKey>,
}

/// What an AWS key signs with.
#[derive(Clone)]
pub(crate) struct AwsKey {
    pub(crate) secret: BearerToken,
    pub(crate) session_token: Option<BearerToken>,
    pub(crate) region: Option<String>,
}

impl fmt::Debug for AwsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKey").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Key {
    /// A token that is good without limit.
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: BearerToken::new(token), uses: None, ttl: None, models: None, paths: None, aws: None }
    }

    /// An AWS key. Calls of Bedrock must be signed with it (Signature Version 4), within five minutes by
    /// the server's clock.
    pub fn aws(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        let secret = BearerToken::new(secret_access_key);
        Self { aws: Some(AwsKey { secret, session_token: None, region: None }), ..Self::new(access_key_id) }
    }

    /// The session token that has to come with each call, as with temporary keys. Of an AWS key only.
    #[must_use]
    pub fn session_token(mut self, token: impl Into<String>) -> Self {
        if let Some(aws) = &mut self.aws {
            aws.session_token = Some(BearerToken::new(token));
        }
        self
    }

    /// The region that calls have to be signed for; any, unless it is said here or in the `Host` header.
    /// Of an AWS key only.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        if let Some(aws) = &mut self.aws {
            aws.region = Some(region.into());
        }
        self
    }

    /// Admits that many LLM requests. One that is malformed, or that no fixture matches, costs none.
    #[must_use]
    pub fn uses(mut self, uses: u32) -> Self {
        self.uses = Some(uses);
        self
    }

    /// Ends that long after it was added, by the server's clock.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Admits requests for exactly these models; without any, for none.
    #[must_use]
    pub fn models<M: Into<String>>(mut self, models: impl IntoIterator<Item = M>) -> Self {
        self.models = Some(models.into_iter().map(Into::into).collect());
        self
    }

    /// Admits requests for models at exactly these paths; without any, at none.
    #[must_use]
    pub fn paths<P: Into<String>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.paths = Some(paths.into_iter().map(Into::into).collect());
        self
    }

    /// Whether a required part is empty.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.token.expose().is_empty() || self.aws.as_ref().is_some_and(|aws| aws.secret.expose().is_empty())
    }

    pub(crate) fn ends_at(&self, now: SystemTime) -> Option<SystemTime> {
        self.ttl.and_then(|ttl| now.checked_add(ttl))
    }
}

/// The keys of a running server.
impl MockServer {
    /// Admits a token from now on, without limit. A server without authentication begins to ask for it.
    pub fn add_token(&self, token: &str) {
        self.add_key(Key::new(token));
    }

    /// Admits a token for exactly `uses` further LLM requests.
    pub fn add_token_uses(&self, token: &str, uses: u32) {
        self.add_key(Key::new(token).uses(uses));
    }

    /// Admits a key from now on, in place of one with the same token or id.
    pub fn add_key(&self, key: Key) {
        self.llm.gate.add(key, self.llm.clock.now());
    }

    /// Ends a key now, as if its time were up. Whether there is such a key.
    pub fn expire_key(&self, token: &str) -> bool {
        self.llm.gate.expire(token, self.llm.clock.now())
    }

    /// How many uses a key has left. `None`: there is no such key, or it has no limit.
    pub fn uses_left(&self, token: &str) -> Option<u32> {
        self.llm.gate.left(token)
    }

    /// Refuses a token on the LLM routes from now on, whoever issued it.
    pub fn revoke_token(&self, token: &str) {
        self.llm.gate.revoke(token);
    }
}
