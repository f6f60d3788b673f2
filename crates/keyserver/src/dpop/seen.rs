//! Which proofs were used here already.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::Proof;

/// The most proofs that are remembered: at 60 seconds each, 5,000 requests with a proof a second.
const MOST: usize = 300_000;

/// What was found about a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Not used before. It is now.
    Never,
    /// Used before.
    Before,
    /// It cannot be remembered, so it must not be accepted.
    Full,
}

/// Remembers the proofs that were used in this process.
///
/// May forget none before [`Proof::until`]: a forgotten proof can be replayed. Where it is full it refuses
/// proofs that it never saw: the caller tries again.
#[derive(Debug)]
pub(crate) struct SeenProofs {
    kept: Mutex<Kept>,
    most: usize,
}

#[derive(Debug, Default)]
struct Kept {
    ids: HashSet<[u8; 32]>,
    ends: BinaryHeap<Reverse<(SystemTime, [u8; 32])>>,
}

impl Default for SeenProofs {
    fn default() -> Self {
        Self { kept: Mutex::default(), most: MOST }
    }
}

impl SeenProofs {
    /// Uses the proof; one step.
    pub(crate) fn spend(&self, proof: &Proof, now: SystemTime) -> Seen {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { ids, ends } = &mut *kept;
        while ends.peek().is_some_and(|Reverse((end, _))| *end <= now)
            && let Some(Reverse((_, id))) = ends.pop()
        {
            ids.remove(&id);
        }
        if ids.contains(&proof.id) {
            return Seen::Before;
        }
        if ids.len() >= self.most {
            return Seen::Full;
        }
        ids.insert(proof.id);
        ends.push(Reverse((proof.until, proof.id)));
        Seen::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn proof(id: u8, until: u64) -> Proof {
        Proof { key: "key".into(), id: [id; 32], until: at(until) }
    }

    #[test]
    fn a_proof_is_remembered_as_long_as_it_is_good_and_no_longer() {
        let seen = SeenProofs { kept: Mutex::default(), most: 2 };
        assert_eq!(seen.spend(&proof(1, 60), at(0)), Seen::Never);
        assert_eq!(seen.spend(&proof(1, 60), at(59)), Seen::Before);
        assert_eq!(seen.spend(&proof(2, 90), at(59)), Seen::Never);
        assert_eq!(seen.spend(&proof(3, 90), at(59)), Seen::Full);
        assert_eq!(seen.spend(&proof(1, 60), at(59)), Seen::Before);
        assert_eq!(seen.spend(&proof(3, 90), at(60)), Seen::Never);
        assert_eq!(seen.spend(&proof(2, 90), at(60)), Seen::Before);
    }
}
