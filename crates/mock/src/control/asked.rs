//! What is asked of the control API, read strictly.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest time that makes sense.
const LONGEST: Duration = Duration::from_secs(1_000 * 365 * 24 * 3_600);

/// Why something is not done.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) says: String,
    /// The methods that the path takes.
    pub(super) allow: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, says: impl Into<String>) -> Self {
        Self { status, says: says.into(), allow: None }
    }

    pub(super) fn bad(says: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, says)
    }

    pub(super) fn unknown(says: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, says)
    }
}

/// A request.
pub(super) struct Asked<'r> {
    /// What stands in the path where the route has braces.
    #[cfg_attr(
        not(feature = "oauth"),
        expect(dead_code, reason = "only devices have a segment of their own")
    )]
    pub(super) segment: &'r str,
    media: &'r str,
    body: &'r [u8],
}

impl<'r> Asked<'r> {
    pub(super) fn new(segment: &'r str, head: &'r Parts, body: &'r [u8]) -> Self {
        let media = head.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        Self { segment, media, body }
    }

    /// The body, if it is of that type: one that no web page can send without asking first, which is not
    /// answered.
    fn body(&self, media: &str) -> Result<&'r [u8], Refusal> {
        if self.media.eq_ignore_ascii_case(media) {
            return Ok(self.body);
        }
        let says = format!("the body needs `content-type: {media}`");
        Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, says))
    }

    /// The body.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(self.body("application/json")?)
            .map_err(|error| Refusal::bad(format!("the body: {error}")))
    }

    /// The body, which is YAML.
    #[cfg(feature = "fixtures")]
    pub(super) fn yaml(&self) -> Result<&'r str, Refusal> {
        let body = self.body("application/yaml")?;
        std::str::from_utf8(body).map_err(|_| Refusal::bad("the body is not UTF-8"))
    }

    /// The body, if there is one.
    #[cfg(feature = "oauth")]
    pub(super) fn json_if_any<T: DeserializeOwned>(&self) -> Result<Option<T>, Refusal> {
        if self.body.is_empty() { Ok(None) } else { self.json().map(Some) }
    }
}

/// A length of time such as `"90s"` or `"1h 30m"`, of at most a thousand years.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Span(pub(super) Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let span = humantime::parse_duration(&text).map_err(|error| error.to_string())?;
        if span > LONGEST {
            return Err("a length of time is at most 1000 years".to_owned());
        }
        Ok(Self(span))
    }
}

/// A time such as `"2025-01-01T00:00:00Z"`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Time(pub(super) SystemTime);

impl TryFrom<String> for Time {
    type Error = humantime::TimestampError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        humantime::parse_rfc3339(&text).map(Self)
    }
}
