//! Device authorization (RFC 8628).

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Idp;
use super::client::GrantType;
use super::client_auth::authenticate;
use super::consent::{Consent, audiences};
use super::error::OAuthError;
use super::routes::Endpoint;
use super::token::{self, Asked, first_tokens, posted_form};
use super::user::User;
use crate::answer::Answer;
use crate::capture::Recorded;
use crate::secrets::Secrets;

/// Letters that nobody takes for one another, and that make no words (RFC 8628 §6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// How much each `slow_down` adds to the interval (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// How much too early a poll may come: clients round, and the network hurries the second of two polls.
const TOLERANCE: Duration = Duration::from_millis(500);

/// What a poll of a scripted flow is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DevicePoll {
    /// `authorization_pending`.
    Pending,
    /// `slow_down`.
    SlowDown,
    /// Tokens of the current user.
    Approve,
    /// `access_denied`.
    Deny,
    /// `expired_token`.
    Expire,
}

/// No flow that waits for its user has that user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no device flow that waits for its user has that user code")]
pub struct UnknownUserCode;

#[derive(Debug)]
struct Flow {
    client_id: String,
    scopes: Vec<String>,
    audiences: Vec<String>,
    interval: Duration,
    /// The last poll that came in time, and whether one too early has come since.
    last: Option<SystemTime>,
    slowed: bool,
    expires_at: SystemTime,
    state: State,
    script: VecDeque<DevicePoll>,
    family: u64,
}

#[derive(Clone, Debug)]
enum State {
    Pending,
    Approved(User, SystemTime),
    Denied,
    Expired,
    Redeemed,
}

/// All flows.
#[derive(Default)]
pub(super) struct Devices(Mutex<Held>);

#[derive(Default)]
struct Held {
    flows: Secrets<Flow>,
    /// Device codes by user code, letters only.
    by_user_code: HashMap<String, String>,
    script: VecDeque<DevicePoll>,
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Devices").field(&self.lock().flows.len()).finish()
    }
}

impl Devices {
    /// What the polls of the next flow are answered, one after the other; then the usual again.
    pub(super) fn script(&self, polls: impl IntoIterator<Item = DevicePoll>) {
        self.lock().script = polls.into_iter().collect();
    }

    /// Ends the wait of a flow: the user agreed, or (`None`) said no.
    pub(super) fn decide(
        &self,
        user_code: &str,
        user: Option<User>,
        now: SystemTime,
    ) -> Result<(), UnknownUserCode> {
        let mut held = self.lock();
        let held = &mut *held;
        let device_code = held.by_user_code.get(&letters(user_code)).ok_or(UnknownUserCode)?;
        let flow = held.flows.get_mut(device_code).ok_or(UnknownUserCode)?;
        if now >= flow.expires_at || !matches!(flow.state, State::Pending) {
            return Err(UnknownUserCode);
        }
        flow.state = user.map_or(State::Denied, |user| State::Approved(user, now));
        Ok(())
    }

