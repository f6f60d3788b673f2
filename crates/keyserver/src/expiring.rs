//! A concurrent map whose entries end. What has ended is removed a few at a time by those who insert,
//! so the map needs no task of its own and never grows beyond what is live.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

/// How many ended entries one insertion removes at most. More than one, so that the map shrinks.
const SWEEP: usize = 4;

type Digest = [u8; 32];

/// When an entry ends, the earliest first.
type End = Reverse<(SystemTime, Digest)>;

/// Values by digest.
#[derive(Debug)]
pub(crate) struct Expiring<V> {
    live: DashMap<Digest, V>,
    ends: Mutex<BinaryHeap<End>>,
    most: usize,
    /// Whether those who insert remove what has ended; else somebody has to take it.
    swept: bool,
}

impl<V> Expiring<V> {
    /// Holds at most this many; one more pushes out the one that ends first.
    pub(crate) fn of_at_most(most: usize) -> Self {
        Self { live: DashMap::new(), ends: Mutex::default(), most, swept: true }
    }

    /// Holds whatever is live, and what has ended until [`Expiring::take_ended`] takes it.
    pub(crate) fn until_taken() -> Self {
        Self { live: DashMap::new(), ends: Mutex::default(), most: usize::MAX, swept: false }
    }

    /// Takes out one entry that has ended.
    pub(crate) fn take_ended(&self, now: SystemTime) -> Option<(Digest, V)> {
        loop {
            let digest = {
                let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
                if ends.peek()?.0.0 > now {
                    return None;
                }
                ends.pop()?.0.1
            };
            if let Some(taken) = self.live.remove(&digest) {
                return Some(taken);
            }
        }
    }

    /// What `read` sees under the digest.
    pub(crate) fn get<T>(&self, digest: &Digest, read: impl FnOnce(&V) -> T) -> Option<T> {
        self.live.get(digest).map(|value| read(&value))
    }

    /// Sets the value, whatever was there, to be removed some time after `until`.
    pub(crate) fn set(&self, digest: Digest, value: V, until: SystemTime, now: SystemTime) {
        if self.live.insert(digest, value).is_none() {
            self.note(digest, until, now);
        }
    }

    /// Sets the value unless one is there; one step.
    pub(crate) fn set_if_absent(&self, digest: Digest, value: V, until: SystemTime, now: SystemTime) {
        if let Entry::Vacant(place) = self.live.entry(digest) {
            place.insert(value);
        } else {
            return;
        }
        self.note(digest, until, now);
    }

    /// Takes the value away. `false`: somebody else did.
    pub(crate) fn remove(&self, digest: &Digest) -> bool {
        self.live.remove(digest).is_some()
    }

    /// What `pick` makes of each value, where it makes something.
    pub(crate) fn filter<T>(&self, pick: impl Fn(&Digest, &V) -> Option<T>) -> Vec<(Digest, T)> {
        self.live.iter().filter_map(|entry| Some((*entry.key(), pick(entry.key(), entry.value())?))).collect()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    fn note(&self, digest: Digest, until: SystemTime, now: SystemTime) {
        let mut ended = Vec::new();
        {
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.push(Reverse((until, digest)));
            while self.swept
                && ended.len() < SWEEP
                && let Some(Reverse((end, _))) = ends.peek()
                && (*end <= now || ends.len() > self.most)
                && let Some(Reverse((_, digest))) = ends.pop()
            {
                ended.push(digest);
            }
        }
        for digest in ended {
            self.live.remove(&digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn digest(number: u8) -> Digest {
        [number; 32]
    }

    #[test]
    fn ended_entries_leave_as_others_come() {
        let map = Expiring::of_at_most(usize::MAX);
        for number in 0..100 {
            map.set(digest(number), number, at(10), at(0));
        }
        assert_eq!(map.len(), 100);
        for number in 100..140 {
            map.set(digest(number), number, at(30), at(20));
        }
        assert_eq!(map.len(), 40);
        assert_eq!(map.get(&digest(120), |value| *value), Some(120));
        assert_eq!(map.get(&digest(7), |value| *value), None);
    }

    #[test]
    fn what_has_ended_can_be_taken_once() {
        let map = Expiring::until_taken();
        for number in 0..10 {
            map.set(digest(number), number, at(u64::from(number)), at(20));
        }
        assert_eq!(map.len(), 10);
        assert_eq!(map.take_ended(at(1)), Some((digest(0), 0)));
        assert_eq!(map.take_ended(at(1)), Some((digest(1), 1)));
        assert_eq!(map.take_ended(at(1)), None);
        assert_eq!(map.len(), 8);
    }

    #[test]
    fn the_first_to_end_makes_room() {
        let map = Expiring::of_at_most(2);
        map.set(digest(1), 1, at(30), at(0));
        map.set(digest(2), 2, at(10), at(0));
        map.set(digest(3), 3, at(20), at(0));
        assert_eq!([1, 2, 3].map(|n| map.get(&digest(n), |value| *value)), [Some(1), None, Some(3)]);
    }

    #[test]
    fn what_is_there_stays_unless_it_is_set() {
        let map = Expiring::of_at_most(8);
        map.set(digest(1), 1, at(9), at(0));
        map.set_if_absent(digest(1), 2, at(9), at(0));
        assert_eq!(map.get(&digest(1), |value| *value), Some(1));
        map.set(digest(1), 3, at(9), at(0));
        assert_eq!(map.get(&digest(1), |value| *value), Some(3));
    }
}
