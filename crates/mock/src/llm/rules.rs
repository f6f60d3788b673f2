//! The fixtures of a server: in which order they are tried, and what became of them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aho_corasick::AhoCorasick;

use crate::error::StartError;
use crate::fixture::Fixture;
use crate::step::Step;
use crate::subject::Subject;

/// From how many texts on looking for all of them at once is faster than for one after the other.
const MANY: usize = 8;

/// The scenarios that were entered, and their states.
type Scenarios = HashMap<String, String>;

#[derive(Debug)]
pub(crate) struct Rules {
    seed: u64,
    current: RwLock<Arc<Set>>,
    scenarios: Mutex<Scenarios>,
}

/// The fixtures of a server at one time.
#[derive(Debug)]
struct Set {
    /// In the order of trying.
    loaded: Box<[Loaded]>,
    /// Finds the texts that fixtures look for in the user's, all of them in one pass.
    needles: Option<AhoCorasick>,
}

/// A fixture and what became of it. The counters change while [`Rules::scenarios`] is locked.
#[derive(Debug)]
struct Loaded {
    fixture: Fixture,
    /// Which of the needles is its own.
    needle: Option<usize>,
    seed: u64,
    answered: AtomicUsize,
    drawn: AtomicU64,
}

/// What a fixture says this time.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) step: Step,
    /// The seed of whatever is left to chance in it.
    pub(crate) luck: u64,
}

impl Rules {
    /// # Errors
    /// [`StartError::Fixture`] for what can never do what it says.
    pub(crate) fn new(fixtures: Vec<Fixture>, seed: u64) -> Result<Self, StartError> {
        let current = RwLock::new(Arc::new(Set::load(fixtures, seed)?));
        Ok(Self { seed, current, scenarios: Mutex::default() })
    }

    /// Begins anew with these fixtures. After an error, the old ones go on.
    pub(crate) fn replace(&self, fixtures: Vec<Fixture>) -> Result<(), StartError> {
        let set = Arc::new(Set::load(fixtures, self.seed)?);
        let mut scenarios = self.scenarios.lock().unwrap_or_else(PoisonError::into_inner);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = set;
        scenarios.clear();
        Ok(())
    }

    pub(crate) fn are_empty(&self) -> bool {
        self.current().loaded.is_empty()
    }

    /// What the fixture that answers says this time. Conditions, which may be a test's own code, are asked
    /// without a lock.
    pub(crate) fn choose(&self, subject: &Subject<'_>) -> Option<Chosen> {
        let set = self.current();
        let found = set.found(&subject.call.user_text);
        let mut candidates = set.loaded.iter().filter(|loaded| {
            loaded.needle.is_none_or(|needle| found[needle]) && loaded.fixture.matches(subject)
        });
        candidates.find_map(|loaded| self.take(loaded))
    }

    /// What the fixture says this time, if it is ready. Asking and counting are one step.
    fn take(&self, loaded: &Loaded) -> Option<Chosen> {
        let Loaded { fixture, seed, answered, drawn, .. } = loaded;
        let mut scenarios = self.scenarios.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((scenario, wanted)) = fixture.requires()
            && scenarios.get(scenario).map_or("", String::as_str) != wanted
        {
            return None;
        }
        let step = fixture.step(answered.load(Ordering::Relaxed))?;
        let luck = seed.wrapping_add(drawn.fetch_add(1, Ordering::Relaxed));
        if fastrand::Rng::with_seed(luck).f64() >= fixture.chance() {
            return None;
        }
        answered.fetch_add(1, Ordering::Relaxed);
        if let Some((scenario, next)) = fixture.sets() {
            scenarios.insert(scenario.to_owned(), next.to_owned());
        }
        Some(Chosen { step: step.clone(), luck })
    }

    /// The fixture of which the fewest conditions failed: its place in the order of trying, and the kinds
    /// of those conditions, which hold nothing of the request.
    pub(crate) fn nearest(&self, subject: &Subject<'_>) -> Option<(usize, Vec<&'static str>)> {
        let set = self.current();
        let failed = set.loaded.iter().map(|loaded| loaded.fixture.failed(subject));
        failed.enumerate().min_by_key(|(_, failed)| failed.len())
    }

    pub(crate) fn reset(&self) {
        let mut scenarios = self.scenarios.lock().unwrap_or_else(PoisonError::into_inner);
        for loaded in &self.current().loaded {
            loaded.answered.store(0, Ordering::Relaxed);
            loaded.drawn.store(0, Ordering::Relaxed);
        }
        scenarios.clear();
    }

    fn current(&self) -> Arc<Set> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Set {
    /// Checks fixtures and puts them in their order; among equals, the order of adding holds.
    fn load(fixtures: Vec<Fixture>, seed: u64) -> Result<Self, StartError> {
        let fixtures = fixtures.into_iter().enumerate();
        let checked: Result<Vec<Fixture>, _> =
            fixtures.map(|(index, fixture)| fixture.checked(index)).collect();
        let mut fixtures = checked?;
        fixtures.sort_by_key(|fixture| (fixture.is_catch_all(), Reverse(fixture.order())));
        let texts: Vec<&str> = fixtures.iter().filter_map(Fixture::needle).collect();
        // Without an automaton, which only too many texts for one can cause, each is looked for by itself.
        let needles = AhoCorasick::new(&texts).ok().filter(|_| texts.len() >= MANY);
        let mut numbers = 0..;
        let loaded = |(place, fixture): (u64, Fixture)| {
            let number = fixture.needle().and_then(|_| numbers.next());
            Loaded {
                // Far from each other, so that no two fixtures draw the same.
                seed: fixture.own_seed().unwrap_or(seed ^ (place << 32)),
                needle: number.filter(|_| needles.is_some()),
                fixture,
                answered: AtomicUsize::new(0),
                drawn: AtomicU64::new(0),
            }
        };
        let loaded = (0..).zip(fixtures).map(loaded).collect();
        Ok(Self { loaded, needles })
    }

    /// For each needle whether it is in a text.
    fn found(&self, text: &str) -> Vec<bool> {
        let Some(needles) = &self.needles else { return Vec::new() };
        let mut found = vec![false; needles.patterns_len()];
        needles.find_overlapping_iter(text).for_each(|needle| found[needle.pattern()] = true);
        found
    }
}
