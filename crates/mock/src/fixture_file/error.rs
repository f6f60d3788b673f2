//! What a file answers instead of a reply.

use serde::Deserialize;

use super::value::{Header, HeaderText, Limits, Millis, Named, with};
use crate::api_error::{ApiError, NamedError};
use crate::fault::Fault;

/// An error of the provider's.
#[derive(Deserialize)]
#[serde(try_from = "RawFailed")]
pub(super) struct Failed(pub(super) ApiError);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFailed {
    status: Option<u16>,
    kind: Option<NamedError>,
    message: Option<String>,
    #[serde(default)]
    headers: Named<Header, HeaderText>,
    retry_after_ms: Option<Millis>,
    rate_limits: Option<Limits>,
}

impl TryFrom<RawFailed> for Failed {
    type Error = &'static str;

    fn try_from(raw: RawFailed) -> Result<Self, &'static str> {
        let mut error = match (raw.status, raw.kind, raw.message) {
            (Some(status @ 400..600), None, Some(message)) => ApiError::new(status, message),
            (Some(400..600), None, None) => return Err("an error with a `status` has a `message`"),
            (Some(_), None, _) => return Err("an error has a `status` of 400 to 599"),
            (None, Some(named), message) => with(named.error(), message, ApiError::message),
            (Some(_), Some(_), _) | (None, None, _) => {
                return Err("an error has a `status` or a `kind`, and not both");
            }
        };
        for (Header(name), HeaderText(value)) in raw.headers.0 {
            error = error.header(name.as_str(), &value);
        }
        error = with(error, raw.retry_after_ms, |error, wait| error.retry_after(wait.0));
        error = with(error, raw.rate_limits, |error, limits| error.rate_limits(limits.into()));
        Ok(Self(error))
    }
}

/// What happens instead of an answer.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Instead {
    Hang,
    Malformed,
    Oversized,
    Status(Status),
    Redirect(HeaderText),
}

/// The status of an answer.
#[derive(Deserialize)]
#[serde(try_from = "u16")]
pub(super) struct Status(u16);

impl TryFrom<u16> for Status {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Self, &'static str> {
        if (200..600).contains(&status) { Ok(Self(status)) } else { Err("a status is 200 to 599") }
    }
}

impl From<Instead> for Fault {
    fn from(instead: Instead) -> Self {
        match instead {
            Instead::Hang => Self::Hang,
            Instead::Malformed => Self::Malformed,
            Instead::Oversized => Self::Oversized,
            Instead::Status(Status(status)) => Self::status(status),
            Instead::Redirect(HeaderText(to)) => Self::Redirect(to),
        }
    }
}
