//! What the providers say when something goes wrong, one file each.

mod anthropic;
mod azure;
mod bedrock;
mod google;
mod openai;

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use portunus_auth_core::Dialect;

use super::failure::{Cause, Failure};
use super::gate::Refused;

pub(super) use anthropic::kind as anthropic_kind;
pub(super) use bedrock::exception;
pub(super) use google::Google;
pub(super) use openai::OpenAiError;

/// How a provider words errors.
pub(super) trait Provider: Sync {
    /// The status and the words of an error that leaves them to the provider.
    fn words(&self, cause: &Cause, about: &About<'_>) -> (u16, Cow<'static, str>);
    /// An error's body.
    fn error(&self, error: &Worded<'_>, about: &About<'_>) -> Vec<u8>;
    /// Adds what an error says in headers alone.
    fn error_headers(&self, error: &Worded<'_>, headers: &mut HeaderMap);
    /// Adds what every answer says of the account and the server.
    fn account(&self, _: &mut HeaderMap) {}
}

/// What an error's words depend on, beside its cause.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) request_id: &'a str,
    /// The model that was asked for, where that is known.
    pub(super) model: &'a str,
    /// Whether to speak as the provider really does.
    pub(super) faithful: bool,
    pub(super) retry_after: Option<Duration>,
}

/// An error whose words are settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worded<'a> {
    pub(super) cause: &'a Cause,
    pub(super) status: u16,
    pub(super) message: &'a str,
    pub(super) retry_after: Option<Duration>,
}

/// The documented answer to every bad credential.
const INVALID_TOKEN: (u16, Cow<'static, str>) = (401, Cow::Borrowed("Invalid bearer token"));

pub(super) fn of(dialect: Dialect) -> &'static dyn Provider {
    match dialect {
        Dialect::Anthropic => &anthropic::Anthropic,
        Dialect::Azure => &azure::Azure,
        Dialect::Gemini => &Google { vertex: false },
        Dialect::Vertex => &Google { vertex: true },
        Dialect::Bedrock => &bedrock::Bedrock,
        _ => &openai::OpenAi,
    }
}

/// Settles what an error says, and hands it on.
pub(super) fn word<T>(
    provider: &dyn Provider,
    failure: &Failure,
    about: &About<'_>,
    then: impl FnOnce(&Worded<'_>) -> T,
) -> T {
    let about = About { retry_after: failure.retry_after, ..*about };
    let (status, words) = provider.words(&failure.cause, &about);
    let message = failure.message.as_deref().unwrap_or(&words);
    then(&Worded { cause: &failure.cause, status, message, retry_after: failure.retry_after })
}

/// `Retry-After` in whole seconds, rounded up.
fn retry_after(error: &Worded<'_>, headers: &mut HeaderMap) {
    if let Some(wait) = error.retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// Why a credential was refused, if that is what went wrong.
fn refused(cause: &Cause) -> Option<&Refused> {
    match cause {
        Cause::Refused(refused) => Some(refused),
        _ => None,
    }
}
