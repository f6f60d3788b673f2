//! Rate limits as providers state them in headers.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use portunus_auth_core::Dialect;

/// What is left of a caller's limits. OpenAI, Azure and Anthropic state it in headers, each in its own;
/// the others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests.
    pub requests: Quota,
    /// Tokens.
    pub tokens: Quota,
}

/// One limit, and what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many there are in a window.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// In how long all of them are back.
    pub reset: Duration,
}

impl Quota {
    /// A limit, what is left of it, and in how long all of it is back.
    pub fn new(limit: u64, remaining: u64, reset: Duration) -> Self {
        Self { limit, remaining, reset }
    }
}

impl RateLimits {
    /// Adds the headers of a dialect.
    pub(crate) fn state(&self, dialect: Dialect, now: SystemTime, headers: &mut HeaderMap) {
        let Self { requests, tokens } = self;
        match dialect {
            Dialect::OpenAi | Dialect::Azure => {
                for (kind, quota) in [("requests", requests), ("tokens", tokens)] {
                    add(headers, format!("x-ratelimit-limit-{kind}"), quota.limit.to_string());
                    add(headers, format!("x-ratelimit-remaining-{kind}"), quota.remaining.to_string());
                    add(headers, format!("x-ratelimit-reset-{kind}"), go_duration(quota.reset));
                }
            }
            Dialect::Anthropic => {
                let kinds = [
                    ("requests", requests),
                    ("tokens", tokens),
                    ("input-tokens", tokens),
                    ("output-tokens", tokens),
                ];
                for (kind, quota) in kinds {
                    let prefix = format!("anthropic-ratelimit-{kind}");
                    // Rounded up, so that it is not in the past.
                    let reset = now + quota.reset + Duration::from_nanos(999_999_999);
                    let reset = humantime::format_rfc3339_seconds(reset).to_string();
                    add(headers, format!("{prefix}-limit"), quota.limit.to_string());
                    add(headers, format!("{prefix}-remaining"), quota.remaining.to_string());
                    add(headers, format!("{prefix}-reset"), reset);
                }
            }
            _ => {}
        }
    }
}

fn add(headers: &mut HeaderMap, name: String, value: String) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}

/// A duration as OpenAI writes it: `8ms`, `1.5s`, `6m0s`, `1h0m0s`.
pub(crate) fn go_duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if seconds == 0 {
        return format!("{millis}ms");
    }
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let mut text = match (hours, minutes) {
        (0, 0) => String::new(),
        (0, minutes) => format!("{minutes}m"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    };
    text += &(seconds % 60).to_string();
    if millis > 0 {
        text += format!(".{millis:03}").trim_end_matches('0');
    }
    text + "s"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (millis, text) in [
            (0, "0ms"),
            (8, "8ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (17_086, "17.086s"),
            (60_000, "1m0s"),
            (3_661_000, "1h1m1s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
    }
}
