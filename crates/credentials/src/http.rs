//! The one HTTP client that asks issuers: https, no redirects, bounded in time and size.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use ::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderMap, StatusCode};
use portunus_auth_core::CredentialError;
use portunus_auth_core::endpoint::{is_loopback, is_protected};
use portunus_auth_core::secret::{ExposeSecret, SecretString};
use url::form_urlencoded::Serializer;
use url::{Host, Url};

/// The largest answer that is read.
const LARGEST_BODY: usize = 1024 * 1024;

/// Asks issuers over HTTP.
///
/// * Only `https`, except to a loopback host; never with a user name or password in the URL.
/// * Redirects are not followed: what was sent would reach an address that nobody configured.
/// * Connecting and the whole exchange have a time limit, an answer's body one of 1 MiB.
/// * Loopback and metadata hosts are asked without the proxy that the environment may name.
/// * Nothing is sent twice: a grant may be spent although its answer was lost.
///
/// Clones share one pool of connections, which is set up by the first call.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    connect: Duration,
    total: Duration,
    clients: OnceLock<Clients>,
}

struct Clients {
    outside: reqwest::Client,
    near: reqwest::Client,
}

/// The fields of a form, in order. It has no `Debug`, because some of them are secret.
#[expect(missing_debug_implementations, reason = "holds secrets in the clear")]
#[derive(Default)]
pub struct Form(String);

/// What an issuer answered. `Debug` shows the status only.
pub struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// Why an issuer could not be asked, or not be understood. Holds neither URL nor body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("an issuer's address must begin with https://, except on a loopback host")]
    NotHttps,
    #[error("an issuer's address must not hold a user name or password")]
    UserInfo,
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    #[error("the issuer could not be asked")]
    Transport(#[source] reqwest::Error),
    #[error("the issuer's answer broke off")]
    BrokeOff(#[source] reqwest::Error),
    #[error("the issuer's answer is larger than 1 MiB")]
    TooLarge,
}

impl From<HttpError> for CredentialError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::NotHttps | HttpError::UserInfo | HttpError::Client(_) => Self::Invalid(error.into()),
            _ => Self::Unavailable { retry_after: None, source: error.into() },
        }
    }
}

impl Form {
    /// Adds a field.
    #[must_use]
    pub fn field(self, name: &str, value: &str) -> Self {
        let mut form = Serializer::new(self.0);
        form.append_pair(name, value);
        Self(form.finish())
    }

    /// Adds a secret field.
    #[must_use]
    pub fn secret(self, name: &str, value: &SecretString) -> Self {
        self.field(name, value.expose_secret())
    }
}

impl Default for Http {
    /// 5 seconds to connect, 30 seconds for all of it.
    fn default() -> Self {
        Self::with_timeouts(Duration::from_secs(5), Duration::from_secs(30))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("connect", &self.0.connect).field("total", &self.0.total).finish()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Http {
    /// A client that gives up connecting, and the whole exchange, after these times.
    pub fn with_timeouts(connect: Duration, total: Duration) -> Self {
        Self(Arc::new(Inner { connect, total, clients: OnceLock::new() }))
    }

    /// Posts a form once and reads the answer, whatever its status. `now` is for a `Retry-After` that
    /// is a date.
    ///
    /// # Errors
    /// `Invalid` for an address that is not allowed, `Unavailable` if no whole answer came in time.
    pub async fn post_form(&self, url: &Url, form: Form, now: SystemTime) -> Result<Answer, CredentialError> {
        self.post_form_for(url, form, "application/json", now).await
    }

    /// The same, for an issuer that answers in another format.
    pub(crate) async fn post_form_for(
        &self,
        url: &Url,
        form: Form,
        accept: &'static str,
        now: SystemTime,
    ) -> Result<Answer, CredentialError> {
        let request = self
            .client_for(url)?
            .post(url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, accept)
            .body(form.0);
        let response = request.send().await.map_err(|e| HttpError::Transport(e.without_url()))?;
        let status = response.status();
        let retry_after = retry_after(response.headers(), now);
        let body = match read(response).await {
            Ok(body) => body,
            Err(error) if status.is_success() => return Err(error.into()),
            // The status says enough about a failure.
            Err(_) => Vec::new(),
        };
        Ok(Answer { status, retry_after, body })
    }

    fn client_for(&self, url: &Url) -> Result<&reqwest::Client, HttpError> {
        let reach = allowed(url)?;
        let clients = match self.0.clients.get() {
            Some(clients) => clients,
            None => {
                let clients = self.0.clients().map_err(HttpError::Client)?;
                self.0.clients.get_or_init(|| clients)
            }
        };
        Ok(if reach == Reach::Outside { &clients.outside } else { &clients.near })
    }
}

impl Inner {
    fn clients(&self) -> reqwest::Result<Clients> {
        Ok(Clients { outside: self.builder().build()?, near: self.builder().no_proxy().build()? })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the crate's own client")]
    fn builder(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(self.connect)
            .timeout(self.total)
    }
}

/// Where a URL leads, if it may be asked.
pub(crate) fn allowed(url: &Url) -> Result<Reach, HttpError> {
    if !is_protected(url) {
        return Err(HttpError::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(HttpError::UserInfo);
    }
    Ok(reach(url))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Loopback,
    Metadata,
    Outside,
}

fn reach(url: &Url) -> Reach {
    let address = match url.host() {
        _ if is_loopback(url) => return Reach::Loopback,
        Some(Host::Domain("metadata.google.internal")) => return Reach::Metadata,
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        _ => return Reach::Outside,
    };
    match address {
        IpAddr::V4(v4) if v4.is_link_local() => Reach::Metadata,
        // The metadata address of EC2 on IPv6 is fd00:ec2::254.
        IpAddr::V6(v6) if v6.is_unique_local() || v6.is_unicast_link_local() => Reach::Metadata,
        _ => Reach::Outside,
    }
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, HttpError> {
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
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
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
    fn only_https_or_loopback_is_asked() {
        let http = Http::default();
        let refused = |url: &str| http.client_for(&url.parse().unwrap()).map(|_| ()).unwrap_err();
        for url in [
            "http://login.example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://169.254.169.254/",
            "http://10.0.0.1/",
            "http://[fe80::1]/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "data:,x",
        ] {
            assert!(matches!(refused(url), HttpError::NotHttps), "{url}");
        }
        for url in ["https://u@example.com/", "https://:p@example.com/", "http://u:p@127.0.0.1/"] {
            assert!(matches!(refused(url), HttpError::UserInfo), "{url}");
        }
        for url in ["https://login.example.com/", "http://127.0.0.1:1/", "http://[::1]/", "http://localhost/"]
        {
            assert!(http.client_for(&url.parse().unwrap()).is_ok(), "{url}");
        }
    }

    #[test]
    fn near_hosts_are_told_from_others() {
        let reach = |url: &str| reach(&url.parse().unwrap());
        for url in ["http://127.9.9.9/", "http://0x7f000001/", "http://[::1]/", "http://LOCALHOST/"] {
            assert_eq!(reach(url), Reach::Loopback, "{url}");
        }
        for url in ["http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://metadata.google.internal/"]
        {
            assert_eq!(reach(url), Reach::Metadata, "{url}");
        }
        for url in ["http://10.0.0.1/", "https://example.com/", "https://localhost.evil.com/"] {
            assert_eq!(reach(url), Reach::Outside, "{url}");
        }
    }

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
