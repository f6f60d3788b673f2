//! A request that a mock received.

use std::fmt;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use portunus_auth_core::BearerToken;
use portunus_auth_core::dialect::KEY_HEADERS;

use crate::llm;
use crate::outcome::Outcome;

/// Headers with secrets, beside those of keys.
static OTHER_SECRETS: [HeaderName; 3] =
    [COOKIE, PROXY_AUTHORIZATION, HeaderName::from_static("x-amz-security-token")];

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
        for (name, value) in &mut headers {
            // Few headers are there, and comparing names is cheaper than looking one up.
            if KEY_HEADERS.contains(name) || OTHER_SECRETS.contains(name) {
                value.set_sensitive(true);
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

    /// Notes how it went, once more.
    pub(crate) fn restore(&self, status: u16, outcome: Option<Outcome>) {
        self.0.status.store(status, Ordering::Release);
        outcome.into_iter().for_each(|outcome| self.came_to(outcome));
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0.uri
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
        Some(redacted(self.credential()?.expose()))
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

/// A credential, cut short: `sk-t…t-1`. Of one with less than nine characters nothing is shown.
pub(crate) fn redacted(token: &str) -> String {
    let chars: Vec<char> = token.chars().collect();
    let (head, tail) = if chars.len() < 9 { (0, 0) } else { (4, 3) };
    let shown = |chars: &[char]| chars.iter().collect::<String>();
    format!("{}…{}", shown(&chars[..head]), shown(&chars[chars.len() - tail..]))
}

/// The token of an `Authorization` header of the scheme Bearer; schemes have no case (RFC 9110 §11.1).
pub(crate) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
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
}
