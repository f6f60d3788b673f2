//! Who signs in: the current user without being asked, or somebody with a password at a page.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::header::COOKIE;
use portunus_auth_core::BearerToken;

use super::user::User;
use crate::capture::Recorded;
use crate::form::Form;

const NAME: &str = "portunus_mock_session";

/// Those who can sign in, and those who have.
pub(super) struct Logins {
    accounts: Vec<(User, BearerToken)>,
    sessions: Mutex<HashMap<String, Session>>,
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) user: User,
    pub(super) since: SystemTime,
}

impl Logins {
    pub(super) fn new(accounts: Vec<(User, BearerToken)>) -> Self {
        Self { accounts, sessions: Mutex::default() }
    }

    /// Whether users are asked who they are.
    pub(super) fn asks(&self) -> bool {
        !self.accounts.is_empty()
    }

    /// Whom name and password of a form belong to; a name is a subject.
    pub(super) fn check(&self, form: &Form) -> Option<User> {
        let (name, password) = (form.get("username")?, form.get("password")?);
        let fits =
            |(user, wanted): &&(User, BearerToken)| user.subject == name && wanted.expose() == password;
        self.accounts.iter().find(fits).map(|(user, _)| user.clone())
    }

    /// The session that a browser brings along.
    pub(super) fn session(&self, request: &Recorded) -> Option<Session> {
        let sessions = self.lock();
        cookies(request).find_map(|id| sessions.get(id).cloned())
    }

    /// Begins a session; the answer is the value of `Set-Cookie`. `number` is one that no other session,
    /// of whatever issuer, has.
    pub(super) fn begin(&self, issuer: &str, number: u64, session: Session) -> String {
        let id = format!("session-{}-{number}", issuer.replace(['/', ':'], "-"));
        let cookie = format!("{NAME}={id}; Path=/; HttpOnly; SameSite=Lax");
        self.lock().insert(id, session);
        cookie
    }

    /// Ends the session that a browser brings along.
    pub(super) fn end(&self, request: &Recorded) {
        let mut sessions = self.lock();
        cookies(request).for_each(|id| drop(sessions.remove(id)));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value of `Set-Cookie` that makes a browser forget its session.
pub(super) const FORGET: &str = "portunus_mock_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax";

fn cookies(request: &Recorded) -> impl Iterator<Item = &str> {
    let headers = request.headers_with_secrets().get_all(COOKIE).iter();
    headers.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == NAME).then_some(value)
    })
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Logins").field(&self.accounts).finish()
    }
}
