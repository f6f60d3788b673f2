//! A fixture in use, and what became of it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::condition::Condition;
use crate::error::StartError;
use crate::fixture::Fixture;
use crate::step::{Kind, Step};
use crate::subject::Subject;
use crate::times::Counted;

/// The scenarios that were entered, and their states.
pub(super) type Scenarios = HashMap<String, String>;

/// A fixture in use. Whoever changes what became of it holds the scenarios.
#[derive(Debug)]
pub(crate) struct Loaded {
    fixture: Fixture,
    name: Arc<str>,
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
    /// The fixture's name.
    pub(crate) name: Arc<str>,
}

impl Loaded {
    /// Refuses what can never do what it says. `index`: its place in the order of adding.
    pub(super) fn new(mut fixture: Fixture, index: usize, seed: u64) -> Result<Self, StartError> {
        if let Some(says) = fixture.problem() {
            return Err(StartError::Fixture { index, says });
        }
        if fixture.steps.is_empty() {
            fixture.steps = vec![fixture.reply.clone().into()];
        }
        for step in &mut fixture.steps {
            if let Kind::Reply(reply) = &mut step.0 {
                Arc::make_mut(reply).fill();
            }
        }
        Ok(Self {
            name: fixture.name.clone().unwrap_or_else(|| format!("fixture {index}")).into(),
            // Far from each other, so that no two fixtures draw the same.
            seed: fixture.seed.unwrap_or(seed ^ ((index as u64) << 32)),
            answered: AtomicUsize::new(0),
            drawn: AtomicU64::new(0),
            fixture,
        })
    }

    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// What decides in which order fixtures are tried, before the order of adding does.
    pub(super) fn order(&self) -> (bool, Reverse<i32>) {
        (self.fixture.catch_all, Reverse(self.fixture.priority))
    }

    pub(super) fn matches(&self, subject: &Subject<'_>) -> bool {
        self.fixture.conditions.iter().all(|condition| condition.holds(subject))
    }

    /// A text that the user's has to contain.
    pub(super) fn needle(&self) -> Option<&str> {
        self.fixture.conditions.iter().find_map(|condition| match condition {
            Condition::User(text) => text.part(),
            _ => None,
        })
    }

    /// The kinds of the conditions that do not hold.
    pub(super) fn failed(&self, subject: &Subject<'_>) -> Vec<&'static str> {
        let failed = self.fixture.conditions.iter().filter(|condition| !condition.holds(subject));
        failed.map(Condition::kind).collect()
    }

    /// What it says this time, if it is ready.
    pub(super) fn take(&self, scenarios: &mut Scenarios) -> Option<Chosen> {
        let Fixture { steps, times, requires, sets, chance, .. } = &self.fixture;
        if let Some((scenario, wanted)) = requires
            && scenarios.get(scenario).map_or("", String::as_str) != wanted
        {
            return None;
        }
        let answered = self.answered.load(Ordering::Relaxed);
        if times.is_some_and(|times| answered >= times) {
            return None;
        }
        let step = steps.get(answered).or(steps.last())?.clone();
        let luck = self.seed.wrapping_add(self.drawn.fetch_add(1, Ordering::Relaxed));
        if fastrand::Rng::with_seed(luck).f64() >= *chance {
            return None;
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        if let Some((scenario, next)) = sets {
            scenarios.insert(scenario.clone(), next.clone());
        }
        Some(Chosen { step, luck, name: self.name() })
    }

    pub(super) fn reset(&self) {
        self.answered.store(0, Ordering::Relaxed);
        self.drawn.store(0, Ordering::Relaxed);
    }

    /// What was expected of it and did not happen.
    pub(super) fn unmet(&self) -> Option<String> {
        let (expected, answered) = (self.fixture.expected?, self.answered.load(Ordering::Relaxed));
        let says =
            || format!("  `{}` was to answer {expected}, and answered {}", self.name, Counted(answered));
        (!expected.holds(answered)).then(says)
    }
}
