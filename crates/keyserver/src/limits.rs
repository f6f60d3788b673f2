//! What is limited before any cryptography: how often an address may ask.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use portunus_auth_core::{Clock, Limit};

/// How many counters there are. To use up all of them, somebody needs so many addresses, all the time.
const CELLS: usize = 1 << 16;

/// Wait so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many tokens from this address")]
pub(crate) struct TooOften {
    pub(crate) retry_after: Duration,
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

/// As many counters as there ever are: no address can make it grow, so none has to be forgotten. Addresses
/// that share one share its limit; which do is a secret of this process.
struct Cells(Box<[InMemoryState]>);

impl StateStore for Cells {
    type Key = usize;

    fn measure_and_replace<T, F, E>(&self, key: &usize, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0[*key % self.0.len()].measure_and_replace(&NotKeyed::NonKey, measure)
    }
}

/// Counts by client address, by the generic cell rate algorithm.
pub(crate) struct Addresses {
    limiter: Option<RateLimiter<usize, Cells, Ticks, NoOpMiddleware<Nanos>>>,
    clock: Ticks,
    secret: RandomState,
}

impl Addresses {
    /// So many a minute for each, of which all may come at once.
    pub(crate) fn new(per_minute: Limit, clock: Arc<dyn Clock>) -> Self {
        let clock = Ticks(clock);
        let limiter = match per_minute {
            Limit::Unlimited => None,
            Limit::At(most) => {
                let most =
                    u32::try_from(most.get()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
                let cells = (0..CELLS).map(|_| InMemoryState::default()).collect();
                Some(RateLimiter::new(Quota::per_minute(most), Cells(cells), clock.clone()))
            }
        };
        Self { limiter, clock, secret: RandomState::new() }
    }

    /// Counts one from this address. Callers without one, which are in this process, are not counted.
    pub(crate) fn admit(&self, ip: Option<IpAddr>) -> Result<(), TooOften> {
        let (Some(limiter), Some(ip)) = (&self.limiter, ip) else { return Ok(()) };
        let cell = usize::try_from(self.secret.hash_one(network(ip)) % CELLS as u64).unwrap_or_default();
        limiter.check_key(&cell).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            TooOften { retry_after: Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)) }
        })
    }
}

/// What one client has at least: an IPv4 address, or a /64 of IPv6 (RFC 6177).
fn network(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        // No global address begins with zeros.
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            [a, b, c, d].iter().fold(0, |bits, segment| (bits << 16) | u64::from(*segment))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_auth_core::clock::ManualClock;
    use std::num::NonZeroU64;

    fn limits(per_minute: u64) -> (Addresses, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at_unix(1));
        (Addresses::new(Limit::At(NonZeroU64::new(per_minute).unwrap()), clock.clone()), clock)
    }

    #[test]
    fn an_address_has_its_minutes_worth_and_waits_for_the_next() {
        let (addresses, clock) = limits(60);
        let ip = Some("192.0.2.1".parse().unwrap());
        for _ in 0..60 {
            addresses.admit(ip).unwrap();
        }
        assert_eq!(addresses.admit(ip), Err(TooOften { retry_after: Duration::from_secs(1) }));
        addresses.admit(Some("192.0.2.2".parse().unwrap())).unwrap();
        clock.advance(Duration::from_secs(1));
        addresses.admit(ip).unwrap();
        assert!(addresses.admit(ip).is_err());
    }

    #[test]
    fn who_has_a_64_has_one_limit() {
        let (addresses, _) = limits(1);
        let admitted = |text: &str| addresses.admit(Some(text.parse().unwrap())).is_ok();
        assert!(admitted("2001:db8:0:1::1"));
        assert!(!admitted("2001:db8:0:1:ffff::2"));
        assert!(admitted("2001:db8:0:2::1"));
        assert!(admitted("::ffff:192.0.2.1"));
        assert!(!admitted("192.0.2.1"));
    }

    #[test]
    fn a_million_addresses_take_no_more_room_than_one() {
        let (addresses, _) = limits(1);
        let admitted =
            (0..1_000_000_u32).filter(|n| addresses.admit(Some(IpAddr::from(n.to_be_bytes()))).is_ok());
        let admitted = admitted.count();
        // Nearly every counter is used up once, and none twice.
        assert!((CELLS * 99 / 100..=CELLS).contains(&admitted), "{admitted}");
    }
}
