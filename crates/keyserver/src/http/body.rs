//! A request's body: bounded in length and in time, and of one of the types that a route takes.

use std::time::Duration;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portunus_auth_core::Reason;

/// The longest body, in bytes.
const MAX_BODY: usize = 32 * 1024;

/// How long a body may take to arrive. An honest one comes in one packet or two; whoever trickles holds a
/// connection and at most [`MAX_BODY`] bytes until then.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadBody {
    /// It is not what the route asks for.
    Malformed,
    /// Of another media type than the route takes.
    WrongType,
    /// Longer than [`MAX_BODY`].
    TooLarge,
    /// It took longer than [`MAX_WAIT`].
    TooSlow,
}

impl BadBody {
    /// What the audit says.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Malformed | Self::WrongType => Reason::MalformedRequest,
            Self::TooLarge => Reason::RequestTooLarge,
            Self::TooSlow => Reason::RequestTimeout,
        }
    }
}

/// What a body says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    Form,
    Json,
}

/// The media type of the request and its whole body, unless it is too long or too late.
pub(super) async fn read(head: &Parts, body: Body) -> Result<(MediaType, Vec<u8>), BadBody> {
    let media_type = media_type(head).ok_or(BadBody::WrongType)?;
    let bytes = tokio::time::timeout(MAX_WAIT, within_limits(body)).await;
    Ok((media_type, bytes.unwrap_or(Err(BadBody::TooSlow))?))
}

fn media_type(head: &Parts) -> Option<MediaType> {
    let mut types = head.headers.get_all(CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else { return None };
    match one.to_str().ok()?.split(';').next()?.trim().to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => Some(MediaType::Form),
        "application/json" => Some(MediaType::Json),
        _ => None,
    }
}

/// Copies each piece, because a piece of one byte keeps the whole buffer that it came in.
async fn within_limits(body: Body) -> Result<Vec<u8>, BadBody> {
    let (mut body, mut bytes) = (Limited::new(body, MAX_BODY), Vec::new());
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Err(error) if error.is::<LengthLimitError>() => return Err(BadBody::TooLarge),
            Err(_) => return Err(BadBody::Malformed),
        }
    }
    Ok(bytes)
}
