//! The fixtures of a server: in which order they are tried, and how they come and go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use super::loaded::{Chosen, Loaded, Scenarios};
use super::needles::{Needle, Pieces};
use crate::error::StartError;
use crate::fixture::Fixture;
use crate::outcome::Nearest;
use crate::subject::Subject;

/// From how many texts on telling at once which may be there is faster than looking for each.
const MANY: usize = 8;

#[derive(Debug)]
pub(crate) struct Rules {
    seed: u64,
    current: RwLock<Arc<Set>>,
    /// How many were added; changes while `current` is written.
    added: AtomicUsize,
    scenarios: Mutex<Scenarios>,
}

/// The fixtures of a server at one time.
#[derive(Debug)]
struct Set {
    /// In the order of trying, each with what it looks for in the user's text.
    loaded: Box<[(Arc<Loaded>, Option<Needle>)]>,
    looks_for_many: bool,
}

impl Rules {
    /// # Errors
    /// [`StartError::Fixture`] for what can never do what it says.
    pub(crate) fn new(fixtures: Vec<Fixture>, seed: u64) -> Result<Self, StartError> {
        let added = AtomicUsize::new(fixtures.len());
        let current = RwLock::new(Arc::new(Set::load(fixtures, seed)?));
        Ok(Self { seed, current, added, scenarios: Mutex::default() })
    }

    /// Begins anew with these fixtures. After an error, the old ones go on.
    pub(crate) fn replace(&self, fixtures: Vec<Fixture>) -> Result<(), StartError> {
        let added = fixtures.len();
        let set = Arc::new(Set::load(fixtures, self.seed)?);
        let mut scenarios = self.scenarios();
        let mut current = self.change();
        self.added.store(added, Ordering::Relaxed);
        *current = set;
        scenarios.clear();
        Ok(())
    }

    /// Adds a fixture, after those that it does not come before.
    pub(crate) fn add(&self, fixture: Fixture) -> Result<Arc<Loaded>, StartError> {
        let mut current = self.change();
        let index = self.added.load(Ordering::Relaxed);
        let loaded = Arc::new(Loaded::new(fixture, index, self.seed)?);
        self.added.store(index + 1, Ordering::Relaxed);
        *current = Arc::new(Set::new(current.all().chain([&loaded]).cloned().collect()));
        Ok(loaded)
    }

    pub(crate) fn remove(&self, loaded: &Arc<Loaded>) {
        let mut current = self.change();
        let others = current.all().filter(|other| !Arc::ptr_eq(other, loaded));
        *current = Arc::new(Set::new(others.cloned().collect()));
    }

    pub(crate) fn are_empty(&self) -> bool {
        self.current().loaded.is_empty()
    }

    /// What the fixture that answers says this time. Conditions, which may be a test's own code, are asked
    /// without a lock; asking whether it is ready, and counting, are one step.
    pub(crate) fn choose(&self, subject: &Subject<'_>) -> Option<Chosen> {
        let set = self.current();
        let pieces = set.looks_for_many.then(|| Pieces::of(&subject.call.user_text));
        let may_hold = |needle: &Option<Needle>| match (&pieces, needle) {
            (Some(pieces), Some(needle)) => pieces.may_hold(needle),
            _ => true,
        };
        let mut candidates =
            set.loaded.iter().filter(|(loaded, needle)| may_hold(needle) && loaded.matches(subject));
        candidates.find_map(|(loaded, _)| loaded.take(&mut self.scenarios()))
    }

    /// The fixture of which the fewest conditions failed.
    pub(crate) fn nearest(&self, subject: &Subject<'_>) -> Option<Nearest> {
        let set = self.current();
        let failed = set.all().map(|loaded| Nearest { name: loaded.name(), failed: loaded.failed(subject) });
        failed.min_by_key(|nearest| nearest.failed.len())
    }

    /// What was expected of the fixtures and did not happen.
    pub(crate) fn unmet(&self) -> Vec<String> {
        let _unchanged = self.scenarios();
        self.current().all().filter_map(|loaded| loaded.unmet()).collect()
    }

    /// What was expected of one that was added, and did not happen.
    pub(crate) fn unmet_of(&self, loaded: &Loaded) -> Option<String> {
        let _unchanged = self.scenarios();
        loaded.unmet()
    }

    pub(crate) fn reset(&self) {
        let mut scenarios = self.scenarios();
        self.current().all().for_each(|loaded| loaded.reset());
        scenarios.clear();
    }

    fn current(&self) -> Arc<Set> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self) -> RwLockWriteGuard<'_, Arc<Set>> {
        self.current.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn scenarios(&self) -> MutexGuard<'_, Scenarios> {
        self.scenarios.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
    fn load(fixtures: Vec<Fixture>, seed: u64) -> Result<Self, StartError> {
        let fixtures = fixtures.into_iter().enumerate();
        let loaded = fixtures.map(|(index, fixture)| Loaded::new(fixture, index, seed).map(Arc::new));
        Ok(Self::new(loaded.collect::<Result<_, _>>()?))
    }

    /// Puts fixtures in their order; among equals, the order of adding holds.
    fn new(mut loaded: Vec<Arc<Loaded>>) -> Self {
        loaded.sort_by_key(|loaded| loaded.order());
        let with_needle = |loaded: Arc<Loaded>| {
            let needle = loaded.needle().and_then(Needle::new);
            (loaded, needle)
        };
        let loaded: Box<[_]> = loaded.into_iter().map(with_needle).collect();
        let looks_for_many = loaded.iter().filter(|(_, needle)| needle.is_some()).count() >= MANY;
        Self { loaded, looks_for_many }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.loaded.iter().map(|(loaded, _)| loaded)
    }
}
