//! The command line's own HTTP calls: to a gateway, with bounded time and size, following nothing.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::exit::Failure;

/// No answer that a command waits for is larger.
const MAX_ANSWER: usize = 64 * 1024;

#[expect(clippy::disallowed_methods, reason = "this is the crate's own client")]
pub(crate) fn client() -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(30))
        .no_proxy()
        .build()
        .map_err(|error| Failure::Retry(format!("no HTTP client: {error}")))
}

/// An exchange of an identity token, or of a key, for a key (RFC 8693 section 2.1).
pub(crate) fn exchange_form<'a>(
    subject_token: &'a str,
    subject_token_type: &'a str,
    scope: Option<&'a str>,
    ttl: Option<&'a str>,
) -> Vec<(&'static str, &'a str)> {
    let mut form = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", subject_token),
        ("subject_token_type", subject_token_type),
    ];
    form.extend(scope.map(|scope| ("scope", scope)));
    form.extend(ttl.map(|ttl| ("ttl", ttl)));
    form
}

/// Posts a form, and reads the JSON that answers it.
pub(crate) async fn post_form<T: DeserializeOwned>(
    url: &str,
    form: &[(&'static str, &str)],
) -> Result<T, Failure> {
    let mut answer = client()?.post(url).form(form).send().await.map_err(|error| unreachable(url, &error))?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| unreachable(url, &error))? {
        if body.len() + piece.len() > MAX_ANSWER {
            return Err(Failure::Retry(format!("{url} answered with too much; is it a Portunus gateway?")));
        }
        body.extend_from_slice(&piece);
    }
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| {
            Failure::Retry(format!("{url} answered with something else; is it a Portunus gateway?"))
        });
    }
    let says = serde_json::from_slice::<OAuthError>(&body).map_or_else(|_| String::new(), |e| e.to_string());
    let failure = format!("{url} answered {status}{says}");
    Err(if status.is_server_error() || status.as_u16() == 429 {
        Failure::Retry(failure)
    } else {
        Failure::Denied(failure)
    })
}

fn unreachable(url: &str, error: &reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Failure::Retry(format!("{url} cannot be reached: {cause}"))
}

#[derive(serde::Deserialize)]
struct OAuthError {
    error: String,
    error_description: Option<String>,
}

impl std::fmt::Display for OAuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, ": {}", self.error)?;
        self.error_description.as_ref().map_or(Ok(()), |says| write!(f, " ({says})"))
    }
}
