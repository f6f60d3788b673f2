//! What a caller may use up.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
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
    tiers: HashMap<TierName, Tier>,
    /// Requests in flight of each caller, across the tiers of its keys.
    in_flight: DashMap<PrincipalId, Arc<AtomicU64>>,
    clock: Ticks,
}

#[derive(Debug)]
struct Tier {
    rate: Option<PerPrincipal>,
    concurrent: Limit,
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

/// Proof that a caller's request was counted and is within the rate, and its place among those in
/// flight; given up when dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<AtomicU64>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(in_flight) = &self.0 {
            in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What a permitted call has reserved. Whoever resolves a credential or reaches an upstream needs one,
/// so nothing is fetched for a caller who is over a limit.
#[derive(Debug)]
pub(crate) struct Hold {
    permit: Permit,
    _turn: Turn,
}

impl Hold {
    /// For whom.
    pub(crate) fn principal(&self) -> &Arc<Principal> {
        self.permit.principal()
    }

    /// What was permitted.
    pub(crate) fn permit(&self) -> &Permit {
        &self.permit
    }
}

impl Limits {
    /// The limits of these tiers.
    pub(crate) fn new(tiers: &[TierConfig], clock: Arc<dyn Clock>) -> Result<Self, ConfigProblem> {
        let clock = Ticks(clock);
        let mut known = HashMap::new();
        for (n, tier) in tiers.iter().enumerate() {
            let rate = match tier.requests_per_minute {
                Limit::Unlimited => None,
                Limit::At(count) => {
                    let quota = quota(count).ok_or_else(|| {
                        let at = format!("tiers.{n}.requests_per_minute");
                        ConfigProblem::new(at, "at most 4294967295, or \"unlimited\"")
                    })?;
                    Some(RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()))
                }
            };
            known.insert(tier.name.clone(), Tier { rate, concurrent: tier.concurrent_requests });
        }
        Ok(Self { tiers: known, in_flight: DashMap::new(), clock })
    }

    /// Whether there is such a tier.
    pub(crate) fn has(&self, tier: &TierName) -> bool {
        self.tiers.contains_key(tier)
    }

    /// Counts a request, whatever becomes of it.
    pub(crate) fn take_turn(&self, caller: &Principal) -> Result<Turn, Refusal> {
        // A tier that is not configured allows nothing; the configuration is checked for it at start.
        let Some(tier) = self.tiers.get(&caller.grant().tier) else {
            return Err(Refusal::RateLimited(Duration::from_secs(60)));
        };
        let turn = self.take_place(caller.id(), tier.concurrent)?;
        if let Some(limiter) = &tier.rate
            && let Err(full) = limiter.check_key(caller.id())
        {
            return Err(Refusal::RateLimited(full.wait_time_from(self.clock.now())));
        }
        Ok(turn)
    }

    fn take_place(&self, caller: &PrincipalId, limit: Limit) -> Result<Turn, Refusal> {
        let Limit::At(most) = limit else { return Ok(Turn(None)) };
        let count = match self.in_flight.get(caller) {
            Some(count) => count.clone(),
            None => self.in_flight.entry(caller.clone()).or_default().clone(),
        };
        let one_more = |n: u64| (n < most.get()).then_some(n + 1);
        match count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Turn(Some(count))),
            Err(_) => Err(Refusal::RateLimited(Duration::from_secs(1))),
        }
    }

    /// Reserves what the permitted call is going to use, beyond the turn it has taken.
    pub(crate) fn reserve(&self, permit: Permit, turn: Turn, _call: &Call) -> Hold {
        Hold { permit, _turn: turn }
    }

    /// Forgets those who have not called for long enough to be at their full limit again.
    pub(crate) fn sweep(&self) {
        for limiter in self.tiers.values().filter_map(|tier| tier.rate.as_ref()) {
            limiter.retain_recent();
        }
        // Under the map's lock nobody else can take a place that only the map still knows.
        self.in_flight.retain(|_, count| Arc::strong_count(count) > 1);
    }
}

fn quota(per_minute: NonZeroU64) -> Option<Quota> {
    NonZeroU32::try_from(per_minute).ok().map(Quota::per_minute)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use portunus_auth_core::clock::ManualClock;
    use portunus_auth_core::{Allow, Grant, TenantId, Via};

    use super::*;

    fn limits(concurrent: &str, clock: &Arc<ManualClock>) -> Limits {
        let toml = format!("name = \"t\"\nrequests_per_minute = 3\nconcurrent_requests = {concurrent}");
        Limits::new(&[toml::from_str(&toml).unwrap()], clock.clone()).unwrap()
    }

    fn caller(subject: &str) -> Principal {
        let id = PrincipalId {
            tenant: TenantId::new("acme").unwrap(),
            issuer: "idp".into(),
            subject: subject.into(),
        };
        let grant = Grant {
            models: Allow::All,
            tools: Allow::All,
            upstreams: Allow::All,
            roles: Allow::none(),
            tier: TierName::new("t").unwrap(),
            expires_at: SystemTime::UNIX_EPOCH,
            confirmation: None,
        };
        Principal::authenticated(id, grant, Via::Jwt)
    }

    #[test]
    fn a_rate_fills_up_again_as_time_passes() {
        let clock = Arc::new(ManualClock::at_unix(0));
        let limits = limits("\"unlimited\"", &clock);
        let alice = caller("alice");
        assert!((0..3).all(|_| limits.take_turn(&alice).is_ok()));
        let Err(Refusal::RateLimited(wait)) = limits.take_turn(&alice) else { panic!("no limit") };
        assert_eq!(wait, Duration::from_secs(20));
        assert!(limits.take_turn(&caller("bob")).is_ok());
        clock.advance(wait);
        assert!(limits.take_turn(&alice).is_ok());
        assert!(limits.take_turn(&alice).is_err());
    }

    #[test]
    fn places_in_flight_are_given_back_and_forgotten() {
        let clock = Arc::new(ManualClock::at_unix(0));
        let limits = limits("2", &clock);
        let alice = caller("alice");
        let first = limits.take_turn(&alice).unwrap();
        let _second = limits.take_turn(&alice).unwrap();
        assert!(limits.take_turn(&alice).is_err());
        limits.sweep();
        assert_eq!(limits.in_flight.len(), 1);
        drop(first);
        clock.advance(Duration::from_secs(60));
        drop(limits.take_turn(&alice).unwrap());
        drop(_second);
        limits.sweep();
        assert!(limits.in_flight.is_empty());
    }

    #[test]
    fn places_in_flight_are_never_more_than_the_limit() {
        let limits = limits("5", &Arc::new(ManualClock::at_unix(0)));
        let caller = caller("alice");
        let most = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        if let Ok(turn) =
                            limits.take_place(caller.id(), limits.tiers[&caller.grant().tier].concurrent)
                        {
                            most.fetch_max(holders(&limits), Ordering::Relaxed);
                            drop(turn);
                        }
                    }
                });
            }
        });
        assert_eq!(holders(&limits), 0);
        assert!((1..=5).contains(&most.load(Ordering::Relaxed)));
    }

    fn holders(limits: &Limits) -> u64 {
        limits.in_flight.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}
