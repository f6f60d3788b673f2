//! One request to an issuer, and how often it is sent.

use std::time::{Duration, SystemTime};

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, StatusCode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use portunus_auth_core::CredentialError;
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use url::Url;

use super::answer::{Answer, read, retry_after};
use super::{Form, Http, HttpError, Json};

/// A request that is being put together. It has no `Debug`, because some of it is secret.
#[expect(missing_debug_implementations, reason = "holds secrets in the clear")]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    http: Http,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
    idempotent: bool,
    also: &'static [u16],
    fault: Option<HttpError>,
}

impl Request {
    pub(super) fn new(http: &Http, method: Method, url: &Url) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        Self {
            http: http.clone(),
            method,
            url: url.clone(),
            headers,
            body: Vec::new(),
            idempotent: false,
            also: &[],
            fault: None,
        }
    }

    /// Sets a header. `Accept` is `application/json` without it.
    pub fn header(self, name: HeaderName, value: &str) -> Self {
        self.set(name, value.to_owned(), false)
    }

    /// Sets a header to a secret, marked sensitive.
    pub fn secret_header(self, name: HeaderName, value: &SecretString) -> Self {
        self.set(name, value.expose_secret().to_owned(), true)
    }

    /// `Authorization: Bearer …` (RFC 6750 section 2.1).
    pub fn bearer(self, token: &SecretString) -> Self {
        self.authorization("Bearer", token)
    }

    /// `Authorization` with that scheme (RFC 9110 section 11.4), and the credentials as they are.
    pub fn authorization(self, scheme: &str, credentials: &SecretString) -> Self {
        self.set(AUTHORIZATION, format!("{scheme} {}", credentials.expose_secret()), true)
    }

    /// `Authorization: Basic …` (RFC 7617 section 2), in the standard base64 alphabet with padding.
    pub fn basic(self, user: &str, password: &SecretString) -> Self {
        let pair = BASE64_STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        self.set(AUTHORIZATION, format!("Basic {pair}"), true)
    }

    fn set(mut self, name: HeaderName, value: String, secret: bool) -> Self {
        match HeaderValue::try_from(value) {
            Ok(mut value) => {
                value.set_sensitive(secret);
                self.headers.insert(name, value);
            }
            Err(_) => self.fault = Some(HttpError::Header),
        }
        self
    }

    /// Sends these headers and this body as they are.
    #[cfg(feature = "aws-chain")]
    pub(crate) fn whole(self, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self { headers, body, ..self }
    }

    /// Sends a form.
    pub fn form(self, form: Form) -> Self {
        let request = self.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        Self { body: form.0.into_bytes(), ..request }
    }

    /// Sends a JSON object.
    pub fn json(self, json: Json) -> Self {
        let request = self.header(CONTENT_TYPE, "application/json");
        Self { body: serde_json::Value::Object(json.0).to_string().into_bytes(), ..request }
    }

    /// Says that the request may be sent again when no answer came, or one that says that the issuer
    /// cannot answer now (408, 429, 5xx) and not how long to wait.
    pub fn idempotent(self) -> Self {
        Self { idempotent: true, ..self }
    }

    /// The same, and after these statuses as well.
    pub fn idempotent_after(self, statuses: &'static [u16]) -> Self {
        Self { also: statuses, ..self.idempotent() }
    }

    /// Sends the request and reads the answer, whatever its status. `now` is for a `Retry-After` that is
    /// a date.
    ///
    /// # Errors
    /// `Invalid` for an address or header that is not allowed, `Unavailable` if no whole answer came in
    /// time.
    pub async fn send(mut self, now: SystemTime) -> Result<Answer, CredentialError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault.into());
        }
        let client = self.http.client_for(&self.url)?;
        let attempts = if self.idempotent { self.http.0.attempts } else { 1 };
        let mut pause = self.http.0.pause;
        for _ in 1..attempts {
            match self.once(client, now).await {
                Ok(answer) if !self.is_passing(&answer) => return Ok(answer),
                // A metadata service that is there takes the connection at once.
                Err(error) if self.http.0.metadata && error.is_connect() => return Err(error.into()),
                Err(error @ (HttpError::TooLarge | HttpError::Client(_))) => return Err(error.into()),
                _ => {}
            }
            if pause > Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
            pause = pause.saturating_mul(2);
        }
        Ok(self.once(client, now).await?)
    }

    /// Whether asking again in a moment may help. If the issuer says how long to wait, that is for
    /// whoever can wait so long.
    fn is_passing(&self, answer: &Answer) -> bool {
        let status = answer.status;
        let busy = status.is_server_error()
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        answer.retry_after.is_none() && (busy || self.also.contains(&status.as_u16()))
    }

    async fn once(&self, client: &reqwest::Client, now: SystemTime) -> Result<Answer, HttpError> {
        let request = client.request(self.method.clone(), self.url.clone());
        let request = request.headers(self.headers.clone()).body(self.body.clone());
        let response = request.send().await.map_err(|e| HttpError::Transport(e.without_url()))?;
        let status = response.status();
        let headers = response.headers().clone();
        let body = match read(response).await {
            Ok(body) => body,
            Err(error) if status.is_success() => return Err(error),
            // The status says enough about a failure.
            Err(_) => Vec::new(),
        };
        Ok(Answer { status, retry_after: retry_after(&headers, now), headers, body })
    }
}
