//! What was asked of a mock: a bounded list of requests, and how many there were of each path.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{COOKIE, Entry, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use portunus_auth_core::BearerToken;
use portunus_auth_core::dialect::KEY_HEADERS;

use crate::llm;
use crate::outcome::Outcome;
use crate::requests::Requests;

/// How many requests are kept; the oldest are forgotten first.
pub const CAPACITY: usize = 1_024;
/// How many bytes of bodies are kept.
const BODY_BYTES: usize = 64 << 20;
/// Headers with secrets, beside those of keys.
static OTHER_SECRETS: [HeaderName; 3] =
    [COOKIE, PROXY_AUTHORIZATION, HeaderName::from_static("x-amz-security-token")];
/// How many different paths are counted.
const PATHS: usize = 1_024;

/// A request that a mock received, also when it was refused.
///
/// `Debug` shows neither credentials nor query nor body, which may hold secrets.
#[derive(Clone)]
pub struct Recorded(Arc<Seen>);

struct Seen {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    at: SystemTime,
    status: AtomicU16,
    outcome: OnceLock<Outcome>,
}

impl Recorded {
    /// Credential headers are marked, so that no `Debug` shows them.
    pub(crate) fn new(method: Method, uri: Uri, mut headers: HeaderMap, body: Bytes, at: SystemTime) -> Self {
        for name in KEY_HEADERS.iter().chain(&OTHER_SECRETS) {
            // Most are absent, and looking is cheaper than an entry.
            if headers.contains_key(name)
                && let Entry::Occupied(mut values) = headers.entry(name)
            {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
        let (status, outcome) = (AtomicU16::new(0), OnceLock::new());
        Self(Arc::new(Seen { method, uri, headers, body, at, status, outcome }))
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        self.0.status.store(status.as_u16(), Ordering::Release);
    }

    /// Notes what the fixtures made of it, once.
    pub(crate) fn came_to(&self, outcome: Outcome) {
        let _ = self.0.outcome.set(outcome);
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.0.outcome.get()
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.0.method
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.0.uri.path()
    }

    /// The query as it came, without the `?`. It may hold a secret.
    pub fn query(&self) -> Option<&str> {
        self.0.uri.query()
    }

    /// The first header of that name, if it is text. `***` in place of a credential.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.0.headers.get(name)?;
        if value.is_sensitive() { Some("***") } else { value.to_str().ok() }
    }

    /// All headers, with the credentials in clear; their `Debug` hides those still.
    pub fn headers_with_secrets(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The credential: the bearer token, or else the text of the first key header that is there, or else
    /// the query's `key`.
    pub fn credential(&self) -> Option<BearerToken> {
        let mut present = KEY_HEADERS.iter().filter_map(|name| Some((name, self.0.headers.get(name)?)));
        let Some((header, value)) = present.next() else {
            let mut query = form_urlencoded::parse(self.query()?.as_bytes());
            return query.find(|(name, _)| name == "key").map(|(_, key)| BearerToken::new(key));
        };
        let text = value.to_str().ok()?;
        let text = if *header == http::header::AUTHORIZATION { bearer(text).unwrap_or(text) } else { text };
        Some(BearerToken::new(text))
    }

    /// The credential, cut short: `sk-t…t-1`. Of one with less than nine characters nothing is shown.
    pub fn redacted_credential(&self) -> Option<String> {
        let token = self.credential()?;
        let chars: Vec<char> = token.expose().chars().collect();
        let (head, tail) = if chars.len() < 9 { (0, 0) } else { (4, 3) };
        let shown = |chars: &[char]| chars.iter().collect::<String>();
        Some(format!("{}…{}", shown(&chars[..head]), shown(&chars[chars.len() - tail..])))
    }

    /// Whether it presented that key or token, or is signed with the key of that id.
    pub(crate) fn presents(&self, key: &str) -> bool {
        let token = self.credential();
        token.is_some_and(|token| token.expose() == key || llm::key_id(token.expose()) == Some(key))
    }

    /// The model that it asks, if it asks one.
    pub fn model(&self) -> Option<String> {
        llm::read(self).map(|call| call.model)
    }

    /// The text of the last user message, if it asks a model.
    pub fn user_text(&self) -> Option<String> {
        llm::read(self).map(|call| call.user_text)
    }

    /// Whether it asks for a stream.
    pub fn is_streamed(&self) -> bool {
        llm::read(self).is_some_and(|call| call.stream)
    }

    /// The name of the fixture that answered: its own, or `fixture N` in the order of adding, counted from 0.
    pub fn fixture(&self) -> Option<&str> {
        match self.outcome()? {
            Outcome::Answered(name) => Some(name),
            Outcome::Unmatched(_) | Outcome::NoRoute => None,
        }
    }

    /// The body as it came; empty when it was too large or broke off.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// The body as JSON, if it is.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.0.body).ok()
    }

    /// When it came, by the mock's clock.
    pub fn at(&self) -> SystemTime {
        self.0.at
    }

    /// The status of the answer. `None`: not answered (yet).
    pub fn status(&self) -> Option<u16> {
        match self.0.status.load(Ordering::Acquire) {
            0 => None,
            status => Some(status),
        }
    }
}

/// What a report says of a request: nothing that its caller wrote but path and model.
impl Recorded {
    pub(crate) fn line(&self) -> String {
        let mut line = format!("  {} {}", self.method(), self.path());
        if let Some(model) = self.model() {
            line += &format!(" for {model:?}");
        }
        if let Some(key) = self.redacted_credential() {
            line += &format!(" with {key}");
        }
        match self.status() {
            Some(status) => line += &format!(": {status}"),
            None => line += ": no answer yet",
        }
        if let Some(outcome) = self.outcome() {
            line += &format!(", {outcome}");
        }
        line
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("method", self.method())
            .field("path", &self.path())
            .field("headers", &self.0.headers)
            .field("body_bytes", &self.0.body.len())
            .field("status", &self.status())
            .finish()
    }
}

/// The token of an `Authorization` header of the scheme Bearer; schemes have no case (RFC 9110 §11.1).
pub(crate) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// The list of a server's requests.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    requests: VecDeque<Recorded>,
    body_bytes: usize,
    counts: HashMap<String, u64>,
}

