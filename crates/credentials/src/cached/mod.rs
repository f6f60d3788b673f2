//! The one cache: a source's credential, always at hand and replaced before it ends.

mod failure;
mod held;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portunus_auth_core::{Clock, Credential, CredentialError, CredentialProvider, CredentialSource, Issued};
use tracing::Instrument;

pub(crate) use self::failure::Causes;
use self::failure::{Failure, retell};
use self::held::{Held, Moment};
use crate::sync::{ArcSwapOption, Handle, Mutex, MutexGuard, TryCurrentError, watch};

/// A fetch that runs longer is given up: callers begin another. Every source of this crate ends sooner, unless the
/// operating system keeps it from reading a file.
const LONGEST_FETCH: Duration = Duration::from_secs(180);

/// When a [`Cached`] refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// So long before the end a replacement is fetched; never more than half the lifetime, and up to a
    /// tenth less, so that many processes do not ask at the same instant. 5 minutes.
    pub margin: Duration,
    /// While the held credential works, it is not replaced sooner than this after it was fetched; and
    /// refusals by the upstream lead to at most one fetch in this time. 10 seconds.
    pub min_refetch: Duration,
    /// So long a failure is remembered when the issuer did not say how long to wait; twice as long after each
    /// further refusal in a row. 5 seconds.
    pub cool_down: Duration,
    /// The longest wait, also where an issuer's `Retry-After` asks for more; the shortest that it can ask for is
    /// a second. 1 minute.
    pub longest_cool_down: Duration,
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self {
            margin: Duration::from_secs(300),
            min_refetch: Duration::from_secs(10),
            cool_down: Duration::from_secs(5),
            longest_cool_down: Duration::from_secs(60),
        }
    }
}

impl RefreshPolicy {
    /// So long before its end a replacement is fetched for what was issued when it was `asked` for, or up to a
    /// tenth less. `None`: it has no end, or had ended by then.
    pub fn margin_of(&self, issued: &Issued, asked: SystemTime) -> Option<Duration> {
        let life = issued.expires_at?.duration_since(asked).ok()?;
        let margin = issued.refresh_margin.map_or(self.margin, |margin| margin.min(self.margin));
        Some(margin.min(life / 2))
    }
}

/// Keeps what a source issued, and has it replaced before it ends.
///
/// * Reading a fresh credential takes no lock and allocates nothing.
/// * At most one fetch runs, in a task of its own: a caller that goes away does not cancel it.
/// * Nobody waits while the held credential works; a failed refresh leaves it in service to its end.
/// * A failure is remembered for a few seconds and told to every caller as the same error.
/// * A credential that the upstream refused is dropped, and fetched anew once.
///
/// Clones share what is held.
pub struct Cached<S>(Arc<Shared<S>>);

struct Shared<S> {
    source: S,
    clock: Arc<dyn Clock>,
    policy: RefreshPolicy,
    /// How much of the margin this instance uses: 0.9 to 1.
    share_of_margin: f64,
    /// Read without the desk's lock; written only under it.
    held: ArcSwapOption<Held>,
    desk: Mutex<Desk>,
}

/// What is decided in one step, under a lock that is never held across an await.
#[derive(Default)]
struct Desk {
    flight: Option<Flight>,
    /// How many fetches in a row were refused for a reason that a person has to mend.
    refused: u32,
    failure: Option<Failure>,
    /// Until then (monotonic) a refusal by the upstream drops nothing.
    no_drop_before: Duration,
}

/// A fetch that runs since `begun` (monotonic).
struct Flight {
    landing: watch::Receiver<Landing>,
    begun: Duration,
}

/// What a running fetch came to; `None` while it runs.
type Landing = Option<Result<Arc<Credential>, Arc<CredentialError>>>;

enum Answer {
    Now(Arc<Credential>),
    When(watch::Receiver<Landing>),
}

/// Why there is no credential, where the source cannot be blamed or did answer.
#[derive(Debug, thiserror::Error)]
enum Unserved {
    #[error("refreshing a credential needs a tokio runtime")]
    NoRuntime(#[source] TryCurrentError),
    #[error("the refresh ended before its time")]
    Crashed,
    #[error("the issued credential had expired on arrival")]
    Expired,
}

impl From<Unserved> for CredentialError {
    fn from(why: Unserved) -> Self {
        Self::Unavailable { retry_after: None, source: Box::new(why) }
    }
}

impl<S> Clone for Cached<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: fmt::Debug> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("source", &self.0.source).finish_non_exhaustive()
    }
}

