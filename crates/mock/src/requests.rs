//! What a test asks of the requests that came.

use std::ops::{Deref, DerefMut};

use crate::capture::Recorded;
use crate::times::Times;

/// Requests that a mock received, oldest first.
///
/// ```
/// # use portunus_mock::MockServer;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = MockServer::start().await;
/// server.requests().for_key("sk-test-1").for_path("/v1/messages").assert_count(..=1);
/// if let Some(last) = server.requests().last() {
///     last.assert_model("claude-sonnet-4-5").assert_header("anthropic-version", "2023-06-01");
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Requests(Vec<Recorded>);

impl Requests {
    pub(crate) fn new(requests: Vec<Recorded>) -> Self {
        Self(requests)
    }

    /// Those that presented that key or token, or were signed with the key of that id.
    #[must_use]
    pub fn for_key(&self, key: &str) -> Self {
        self.only(|request| request.presents(key))
    }

    /// Those for that path.
    #[must_use]
    pub fn for_path(&self, path: &str) -> Self {
        self.only(|request| request.path() == path)
    }

    /// Those for that model.
    #[must_use]
    pub fn for_model(&self, model: &str) -> Self {
        self.only(|request| request.model().as_deref() == Some(model))
    }

    /// Those that the fixture of that name answered.
    #[must_use]
    pub fn for_fixture(&self, name: &str) -> Self {
        self.only(|request| request.fixture() == Some(name))
    }

    /// # Panics
    /// When there are more or fewer.
    #[track_caller]
    pub fn assert_count(&self, times: impl Into<Times>) -> &Self {
        let times = times.into();
        let said: Vec<String> = self.iter().map(Recorded::line).collect();
        assert!(
            times.holds(self.len()),
            "a request was to come {times}, and there were {}:\n{}",
            self.len(),
            said.join("\n")
        );
        self
    }

    fn only(&self, which: impl Fn(&Recorded) -> bool) -> Self {
        Self(self.iter().filter(|request| which(request)).cloned().collect())
    }
}

impl Deref for Requests {
    type Target = Vec<Recorded>;

    fn deref(&self) -> &Vec<Recorded> {
        &self.0
    }
}

impl DerefMut for Requests {
    fn deref_mut(&mut self) -> &mut Vec<Recorded> {
        &mut self.0
    }
}

impl IntoIterator for Requests {
    type Item = Recorded;
    type IntoIter = std::vec::IntoIter<Recorded>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'r> IntoIterator for &'r Requests {
    type Item = &'r Recorded;
    type IntoIter = std::slice::Iter<'r, Recorded>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// What a test asks of one request. A failure names the request, with its credential cut short.
impl Recorded {
    /// # Panics
    /// When it is not for that model.
    #[track_caller]
    pub fn assert_model(&self, model: &str) -> &Self {
        assert_eq!(self.model().as_deref(), Some(model), "the model of {}", self.line());
        self
    }

    /// # Panics
    /// When it has no header of that name with exactly that value. A credential's value is not shown.
    #[track_caller]
    pub fn assert_header(&self, name: &str, value: &str) -> &Self {
        let values = self.headers_with_secrets().get_all(name);
        let holds = values.iter().any(|found| found.as_bytes() == value.as_bytes());
        assert!(holds, "the header `{name}` is {:?} in {}", self.header(name), self.line());
        self
    }

    /// # Panics
    /// When it was not answered with that status.
    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        assert_eq!(self.status(), Some(status), "the status of {}", self.line());
        self
    }
}
