//! Which proofs were used here already.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use portunus_auth_core::PrincipalId;

use super::{LIFETIME, Proof};

/// The most proofs that are remembered: at 60 seconds each, 5,000 requests with a proof a second.
const MOST: usize = 300_000;

/// The share of them that one owner's keys may fill.
const SHARE: usize = 16;

/// How many that have ended one use forgets at most. More than one, so that there come to be fewer.
const SWEEP: usize = 4;

/// What was found about a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Not used before. It is now.
    Never,
    /// Used before.
    Before,
    /// Too old to tell.
    Forgotten,
    /// It cannot be remembered, so it must not be accepted.
    Full,
}

/// Remembers the proofs that were used in this process.
///
/// May forget none that it would still take: a forgotten proof can be replayed. So it takes none that ends before
/// one that it has forgotten, whatever the clock says meanwhile, and none that was made before this process
/// began. Where it is full, as a whole or of one owner's, it refuses proofs that it never saw: the caller tries
/// again.
#[derive(Debug)]
pub(crate) struct SeenProofs {
    kept: Mutex<Kept>,
    most: usize,
}

#[derive(Debug)]
struct Kept {
    owners: HashMap<[u8; 32], PrincipalId>,
    /// How many each owner has.
    counts: HashMap<PrincipalId, usize>,
    ends: BinaryHeap<Reverse<(SystemTime, [u8; 32])>>,
    /// Those that end until then may have been forgotten.
    forgotten: SystemTime,
}

impl Kept {
    /// Forgets a few that have ended.
    fn sweep(&mut self, now: SystemTime) {
        for _ in 0..SWEEP {
            if self.ends.peek().is_none_or(|Reverse((end, _))| *end > now) {
                return;
            }
            let Some(Reverse((end, id))) = self.ends.pop() else { return };
            self.forgotten = self.forgotten.max(end);
            let Some(owner) = self.owners.remove(&id) else { continue };
            if let Some(count) = self.counts.get_mut(&owner) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&owner);
                }
            }
        }
    }
}

impl SeenProofs {
    /// Of a process that begins now.
    pub(crate) fn starting(now: SystemTime) -> Self {
        Self::of_at_most(MOST, now)
    }

    fn of_at_most(most: usize, now: SystemTime) -> Self {
        // A proof says in whole seconds when it was made.
        let forgotten = now.checked_add(LIFETIME - Duration::from_secs(1)).unwrap_or(now);
        let kept =
            Kept { owners: HashMap::new(), counts: HashMap::new(), ends: BinaryHeap::new(), forgotten };
        Self { kept: Mutex::new(kept), most }
    }

    /// Uses the proof, which came with a key of that owner; one step.
    pub(crate) fn spend(&self, proof: &Proof, owner: &PrincipalId, now: SystemTime) -> Seen {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.sweep(now);
        if kept.owners.contains_key(&proof.id) {
            return Seen::Before;
        }
        if proof.until <= kept.forgotten {
            return Seen::Forgotten;
        }
        let its = kept.counts.get(owner).copied().unwrap_or_default();
        if kept.owners.len() >= self.most || its >= (self.most / SHARE).max(1) {
            return Seen::Full;
        }
        kept.counts.insert(owner.clone(), its + 1);
        kept.owners.insert(proof.id, owner.clone());
        kept.ends.push(Reverse((proof.until, proof.id)));
        Seen::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_auth_core::TenantId;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn proof(id: u8, until: u64) -> Proof {
        Proof { key: "key".into(), id: [id; 32], until: at(until) }
    }

    fn owner(name: &str) -> PrincipalId {
        PrincipalId { tenant: TenantId::new("acme").unwrap(), issuer: "idp".into(), subject: name.into() }
    }

    #[test]
    fn a_proof_is_remembered_as_long_as_it_is_good() {
        let (seen, alice) = (SeenProofs::of_at_most(1600, at(0)), owner("alice"));
        assert_eq!(seen.spend(&proof(1, 60), &alice, at(0)), Seen::Never);
        assert_eq!(seen.spend(&proof(1, 60), &alice, at(59)), Seen::Before);
        assert_eq!(seen.spend(&proof(2, 90), &alice, at(59)), Seen::Never);
        assert_eq!(seen.spend(&proof(2, 90), &alice, at(60)), Seen::Before);
    }

    /// Whoever asked for the time earlier comes later, or the clock goes back.
    #[test]
    fn what_was_forgotten_is_not_taken_again_by_an_earlier_time() {
        let (seen, alice) = (SeenProofs::of_at_most(1600, at(0)), owner("alice"));
        assert_eq!(seen.spend(&proof(1, 60), &alice, at(0)), Seen::Never);
        assert_eq!(seen.spend(&proof(2, 90), &alice, at(60)), Seen::Never);
        assert_eq!(seen.spend(&proof(1, 60), &alice, at(59)), Seen::Forgotten);
        assert_eq!(seen.spend(&proof(3, 61), &alice, at(59)), Seen::Never);
    }

    #[test]
    fn a_process_takes_no_proof_that_was_made_before_it_began() {
        let seen = SeenProofs::of_at_most(1600, at(100));
        assert_eq!(seen.spend(&proof(1, 159), &owner("alice"), at(100)), Seen::Forgotten);
        assert_eq!(seen.spend(&proof(2, 160), &owner("alice"), at(100)), Seen::Never);
    }

    #[test]
    fn one_owner_fills_a_share_and_all_of_them_the_whole() {
        let seen = SeenProofs::of_at_most(32, at(0));
        for n in 0..2 {
            assert_eq!(seen.spend(&proof(n, 60), &owner("mallory"), at(0)), Seen::Never);
        }
        assert_eq!(seen.spend(&proof(2, 60), &owner("mallory"), at(0)), Seen::Full);
        for n in 3..33 {
            assert_eq!(seen.spend(&proof(n, 60), &owner(&n.to_string()), at(0)), Seen::Never);
        }
        assert_eq!(seen.spend(&proof(33, 90), &owner("alice"), at(0)), Seen::Full);
        assert_eq!(seen.spend(&proof(34, 90), &owner("alice"), at(60)), Seen::Never);
    }

    #[test]
    fn what_has_ended_leaves_as_others_come() {
        let seen = SeenProofs::of_at_most(1_000_000, at(0));
        for n in 0..100 {
            assert_eq!(seen.spend(&proof(n, 60), &owner("alice"), at(0)), Seen::Never);
        }
        for n in 100..200 {
            assert_eq!(seen.spend(&proof(n, 200), &owner("alice"), at(150)), Seen::Never);
        }
        let kept = seen.kept.lock().unwrap();
        assert_eq!((kept.owners.len(), kept.ends.len(), kept.counts.len()), (100, 100, 1));
    }
}
