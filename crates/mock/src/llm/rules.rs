//! The fixtures of a server: in which order they are tried, and what became of them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::StartError;
use crate::fixture::Fixture;
use crate::step::Step;
use crate::subject::Subject;

#[derive(Debug)]
pub(crate) struct Rules {
    fixtures: Vec<Fixture>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How often each fixture has answered.
    answered: Vec<usize>,
    /// The state of each scenario; one that is not there was not entered.
    scenarios: HashMap<String, String>,
}

impl Rules {
    /// # Errors
    /// [`StartError::Fixture`] for what can never do what it says.
    pub(crate) fn new(fixtures: Vec<Fixture>) -> Result<Self, StartError> {
        let fixtures = fixtures.into_iter().enumerate();
        let checked: Result<Vec<Fixture>, _> =
            fixtures.map(|(index, fixture)| fixture.checked(index)).collect();
        let mut fixtures = checked?;
        // Among equals, the order of adding holds.
        fixtures.sort_by_key(|fixture| (fixture.is_catch_all(), Reverse(fixture.order())));
        Ok(Self { fixtures, state: Mutex::default() })
    }

    pub(crate) fn are_empty(&self) -> bool {
        self.fixtures.is_empty()
    }

    /// What the fixture that answers says this time.
    pub(crate) fn choose(&self, subject: &Subject<'_>) -> Option<&Step> {
        let mut candidates = self.fixtures.iter().enumerate().filter(|(_, fixture)| fixture.matches(subject));
        candidates.find_map(|(index, fixture)| self.take(index, fixture))
    }

    /// What the fixture says this time, if it is ready. Asking and counting are one step; conditions,
    /// which may be a test's own code, have been asked before, without the lock.
    fn take<'a>(&self, index: usize, fixture: &'a Fixture) -> Option<&'a Step> {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some((scenario, wanted)) = fixture.requires()
            && state.scenarios.get(scenario).map_or("", String::as_str) != wanted
        {
            return None;
        }
        state.answered.resize(self.fixtures.len(), 0);
        let step = fixture.step(state.answered[index])?;
        state.answered[index] += 1;
        if let Some((scenario, next)) = fixture.sets() {
            state.scenarios.insert(scenario.to_owned(), next.to_owned());
        }
        Some(step)
    }

    /// The fixture of which the fewest conditions failed: its place in the order of trying, and the kinds
    /// of those conditions, which hold nothing of the request.
    pub(crate) fn nearest(&self, subject: &Subject<'_>) -> Option<(usize, Vec<&'static str>)> {
        let failed = self.fixtures.iter().map(|fixture| fixture.failed(subject));
        failed.enumerate().min_by_key(|(_, failed)| failed.len())
    }

    pub(crate) fn reset(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
