//! An issuer's keys, kept: fetched once for all who wait, ahead of time, and never because a forged
//! token says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::rand;
use portunus_auth_core::audit::{Actor, EventKind};
use portunus_auth_core::{AuditSink, Clock, Outcome, Reason, Trail};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, Semaphore};
use url::Url;

use crate::discovery::{Discovery, MAX_DISCOVERY};
use crate::fetch::{Fetch, FetchError, issuer_url};
use crate::jwk::{KeySet, MAX_SET};
use crate::reach::Reach;

/// How long a key set is taken as current when its answer does not say, and the bounds for what it says.
const DEFAULT_TTL: Duration = Duration::from_secs(15 * 60);
const MIN_TTL: Duration = Duration::from_secs(5 * 60);
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a key set is used when no newer one can be had. Beyond it, a key that its issuer withdrew
/// long ago could still sign.
const HARD_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The time in which names of keys that nobody has lead to one fetch, however many there are.
const COOL_DOWN: Duration = Duration::from_secs(60);

/// How soon a fetch that failed is tried again, and how soon at the latest after further failures.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// The most callers that wait for one issuer's keys at once. More would be a flood, or an outage.
const MAX_WAITING: usize = 1024;

/// No usable keys are held, and none can be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the issuer's keys cannot be fetched")]
pub(crate) struct IssuerDown;

/// Where an issuer's keys are.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    /// Its `iss`, and the base of its discovery document.
    pub(crate) url: String,
    /// Where the keys are, when the configuration says so.
    pub(crate) jwks_uri: Option<Url>,
    /// Whether its documents may be in a private network.
    pub(crate) allow_private: bool,
    /// Whether its keys are a SPIFFE bundle.
    pub(crate) is_spiffe: bool,
}

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub(crate) struct Jwks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Source,
    fetch: Fetch,
    clock: Arc<dyn Clock>,
    audit: Arc<dyn AuditSink>,
    held: ArcSwapOption<Held>,
    /// How many fetches have ended, well or not: who waited for one shares its result.
    ended: AtomicU64,
    flight: Arc<Turn<Pace>>,
    /// Whether the last fetch failed: nobody waits for the next one who has keys that work.
    failing: AtomicBool,
    waiting: Semaphore,
}

#[derive(Debug)]
struct Held {
    keys: Arc<KeySet>,
    /// From here on renewed in the background, then before use, then not used. By the monotonic clock.
    renew_at: Duration,
    stale_at: Duration,
    dead_at: Duration,
}

/// Why keys are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// None are held, or those that are held are due.
    Due,
    /// A token names a key that is not among them.
    UnknownKey,
}

/// When the next fetch may be made. Whoever holds its lock is the one who fetches.
#[derive(Debug)]
struct Pace {
    /// Until then an unknown key leads to no fetch.
    quiet_until: Duration,
    /// After a failure: when keys that are due are asked for again, and how much later after another one.
    retry_at: Duration,
    retry_in: Duration,
}

impl Pace {
    fn starting(now: Duration) -> Self {
        Self { quiet_until: now, retry_at: now, retry_in: FIRST_RETRY }
    }

    fn allows(&mut self, need: Need, now: Duration) -> bool {
        match need {
            Need::Due => now >= self.retry_at,
            Need::UnknownKey if now < self.quiet_until => false,
            Need::UnknownKey => {
                self.quiet_until = now + COOL_DOWN;
                true
            }
        }
    }

    fn succeeded(&mut self) {
        self.retry_in = FIRST_RETRY;
    }

    fn failed(&mut self, now: Duration) {
        self.retry_at = now + self.retry_in;
        self.retry_in = (self.retry_in * 2).min(LAST_RETRY);
    }
}

impl Jwks {
    pub(crate) fn new(
        source: Source,
        fetch: Fetch,
        clock: Arc<dyn Clock>,
        audit: Arc<dyn AuditSink>,
    ) -> Self {
        let pace = Pace::starting(clock.monotonic());
        Self(Arc::new(Shared {
            source,
            fetch,
            clock,
            audit,
            held: ArcSwapOption::empty(),
            ended: AtomicU64::new(0),
            flight: Arc::new(Turn::new(pace)),
            failing: AtomicBool::new(false),
            waiting: Semaphore::new(MAX_WAITING),
        }))
    }

    /// The keys that are held, without waiting, as long as they may be used.
    pub(crate) fn held(&self) -> Option<Arc<KeySet>> {
        self.0.usable().map(|held| held.keys.clone())
    }

    /// The keys that are held, without waiting, unless they are due to be replaced and their issuer answers:
    /// what was found with them is then found anew. Has those renewed that will soon be due.
    pub(crate) fn fresh(&self) -> Option<Arc<KeySet>> {
        let held = self.0.usable()?;
        let now = self.0.clock.monotonic();
        if now >= held.renew_at {
            self.renew_ahead(now);
        }
        (now < held.stale_at || self.0.is_failing()).then(|| held.keys.clone())
    }

    /// The current keys. Waits when none are held, and when those held are due to be replaced and their issuer
    /// answers. Keeps what is held when no newer ones can be had.
    pub(crate) async fn current(&self) -> Result<Arc<KeySet>, IssuerDown> {
        if let Some(keys) = self.fresh() {
            return Ok(keys);
        }
        // Where so many wait already, it is an outage, and whoever has keys goes on with them.
        if let Ok(_place) = self.0.waiting.try_acquire() {
            self.fetched(Need::Due).await;
        }
        self.held().ok_or(IssuerDown)
    }