impl<S: CredentialSource> Cached<S> {
    /// Caches what `source` issues. Fetches nothing before somebody asks.
    pub fn new(source: S, clock: Arc<dyn Clock>) -> Self {
        Self::with_policy(source, clock, RefreshPolicy::default())
    }

    /// The same, with intervals of one's own.
    pub fn with_policy(source: S, clock: Arc<dyn Clock>, policy: RefreshPolicy) -> Self {
        // Spreads instances, protects nothing: the standard library's hasher keys are random enough.
        let random = RandomState::new().hash_one(0) % 1_000;
        Self(Arc::new(Shared {
            source,
            clock,
            policy,
            share_of_margin: 1.0 - random as f64 / 10_000.0,
            held: ArcSwapOption::empty(),
            desk: Mutex::default(),
        }))
    }

    /// The fresh credential, if one is held; no lock, no allocation, and no refresh is started.
    pub fn held(&self) -> Option<Arc<Credential>> {
        self.0.fresh(Moment::of(&*self.0.clock))
    }

    /// A credential that works now, not copied.
    ///
    /// # Errors
    /// The source's, if nothing that works is held. `Unavailable` if that needs a fetch and there is no
    /// tokio runtime, or the fetch ended without an answer.
    pub async fn current(&self) -> Result<Arc<Credential>, CredentialError> {
        let mut flight = match self.0.ask()? {
            Answer::Now(credential) => return Ok(credential),
            Answer::When(flight) => flight,
        };
        match flight.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(credential))) => Ok(credential.clone()),
            Ok(Some(Err(error))) => Err(retell(error, None)),
            _ => Err(Unserved::Crashed.into()),
        }
    }

    /// Drops the credential if it is the one held, so that the next call has a new one fetched.
    ///
    /// Should the replacement be refused as well, it stays until [`RefreshPolicy::min_refetch`] has
    /// passed: an upstream that refuses whatever is issued, perhaps to one caller only, neither floods
    /// the issuer nor takes the credential from everybody else.
    pub fn invalidate(&self, refused: &Credential) {
        self.0.drop_refused(refused);
    }
}

#[async_trait]
impl<S: CredentialSource> CredentialProvider for Cached<S> {
    async fn resolve(&self) -> Result<Credential, CredentialError> {
        self.current().await.map(|credential| (*credential).clone())
    }

    fn held(&self) -> Option<Arc<Credential>> {
        Self::held(self)
    }

    fn invalidate(&self, refused: &Credential) {
        Self::invalidate(self, refused);
    }
}

