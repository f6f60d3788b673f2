//! Fixtures that come and go while a server runs, and whether they answered as often as they were to.

use std::fmt;
use std::sync::Arc;

use crate::fixture::Fixture;
use crate::llm::{Llm, Loaded};
use crate::outcome::Outcome;
use crate::requests::Requests;
use crate::server::MockServer;

/// How many requests a report names, the last ones.
const REPORTED: usize = 20;

/// What fixtures were to do and did not, and the requests that came.
///
/// It shows methods, paths and models of requests, names of fixtures, the kinds of conditions that failed, and
/// credentials cut short; nothing that a user wrote. `Debug` is the same text, for `unwrap`.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct Unmet(String);

impl fmt::Debug for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl MockServer {
    /// Adds a fixture; it is tried after those of its priority that are there. A server that had none answers
    /// by its fixtures from now on.
    ///
    /// # Panics
    /// When the fixture can never do what it says.
    #[track_caller]
    pub fn mount(&self, fixture: Fixture) {
        mount(&self.llm, fixture);
    }

    /// [`MockServer::mount`], until the guard is dropped.
    ///
    /// # Panics
    /// When the fixture can never do what it says.
    #[track_caller]
    pub fn mount_scoped(&self, fixture: Fixture) -> Mounted {
        Mounted { loaded: mount(&self.llm, fixture), llm: Arc::clone(&self.llm) }
    }

    /// Whether every fixture has answered as often as was expected of it. Dropping the server asks too, and
    /// panics.
    ///
    /// # Errors
    /// [`Unmet`], which names the fixtures, and the requests that came.
    pub fn verify(&self) -> Result<(), Unmet> {
        verify(&self.llm)
    }

    /// # Panics
    /// When a request came that no fixture matched, or for which there is no route.
    #[track_caller]
    pub fn assert_no_unmatched(&self) {
        let unmatched: Vec<String> = (self.requests().iter())
            .filter(|request| matches!(request.outcome(), Some(Outcome::Unmatched(_) | Outcome::NoRoute)))
            .map(crate::Recorded::line)
            .collect();
        assert!(unmatched.is_empty(), "nothing matched these requests:\n{}", unmatched.join("\n"));
    }

    /// Forgets the requests that came, and nothing else. [`MockServer::reset`] forgets everything.
    pub fn forget_requests(&self) {
        self.llm.log.clear();
    }
}

impl Drop for MockServer {
    fn drop(&mut self) {
        check(|| self.verify());
    }
}

/// A fixture that is there until this is dropped, which then panics if it did not answer as often as was
/// expected, unless the thread is panicking already.
#[must_use = "dropping it removes the fixture"]
pub struct Mounted {
    llm: Arc<Llm>,
    loaded: Arc<Loaded>,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.llm.rules.remove(&self.loaded);
        check(|| match self.llm.rules.unmet_of(&self.loaded) {
            Some(unmet) => Err(unmet_with(&[unmet], &self.llm.log.requests())),
            None => Ok(()),
        });
    }
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mounted").field(&self.loaded.name()).finish()
    }
}

/// [`MockServer::verify`].
pub(crate) fn verify(llm: &Llm) -> Result<(), Unmet> {
    let unmet = llm.rules.unmet();
    if unmet.is_empty() { Ok(()) } else { Err(unmet_with(&unmet, &llm.log.requests())) }
}

#[track_caller]
fn mount(llm: &Llm, fixture: Fixture) -> Arc<Loaded> {
    llm.rules.add(fixture).unwrap_or_else(|error| panic!("{error}"))
}

/// Panics at the end of a test that has not failed yet: a second panic would end the process.
fn check(verify: impl FnOnce() -> Result<(), Unmet>) {
    if !std::thread::panicking()
        && let Err(unmet) = verify()
    {
        panic!("{unmet}");
    }
}

fn unmet_with(unmet: &[String], requests: &Requests) -> Unmet {
    let earlier = requests.len().saturating_sub(REPORTED);
    let mut report = format!("fixtures did not answer as expected:\n{}\n", unmet.join("\n"));
    match (requests.len(), earlier) {
        (0, _) => report += "no request came",
        (all, 0) => report += &format!("requests that came, {all}:"),
        (all, _) => report += &format!("requests that came, the last {REPORTED} of {all}:"),
    }
    for request in &requests[earlier..] {
        report.push('\n');
        report += &request.line();
    }
    Unmet(report)
}
