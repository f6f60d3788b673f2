//! What was asked of a mock: a bounded list of requests, and how many there were of each path.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use crate::capture::Recorded;
use crate::packed::{Memory, Packed};
use crate::requests::Requests;

/// How many requests are kept; the oldest are forgotten first.
pub const CAPACITY: usize = 1_024;
/// How many bytes of bodies are kept.
const BODY_BYTES: usize = 64 << 20;
/// How many different paths are counted.
const PATHS: usize = 1_024;

/// The list of a server's requests.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    requests: VecDeque<Entry>,
    /// How many requests came before the first that is kept.
    forgotten: u64,
    body_bytes: usize,
    counts: HashMap<String, u64>,
    /// Of the last request that was forgotten.
    spare: Memory,
}

#[derive(Debug)]
enum Entry {
    /// Not answered yet.
    Open(Recorded),
    Answered(Packed),
}

/// The place of a request in the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u64);

impl Log {
    pub(crate) fn add(&self, request: Recorded) -> Place {
        let mut kept = self.lock();
        if let Some(count) = kept.counts.get_mut(request.path()) {
            *count += 1;
        } else if kept.counts.len() < PATHS {
            kept.counts.insert(request.path().to_owned(), 1);
        }
        kept.body_bytes += request.body().len();
        kept.requests.push_back(Entry::Open(request));
        let place = Place(kept.forgotten + kept.requests.len() as u64 - 1);
        while (kept.requests.len() > CAPACITY || kept.body_bytes > BODY_BYTES) && kept.forget() {}
        place
    }

    /// Notes that a request was answered.
    pub(crate) fn answered(&self, place: Place, request: &Recorded, status: StatusCode) {
        request.answered(status);
        let mut kept = self.lock();
        let kept = &mut *kept;
        let index = place.0.checked_sub(kept.forgotten).and_then(|index| usize::try_from(index).ok());
        // It may be forgotten by now. A URI that names a host can get longer than URIs are when it is written.
        if request.uri().authority().is_none()
            && let Some(entry) = index.and_then(|index| kept.requests.get_mut(index))
        {
            *entry = Entry::Answered(Packed::new(request, std::mem::take(&mut kept.spare)));
        }
    }

    pub(crate) fn requests(&self) -> Requests {
        let request = |entry: &Entry| match entry {
            Entry::Open(request) => request.clone(),
            Entry::Answered(packed) => packed.request(),
        };
        Requests::new(self.lock().requests.iter().map(request).collect())
    }

    pub(crate) fn clear(&self) {
        let mut kept = self.lock();
        let forgotten = kept.forgotten + kept.requests.len() as u64;
        *kept = Kept { forgotten, ..Kept::default() };
    }

    pub(crate) fn count(&self, path: &str) -> u64 {
        self.lock().counts.get(path).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Forgets the oldest request. Whether there was one.
    fn forget(&mut self) -> bool {
        let Some(oldest) = self.requests.pop_front() else { return false };
        self.forgotten += 1;
        match oldest {
            Entry::Open(request) => self.body_bytes -= request.body().len(),
            Entry::Answered(packed) => {
                self.body_bytes -= packed.body_bytes();
                self.spare = packed.into_memory();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, Method};
    use std::time::SystemTime;

    fn request(path: &str, body: usize) -> Recorded {
        let body = Bytes::from(vec![b'x'; body]);
        Recorded::new(Method::POST, path.parse().unwrap(), HeaderMap::new(), body, SystemTime::UNIX_EPOCH)
    }

    fn paths(log: &Log) -> Vec<(String, Option<u16>)> {
        log.requests().iter().map(|request| (request.path().to_owned(), request.status())).collect()
    }

    #[test]
    fn the_list_is_bounded_and_counts_are_not_lost() {
        let log = Log::default();
        for n in 0..CAPACITY + 10 {
            log.add(request(if n % 2 == 0 { "/even" } else { "/odd" }, 1));
        }
        assert_eq!(log.requests().len(), CAPACITY);
        assert_eq!(log.count("/even") + log.count("/odd"), CAPACITY as u64 + 10);
        for n in 0..PATHS + 10 {
            log.add(request(&format!("/{n}"), 0));
        }
        assert_eq!(log.lock().counts.len(), PATHS);
        for _ in 0..6 {
            log.add(request("/large", BODY_BYTES / 4));
        }
        assert_eq!(log.requests().len(), 4);
    }

    #[test]
    fn each_answer_is_noted_where_its_request_is() {
        let log = Log::default();
        let asked: Vec<_> = (0..3).map(|n| request(&format!("/{n}"), 10)).collect();
        let places: Vec<_> = asked.iter().map(|request| log.add(request.clone())).collect();
        log.answered(places[1], &asked[1], StatusCode::OK);
        assert_eq!(paths(&log), [("/0".into(), None), ("/1".into(), Some(200)), ("/2".into(), None)]);

        for n in 0..CAPACITY - 2 {
            let request = request(&format!("/later/{n}"), 0);
            log.answered(log.add(request.clone()), &request, StatusCode::CREATED);
        }
        log.answered(places[0], &asked[0], StatusCode::ACCEPTED);
        assert_eq!(
            paths(&log)[..2],
            [("/1".into(), Some(200)), ("/2".into(), None)],
            "the first is forgotten"
        );
        assert_eq!(asked[0].status(), Some(202), "but whoever has it knows");

        log.clear();
        log.answered(places[2], &asked[2], StatusCode::OK);
        let whole = request("http://example.com", 0);
        log.answered(log.add(whole.clone()), &whole, StatusCode::OK);
        let star = request("*", 0);
        log.answered(log.add(star.clone()), &star, StatusCode::OK);
        assert_eq!(paths(&log), [("/".into(), Some(200)), ("*".into(), Some(200))]);

        log.clear();
        let next = request("/next", 0);
        let place = log.add(next.clone());
        log.answered(place, &next, StatusCode::OK);
        assert_eq!(paths(&log), [("/next".into(), Some(200))]);
    }
}
