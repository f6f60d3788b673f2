//! What a caller may use up.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use portunus_auth_core::{Clock, ConfigProblem, Limit, Permit, Principal, PrincipalId, TierName};

use crate::call::Call;
use crate::config::TierConfig;
use crate::reply::Refusal;

type PerPrincipal = RateLimiter<PrincipalId, DashMapStateStore<PrincipalId>, Ticks, NoOpMiddleware<Nanos>>;

/// The limits of every tier.
#[derive(Debug)]
pub(crate) struct Limits {
    tiers: HashMap<TierName, Option<PerPrincipal>>,
    clock: Ticks,
}

/// Our clock, as the limiter reads it.
#[derive(Clone, Debug)]
struct Ticks(Arc<dyn Clock>);

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.monotonic().into()
    }
}

/// Proof that a caller's request was counted and is within the rate.
#[derive(Debug)]
pub(crate) struct Turn(());

/// What a permitted call has reserved. Whoever resolves a credential or reaches an upstream needs one,
/// so nothing is fetched for a caller who is over a limit.
#[derive(Debug)]
pub(crate) struct Hold {
    permit: Permit,
}

impl Hold {
    /// For whom.
    pub(crate) fn principal(&self) -> &Arc<Principal> {
        self.permit.principal()
    }
}

impl Limits {
    /// The limits of these tiers.
    pub(crate) fn new(tiers: &[TierConfig], clock: Arc<dyn Clock>) -> Result<Self, ConfigProblem> {
        let clock = Ticks(clock);
        let mut known = HashMap::new();
        for (n, tier) in tiers.iter().enumerate() {
            let limiter = match tier.requests_per_minute {
                Limit::Unlimited => None,
                Limit::At(count) => {
                    let quota = quota(count).ok_or_else(|| {
                        let at = format!("tiers.{n}.requests_per_minute");
                        ConfigProblem::new(at, "at most 4294967295, or \"unlimited\"")
                    })?;
                    Some(RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()))
                }
            };
            known.insert(tier.name.clone(), limiter);
        }
        Ok(Self { tiers: known, clock })
    }

    /// Whether there is such a tier.
    pub(crate) fn has(&self, tier: &TierName) -> bool {
        self.tiers.contains_key(tier)
    }

    /// Counts a request, whatever becomes of it.
    pub(crate) fn take_turn(&self, caller: &Principal) -> Result<Turn, Refusal> {
        // A tier that is not configured allows nothing; the configuration is checked for it at start.
        let Some(tier) = self.tiers.get(&caller.grant().tier) else {
            return Err(Refusal::RateLimited(std::time::Duration::from_secs(60)));
        };
        if let Some(limiter) = tier
            && let Err(full) = limiter.check_key(caller.id())
        {
            return Err(Refusal::RateLimited(full.wait_time_from(self.clock.now())));
        }
        Ok(Turn(()))
    }

    /// Reserves what the permitted call is going to use, beyond the turn it has taken.
    pub(crate) fn reserve(&self, permit: Permit, _turn: Turn, _call: &Call) -> Hold {
        Hold { permit }
    }

    /// Forgets those who have not called for long enough to be at their full limit again.
    pub(crate) fn sweep(&self) {
        for limiter in self.tiers.values().flatten() {
            limiter.retain_recent();
        }
    }
}

fn quota(per_minute: NonZeroU64) -> Option<Quota> {
    NonZeroU32::try_from(per_minute).ok().map(Quota::per_minute)
}
