//! A limit on requests and tokens that really limits.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use portunus_auth_core::Limit;

use crate::rate_limits::{Quota, RateLimits};

/// Limits for all callers of a server together. A window begins with the first request after the last
/// one has passed, by the server's clock; what is left is stated in each answer's headers.
///
/// ```
/// use portunus_mock::{Limiter, ServerBuilder};
/// use std::num::NonZeroU64;
/// use std::time::Duration;
///
/// let limiter = Limiter::per(Duration::from_secs(60)).requests(NonZeroU64::new(2).unwrap());
/// let builder = ServerBuilder::new().limiter(limiter);
/// # let _ = builder;
/// ```
#[derive(Debug)]
pub struct Limiter {
    window: Duration,
    requests: Limit,
    tokens: Limit,
    used: Mutex<Used>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    ends_at: Option<SystemTime>,
    requests: u64,
    tokens: u64,
}

impl Limiter {
    /// A window of that length, in which there is no limit yet.
    pub fn per(window: Duration) -> Self {
        Self { window, requests: Limit::Unlimited, tokens: Limit::Unlimited, used: Mutex::default() }
    }

    /// Admits that many requests in a window.
    #[must_use]
    pub fn requests(mut self, requests: NonZeroU64) -> Self {
        self.requests = Limit::At(requests);
        self
    }

    /// Admits requests until that many tokens of input and output were used in a window.
    #[must_use]
    pub fn tokens(mut self, tokens: NonZeroU64) -> Self {
        self.tokens = Limit::At(tokens);
        self
    }

    /// Takes a request, or says in how long there is room for one; one step.
    pub(crate) fn take(&self, now: SystemTime) -> Result<(), (Duration, RateLimits)> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let ends_at = match used.ends_at {
            Some(end) if now < end => end,
            _ => {
                let end = now + self.window;
                *used = Used { ends_at: Some(end), ..Used::default() };
                end
            }
        };
        let wait = ends_at.duration_since(now).unwrap_or_default();
        if left(self.requests, used.requests) == 0 || left(self.tokens, used.tokens) == 0 {
            return Err((wait, self.state(*used, wait)));
        }
        used.requests += 1;
        Ok(())
    }

    /// Counts what an admitted request used, and says what is left.
    pub(crate) fn spend(&self, tokens: u64, now: SystemTime) -> RateLimits {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.tokens += tokens;
        let reset = used.ends_at.and_then(|end| end.duration_since(now).ok());
        self.state(*used, reset.unwrap_or_default())
    }

    pub(crate) fn reset(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Used::default();
    }

    fn state(&self, used: Used, reset: Duration) -> RateLimits {
        let quota = |limit, used| Quota { limit: left(limit, 0), remaining: left(limit, used), reset };
        RateLimits { requests: quota(self.requests, used.requests), tokens: quota(self.tokens, used.tokens) }
    }
}

/// What is left of a limit; of none, more than anybody uses.
fn left(limit: Limit, used: u64) -> u64 {
    match limit {
        Limit::Unlimited => u64::from(u32::MAX),
        Limit::At(limit) => limit.get().saturating_sub(used),
    }
}
