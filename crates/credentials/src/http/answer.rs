//! What an issuer answered.

use std::fmt;
use std::time::{Duration, SystemTime};

use ::http::header::RETRY_AFTER;
use ::http::{HeaderMap, HeaderName, StatusCode};
use serde::de::DeserializeOwned;

use super::HttpError;

/// The largest answer that is read.
const LARGEST_BODY: usize = 1024 * 1024;

/// What an issuer answered. `Debug` shows the status only.
pub struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Answer {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// How long the issuer asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// A header's text, unless it is not there or not made of visible ASCII.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Its body. It may repeat what was sent: it belongs into no error and no log.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The JSON object in the body. `None` if there is none, or not one of that shape: the parser's error
    /// would quote it. An array is not taken for an object.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        let is_object = self.body.trim_ascii_start().starts_with(b"{");
        is_object.then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }
}

pub(super) async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, HttpError> {
    let announced = response.content_length().unwrap_or(0);
    if announced > LARGEST_BODY as u64 {
        return Err(HttpError::TooLarge);
    }
    let mut body = Vec::with_capacity(announced as usize);
    while let Some(chunk) = response.chunk().await.map_err(|e| HttpError::BrokeOff(e.without_url()))? {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(HttpError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// RFC 9110 §10.2.3: seconds or a date. What is neither says nothing.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let parsed = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now).map(|d| d.as_secs())
        };
        assert_eq!(parsed("120"), Some(120));
        assert_eq!(parsed(" 7 "), Some(7));
        assert_eq!(parsed("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(parsed("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        for nothing in ["", "-1", "soon", "1.5", "99999999999999999999"] {
            assert_eq!(parsed(nothing), None, "{nothing}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