impl<S: CredentialSource> Shared<S> {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Nothing that can panic runs under the lock, so what it guards is whole.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self, now: Moment) -> Option<Arc<Credential>> {
        let held = self.held.load();
        held.as_ref().filter(|held| held.is_fresh(now)).map(|held| held.credential.clone())
    }

    fn ask(self: &Arc<Self>) -> Result<Answer, CredentialError> {
        let now = Moment::of(&*self.clock);
        if let Some(fresh) = self.fresh(now) {
            return Ok(Answer::Now(fresh));
        }
        let mut desk = self.desk();
        // A refresh may have landed on the way here.
        if let Some(fresh) = self.fresh(now) {
            return Ok(Answer::Now(fresh));
        }
        let works = self.held.load_full().filter(|held| held.works(now)).map(|held| held.credential.clone());
        let flight = self.flight(&mut desk, now.steady);
        match works {
            Some(credential) => Ok(Answer::Now(credential)),
            None => flight.map(Answer::When),
        }
    }

    /// The running fetch, or a new one, unless the last has just failed.
    fn flight(
        self: &Arc<Self>,
        desk: &mut Desk,
        now: Duration,
    ) -> Result<watch::Receiver<Landing>, CredentialError> {
        // A channel whose other end is gone belongs to a fetch that crashed, or whose runtime did.
        let runs = |flight: &&Flight| {
            flight.landing.has_changed().is_ok() && now.saturating_sub(flight.begun) < LONGEST_FETCH
        };
        if let Some(flight) = desk.flight.as_ref().filter(runs) {
            return Ok(flight.landing.clone());
        }
        if let Some(failure) = desk.failure.as_ref().filter(|failure| now < failure.until) {
            return Err(failure.told(now));
        }
        let runtime = Handle::try_current().map_err(Unserved::NoRuntime)?;
        let (landing, flight) = watch::channel(None);
        desk.flight = Some(Flight { landing: flight.clone(), begun: now });
        runtime.spawn(self.clone().refresh(landing, now).in_current_span());
        Ok(flight)
    }

    async fn refresh(self: Arc<Self>, landing: watch::Sender<Landing>, begun: Duration) {
        let asked = Moment::of(&*self.clock);
        let fetched = self.source.fetch().await;
        let got = Moment::of(&*self.clock);
        let landed = {
            let mut desk = self.desk();
            // One that was given up may land after its successor has begun.
            if desk.flight.as_ref().is_some_and(|flight| flight.begun == begun) {
                desk.flight = None;
            }
            self.settle(&mut desk, fetched.and_then(|issued| self.accept(issued, asked, got)), got.steady)
        };
        match &landed {
            Ok(_) => tracing::debug!(source = ?self.source, "credential refreshed"),
            Err(error) => {
                tracing::warn!(source = ?self.source, error = %Causes(&**error), "credential refresh failed");
            }
        }
        landing.send_replace(Some(landed));
    }

    fn accept(&self, issued: Issued, asked: Moment, got: Moment) -> Result<Held, CredentialError> {
        Held::new(issued, asked, got, &self.policy, self.share_of_margin)
            .ok_or_else(|| Unserved::Expired.into())
    }

    /// A failure leaves what is held in place: it may still work.
    fn settle(
        &self,
        desk: &mut Desk,
        landed: Result<Held, CredentialError>,
        now: Duration,
    ) -> Result<Arc<Credential>, Arc<CredentialError>> {
        match landed {
            Ok(held) => {
                let credential = held.credential.clone();
                self.held.store(Some(Arc::new(held)));
                desk.refused = 0;
                Ok(credential)
            }
            Err(error) => {
                let error = Arc::new(error);
                let final_so_far =
                    matches!(*error, CredentialError::Rejected(_) | CredentialError::Invalid(_));
                let until = now.saturating_add(self.cool_down(&error, desk.refused));
                desk.refused = if final_so_far { desk.refused.saturating_add(1) } else { 0 };
                desk.failure = Some(Failure { error: error.clone(), until });
                Err(error)
            }
        }
    }

    /// Twice as long after each refusal in a row, because asking again does not mend it.
    fn cool_down(&self, error: &CredentialError, refused: u32) -> Duration {
        match error {
            CredentialError::Unavailable { retry_after: Some(asked), .. } => {
                (*asked).min(self.policy.longest_cool_down).max(Duration::from_secs(1))
            }
            CredentialError::Rejected(_) | CredentialError::Invalid(_) => {
                let longest = self.policy.longest_cool_down.max(self.policy.cool_down);
                self.policy.cool_down.saturating_mul(1 << refused.min(16)).min(longest)
            }
            _ => self.policy.cool_down,
        }
    }

    fn drop_refused(&self, refused: &Credential) {
        let now = self.clock.monotonic();
        let mut desk = self.desk();
        let is_held = self.held.load().as_ref().is_some_and(|held| *held.credential == *refused);
        if is_held && now >= desk.no_drop_before {
            self.held.store(None);
            desk.no_drop_before = now.saturating_add(self.policy.min_refetch);
        }
    }
}

#[cfg(any(
    feature = "anthropic-auth",
    feature = "azure-auth",
    feature = "bedrock-auth",
    feature = "openai-auth",
    feature = "vertex-auth"
))]
impl<S: CredentialSource + Clone> Cached<S> {
    /// A cache of its own for the changed source; nothing that was held is taken over.
    pub(crate) fn changed(self, change: impl FnOnce(&mut S)) -> Self {
        let mut source = self.0.source.clone();
        change(&mut source);
        Self::with_policy(source, self.0.clock.clone(), self.0.policy)
    }
}