impl Log {
    pub(crate) fn add(&self, request: Recorded) {
        let mut kept = self.lock();
        if let Some(count) = kept.counts.get_mut(request.path()) {
            *count += 1;
        } else if kept.counts.len() < PATHS {
            kept.counts.insert(request.path().to_owned(), 1);
        }
        kept.body_bytes += request.body().len();
        kept.requests.push_back(request);
        while kept.requests.len() > CAPACITY || kept.body_bytes > BODY_BYTES {
            let Some(oldest) = kept.requests.pop_front() else { break };
            kept.body_bytes -= oldest.body().len();
        }
    }

    pub(crate) fn requests(&self) -> Requests {
        Requests::new(self.lock().requests.iter().cloned().collect())
    }

    pub(crate) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    pub(crate) fn count(&self, path: &str) -> u64 {
        self.lock().counts.get(path).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, body: usize) -> Recorded {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", http::HeaderValue::from_static("bearer canary-1"));
        headers.insert("x-api-key", http::HeaderValue::from_static("canary-2"));
        headers.insert("accept", http::HeaderValue::from_static("text/plain"));
        let body = Bytes::from(vec![b'x'; body]);
        Recorded::new(Method::POST, path.parse().unwrap(), headers, body, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn credentials_are_shown_on_request_only() {
        let seen = request("/a?key=canary-3", 3);
        let shown = format!("{seen:?} {:?}", seen.headers_with_secrets());
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(seen.header("x-api-key"), Some("***"));
        assert_eq!(seen.header("accept"), Some("text/plain"));
        assert_eq!(seen.credential().unwrap().expose(), "canary-1");
        assert_eq!((seen.path(), seen.query()), ("/a", Some("key=canary-3")));
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
}
