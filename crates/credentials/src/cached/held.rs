//! What is held, and when it is due and ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portunus_auth_core::{Clock, Credential, Issued};

use super::RefreshPolicy;

/// What ends sooner after its issue is of no use: it would be gone before the request is there, and
/// would have to be fetched for each of them.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// Both clocks, read together.
///
/// An expiry is a wall-clock date, but the wall clock may be set back, and an old credential would look
/// fresh again; so a deadline is reached when *either* clock reaches it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    wall: SystemTime,
    pub(super) steady: Duration,
}

impl Moment {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), steady: clock.monotonic() }
    }

    fn reached(self, deadline: Self) -> bool {
        self.wall >= deadline.wall || self.steady >= deadline.steady
    }

    fn minus(self, span: Duration) -> Self {
        Self {
            wall: self.wall.checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH),
            steady: self.steady.saturating_sub(span),
        }
    }
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) credential: Arc<Credential>,
    times: Option<Times>,
}

#[derive(Debug)]
struct Times {
    due: Moment,
    /// However soon it is due: an issuer that hands out the same token again is not asked on every call.
    not_before: Duration,
    ends: Moment,
}

impl Held {
    /// `None`: it had ended when it arrived, or nearly so. Its life is counted from the moment it was
    /// `asked` for, because the issuer may count from there.
    pub(super) fn new(
        issued: Issued,
        asked: Moment,
        got: Moment,
        policy: &RefreshPolicy,
        share_of_margin: f64,
    ) -> Option<Self> {
        let Some(expires_at) = issued.expires_at else {
            return Some(Self { credential: Arc::new(issued.credential), times: None });
        };
        let life = expires_at.duration_since(asked.wall).ok()?;
        let ends = Moment { wall: expires_at, steady: asked.steady.saturating_add(life) };
        if life < SHORTEST_LIFE || got.reached(ends) {
            return None;
        }
        let margin = policy.margin_of(&issued, asked.wall)?.mul_f64(share_of_margin);
        let not_before = got.steady.saturating_add(policy.min_refetch);
        let credential = Arc::new(issued.credential);
        Some(Self { credential, times: Some(Times { due: ends.minus(margin), not_before, ends }) })
    }

    /// Whether it still authenticates.
    pub(super) fn works(&self, now: Moment) -> bool {
        self.times.as_ref().is_none_or(|times| !now.reached(times.ends))
    }

    /// Whether nothing is to be done: it works, and it is too early to replace it.
    pub(super) fn is_fresh(&self, now: Moment) -> bool {
        self.times.as_ref().is_none_or(|times| {
            let due = now.reached(times.due) && now.steady >= times.not_before;
            !due && !now.reached(times.ends)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moment(wall: u64, steady: u64) -> Moment {
        Moment {
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(wall),
            steady: Duration::from_secs(steady),
        }
    }

    fn held(asked: Moment, life: u64, share: f64) -> Option<Held> {
        let issued = Issued::new(Credential::BearerToken("t".into()), asked.wall + Duration::from_secs(life));
        Held::new(issued, asked, asked, &RefreshPolicy::default(), share)
    }

    proptest! {
        #[test]
        fn it_is_due_at_most_a_margin_before_its_end_and_never_in_the_first_half(
            life in prop_oneof![1u64..1_000, 1u64..200_000], share in 0.9f64..=1.0, percent in 0u64..120,
        ) {
            let at = life * percent / 100;
            let held = held(moment(1_000_000, 50), life, share).unwrap();
            let now = moment(1_000_000 + at, 50 + at);
            prop_assert_eq!(held.works(now), at < life);
            if held.works(now) && !held.is_fresh(now) {
                prop_assert!(at + 300 >= life && at * 2 >= life && at >= 10);
            }
            if at + 270 > life && at * 20 > life * 11 && at >= 10 {
                prop_assert!(!held.is_fresh(now), "inside the margin, and still called fresh");
            }
        }

        #[test]
        fn setting_the_wall_clock_never_prolongs_a_life(
            life in 1u64..100_000, passed in 0u64..200_000, wall in 0u64..3_000_000,
        ) {
            let held = held(moment(1_000_000, 0), life, 1.0).unwrap();
            let works = held.works(moment(wall, passed));
            prop_assert_eq!(works, passed < life && wall < 1_000_000 + life);
        }
    }

    #[test]
    fn a_life_that_is_over_or_of_no_use_is_refused() {
        let asked = moment(1_000, 0);
        assert!(held(asked, 0, 1.0).is_none());
        let issued =
            |at: Duration| Issued::new(Credential::BearerToken("t".into()), SystemTime::UNIX_EPOCH + at);
        let policy = RefreshPolicy::default();
        let in_the_past = issued(Duration::from_secs(999));
        assert!(Held::new(in_the_past, asked, asked, &policy, 1.0).is_none());
        let too_short = issued(Duration::from_millis(1_000_999));
        assert!(Held::new(too_short, asked, asked, &policy, 1.0).is_none());
        let ended_on_the_way = issued(Duration::from_secs(1_020));
        assert!(Held::new(ended_on_the_way, asked, moment(1_020, 20), &policy, 1.0).is_none());
    }

    #[test]
    fn the_end_of_time_is_an_end() {
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX as u64);
        let issued = Issued::new(Credential::BearerToken("t".into()), last);
        let asked = moment(0, u64::MAX);
        let held = Held::new(issued, asked, asked, &RefreshPolicy::default(), 1.0).unwrap();
        assert!(held.is_fresh(moment(5, u64::MAX - 1_000)));
    }
}