    fn add(&self, mut flow: Flow) -> (String, String) {
        let mut held = self.lock();
        flow.script = std::mem::take(&mut held.script);
        let (device_code, user_code) = (format!("device-mock-{}", flow.family), user_code(flow.family));
        held.by_user_code.insert(letters(&user_code), device_code.clone());
        held.flows.insert(&device_code, flow);
        (device_code, user_code)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    /// The state as of now. What a script says comes first, and stays.
    fn advance(&mut self, user: impl FnOnce() -> User, now: SystemTime) -> Result<(), OAuthError> {
        if let (State::Pending, Some(poll)) = (&self.state, self.script.pop_front()) {
            match poll {
                DevicePoll::Pending => return Err(pending()),
                DevicePoll::SlowDown => {
                    self.interval += SLOWER;
                    return Err(slow_down(self.interval));
                }
                DevicePoll::Approve => self.state = State::Approved(user(), now),
                DevicePoll::Deny => self.state = State::Denied,
                DevicePoll::Expire => self.state = State::Expired,
            }
        }
        if now >= self.expires_at && !matches!(self.state, State::Denied | State::Redeemed) {
            self.state = State::Expired;
        }
        Ok(())
    }

    /// A poll while the user has not decided. One that comes too early makes the interval longer, once
    /// until the next that comes in time; so whoever polls steadily, at whatever pace, is heard again.
    fn wait(&mut self, now: SystemTime) -> OAuthError {
        let due = self.last.map(|last| last + self.interval.saturating_sub(TOLERANCE));
        if due.is_none_or(|due| now >= due) {
            self.last = Some(now);
            self.slowed = false;
            return pending();
        }
        if !std::mem::replace(&mut self.slowed, true) {
            self.interval += SLOWER;
        }
        slow_down(self.interval)
    }
}

fn pending() -> OAuthError {
    OAuthError::new("authorization_pending", "the user has not decided yet")
}

fn slow_down(interval: Duration) -> OAuthError {
    let error = OAuthError::new("slow_down", "polled too early: wait five seconds longer between polls");
    error.at_github("slow_down", Some(interval.as_secs()))
}

/// `POST /device_authorization`.
pub(super) fn start(idp: &Arc<Idp>, request: &Recorded) -> Answer {
    match started(idp, request) {
        Ok(flow) => token::worded(idp, request, StatusCode::OK, flow),
        Err(error) => error.answer_for(idp, request),
    }
}

fn started(idp: &Idp, request: &Recorded) -> Result<Value, OAuthError> {
    let form = posted_form(request, &["resource", "audience"])?;
    let client = authenticate(idp, request, &form)?;
    if !client.may_use(GrantType::DeviceCode) {
        return Err(OAuthError::new("unauthorized_client", "the client may not use device codes"));
    }
    let scopes = client.scopes_for(form.get("scope"))?;
    let settings = &idp.settings;
    let (device_code, user_code) = idp.devices.add(Flow {
        client_id: client.id.clone(),
        scopes,
        audiences: audiences(idp, &form)?,
        interval: settings.device_interval,
        last: None,
        slowed: false,
        expires_at: idp.now() + settings.device_ttl,
        state: State::Pending,
        script: VecDeque::new(),
        family: idp.issued.new_family(),
    });
    let page = idp.routes.url(Endpoint::DevicePage).unwrap_or_default();
    Ok(json!({
        "device_code": device_code,
        "user_code": user_code,
        settings.profile.verification_member: page,
        "verification_uri_complete": format!("{page}?user_code={user_code}"),
        "expires_in": settings.device_ttl.as_secs(),
        "interval": settings.device_interval.as_secs(),
    }))
}

/// A poll at the token endpoint (RFC 8628 §3.4). Tokens are given once.
pub(super) fn redeem(asked: &Asked<'_>) -> Result<Value, OAuthError> {
    let (idp, now) = (asked.idp, asked.idp.now());
    let text = asked.form.get("device_code");
    let text = text.ok_or(OAuthError::new("invalid_request", "`device_code` is missing"))?;
    let status = idp.settings.profile.poll_status;
    let consent = {
        let mut held = idp.devices.lock();
        let flow = held.flows.get_mut(text).filter(|flow| flow.client_id == asked.client.id);
        let flow = flow.ok_or_else(unknown)?;
        flow.advance(|| idp.user(), now).map_err(|error| error.status(status))?;
        match flow.state.clone() {
            State::Pending => return Err(flow.wait(now).status(status)),
            State::Denied => {
                return Err(OAuthError::new("access_denied", "the user said no")
                    .status(idp.settings.profile.denied_status));
            }
            State::Expired => return Err(OAuthError::new("expired_token", "the device code has expired")),
            State::Redeemed => return Err(unknown()),
            State::Approved(user, authenticated_at) => {
                let consent = Consent {
                    client_id: flow.client_id.clone(),
                    user,
                    offline: idp.is_offline(&asked.client, &flow.scopes, true),
                    scopes: flow.scopes.clone(),
                    audiences: flow.audiences.clone(),
                    authenticated_at,
                    family: flow.family,
                };
                consent.narrowed(idp, asked.form)?;
                flow.state = State::Redeemed;
                consent
            }
        }
    };
    first_tokens(asked, consent, None)
}

fn unknown() -> OAuthError {
    let error = OAuthError::grant("the device code is unknown, redeemed, or another client's");
    error.at_github("incorrect_device_code", None)
}

/// Upper-case letters only: users type codes as they like (RFC 8628 §6.1).
fn letters(user_code: &str) -> String {
    user_code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

/// The user code of that number. All of the first 20⁸ differ, and neighbours do not look alike.
fn user_code(number: u64) -> String {
    const ALL: u64 = 20_u64.pow(8);
    let mut left = (number % ALL) * 4_111_222_333 % ALL;
    let mut code = String::with_capacity(9);
    for place in 0..8 {
        if place == 4 {
            code.push('-');
        }
        code.push(LETTERS[(left % 20) as usize].into());
        left /= 20;
    }
    code
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn user_codes_differ_and_are_easy_to_read() {
        let codes: HashSet<_> = (1..2_000).map(user_code).collect();
        assert_eq!(codes.len(), 1_999);
        for code in codes {
            assert_eq!((code.len(), code.find('-')), (9, Some(4)), "{code}");
            assert!(code.bytes().all(|b| b == b'-' || LETTERS.contains(&b)), "{code}");
            assert_eq!(letters(&code.to_lowercase().replace('-', " ")), code.replace('-', ""));
        }
    }
}