    /// Other keys than `seen`, for a token that names a key not in it; `None` when there are none.
    ///
    /// Whatever callers invent, this costs the issuer one fetch in a cool-down, and a rotated key is found at
    /// once.
    ///
    /// # Errors
    /// [`IssuerDown`] when it cannot be told: the issuer did not answer, or too many wait already.
    pub(crate) async fn newer(
        &self,
        key_id: Option<&str>,
        seen: &Arc<KeySet>,
    ) -> Result<Option<Arc<KeySet>>, IssuerDown> {
        let Some(key_id) = key_id else { return Ok(None) };
        let is_news = |keys: &Arc<KeySet>| !Arc::ptr_eq(keys, seen);
        if let Some(keys) = self.held().filter(is_news) {
            return Ok(Some(keys));
        }
        let _place = self.0.waiting.try_acquire().map_err(|_| IssuerDown)?;
        self.fetched(Need::UnknownKey).await;
        let keys = self.held().ok_or(IssuerDown)?;
        if self.0.is_failing() && !keys.has(key_id) {
            return Err(IssuerDown);
        }
        Ok(Some(keys).filter(is_news))
    }

    /// Fetches, unless it is too soon, or waits for the fetch that is under way.
    async fn fetched(&self, need: Need) {
        let shared = &self.0;
        let seen = shared.ended.load(Ordering::Acquire);
        let mut turn = shared.flight.clone().lock_owned().await;
        let somebody_did = shared.ended.load(Ordering::Acquire) != seen;
        if !somebody_did && shared.needs(need) && turn.allows(need, shared.clock.monotonic()) {
            // Its own task: a caller that hangs up must not cancel what others wait for. If it crashed, nothing
            // was stored, and what is held says so.
            let _ = tokio::spawn(shared.clone().renew(turn)).await;
        }
    }

    /// Fetches in the background, unless somebody does, or it is too soon.
    fn renew_ahead(&self, now: Duration) {
        if let Ok(mut turn) = self.0.flight.clone().try_lock_owned()
            && self.0.needs(Need::Due)
            && turn.allows(Need::Due, now)
        {
            tokio::spawn(self.0.clone().renew(turn));
        }
    }
}

impl Shared {
    fn usable(&self) -> Option<Arc<Held>> {
        self.held.load_full().filter(|held| self.clock.monotonic() < held.dead_at)
    }

    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// Whether a fetch is still needed, by whoever holds the lock now.
    fn needs(&self, need: Need) -> bool {
        need == Need::UnknownKey || self.usable().is_none_or(|held| self.clock.monotonic() >= held.renew_at)
    }

    async fn renew(self: Arc<Self>, mut turn: OwnedMutexGuard<Pace>) {
        let renewed = match Trail::begin(self.audit.clone(), self.clock.clone(), EventKind::JwksFailed) {
            Ok(trail) => self.renew_audited(trail).await,
            Err(full) => {
                tracing::warn!(issuer = %self.source.name, error = %full, "keys not fetched");
                false
            }
        };
        match renewed {
            true => turn.succeeded(),
            false => turn.failed(self.clock.monotonic()),
        }
        self.failing.store(!renewed, Ordering::Release);
        self.ended.fetch_add(1, Ordering::Release);
    }

    async fn renew_audited(&self, mut trail: Trail) -> bool {
        trail.event().actor = Some(Actor::System);
        trail.event().target.issuer = Some(self.source.name.clone());
        match self.load().await {
            Ok((keys, max_age)) => {
                self.held.store(Some(Arc::new(self.hold(keys, max_age))));
                trail.event().kind = EventKind::JwksRefreshed;
                trail.finish(Outcome::Allowed);
                true
            }
            // What is held stays held: an issuer's bad minute must not lock everybody out.
            Err(error) => {
                let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(issuer = %self.source.name, %error, reason, "the issuer's keys were not renewed");
                trail.finish(Outcome::Failed(Reason::IssuerUnavailable));
                false
            }
        }
    }

    fn hold(&self, keys: KeySet, max_age: Option<Duration>) -> Held {
        let now = self.clock.monotonic();
        let ttl = max_age.unwrap_or(DEFAULT_TTL).clamp(MIN_TTL, MAX_TTL);
        // Between 80 and 90 percent of the time, so that many gateways do not all come at once.
        let mut random = [0_u8];
        let jitter = rand::fill(&mut random).map_or(0, |()| u32::from(random[0]));
        // The same keys stay the same value, and what was verified with them stays verified.
        let same = self.held.load_full().map(|held| held.keys.clone()).filter(|held| held.is_same(&keys));
        Held {
            keys: same.unwrap_or_else(|| Arc::new(keys)),
            renew_at: now + ttl * 8 / 10 + ttl / 10 * jitter / 255,
            stale_at: now + ttl,
            dead_at: now + HARD_TTL,
        }
    }

    async fn load(&self) -> Result<(KeySet, Option<Duration>), FetchError> {
        let address = match &self.source.jwks_uri {
            Some(address) => address.clone(),
            None => self.discover().await?,
        };
        let document = self.fetch.get(&address, self.reach(&address), MAX_SET).await?;
        let keys = match self.source.is_spiffe {
            true => KeySet::parse_spiffe_bundle(&document.body)?,
            false => KeySet::parse(&document.body)?,
        };
        Ok((keys, document.max_age))
    }

    fn reach(&self, address: &Url) -> Reach {
        Reach::of(address, self.source.allow_private)
    }

    /// OpenID Connect Discovery section 4.
    async fn discover(&self) -> Result<Url, FetchError> {
        let base = self.source.url.trim_end_matches('/');
        let address = issuer_url(&format!("{base}/.well-known/openid-configuration"))
            .map_err(|_| FetchError::Unusable("no discovery below this issuer"))?;
        let document = self.fetch.get(&address, self.reach(&address), MAX_DISCOVERY).await?;
        Ok(Discovery::parse(&document.body, &self.source.url)?.jwks_uri().clone())
    }
}
