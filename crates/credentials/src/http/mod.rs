//! The one HTTP client that asks issuers: https, no redirects, bounded in time and size.

mod address;
mod answer;
mod body;
mod request;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::http::Method;
use portunus_auth_core::CredentialError;
use url::Url;

pub(crate) use self::address::{Reach, allowed, allowed_metadata};
pub use self::answer::Answer;
pub use self::body::{Form, Json};
pub use self::request::Request;

/// Asks issuers over HTTP.
///
/// * Only `https`, except to a loopback host; never with a user name or password in the URL.
/// * Redirects are not followed: what was sent would reach an address that nobody configured.
/// * Connecting and one exchange have a time limit, an answer's body one of 1 MiB.
/// * Loopback and metadata hosts are asked without the proxy that the environment may name.
/// * Nothing is sent twice, unless the request says that it may be ([`Request::idempotent`]): a grant
///   may be spent although its answer was lost.
///
/// Clones share one pool of connections, which is set up by the first call.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    connect: Duration,
    total: Duration,
    attempts: u32,
    pause: Duration,
    metadata: bool,
    clients: OnceLock<Clients>,
}

struct Clients {
    outside: reqwest::Client,
    near: reqwest::Client,
}

/// Why an issuer could not be asked, or not be understood. Holds neither URL nor body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("an issuer's address must begin with https://, except on a loopback host")]
    NotHttps,
    #[error("an issuer's address must not hold a user name or password")]
    UserInfo,
    #[error("a header cannot carry this value")]
    Header,
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    #[error("the issuer could not be asked")]
    Transport(#[source] reqwest::Error),
    #[error("the issuer's answer broke off")]
    BrokeOff(#[source] reqwest::Error),
    #[error("the issuer's answer is larger than 1 MiB")]
    TooLarge,
}

impl HttpError {
    fn is_connect(&self) -> bool {
        matches!(self, Self::Transport(error) if error.is_connect())
    }
}

/// Whether nobody answered at the address: what asks a metadata service does not run where there is one.
#[cfg_attr(
    not(any(feature = "azure-auth", feature = "bedrock-auth", feature = "vertex-auth")),
    expect(dead_code, reason = "for the clouds' metadata services")
)]
pub(crate) fn nobody_there(error: &CredentialError) -> bool {
    let CredentialError::Unavailable { source, .. } = error else { return false };
    source.downcast_ref::<HttpError>().is_some_and(HttpError::is_connect)
}

impl From<HttpError> for CredentialError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::NotHttps | HttpError::UserInfo | HttpError::Header | HttpError::Client(_) => {
                Self::Invalid(error.into())
            }
            _ => Self::Unavailable { retry_after: None, source: error.into() },
        }
    }
}

impl Default for Http {
    /// 5 seconds to connect, 30 seconds for an exchange; three attempts where a request may be repeated,
    /// 200 ms after the first and twice as long after the second.
    fn default() -> Self {
        Self::with_timeouts(Duration::from_secs(5), Duration::from_secs(30))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { connect, total, attempts, .. } = &*self.0;
        f.debug_struct("Http")
            .field("connect", connect)
            .field("total", total)
            .field("attempts", attempts)
            .finish()
    }
}

impl Http {
    /// A client that gives up connecting, and an exchange, after these times.
    pub fn with_timeouts(connect: Duration, total: Duration) -> Self {
        Self(Arc::new(Inner {
            connect,
            total,
            attempts: 3,
            pause: Duration::from_millis(200),
            metadata: false,
            clients: OnceLock::new(),
        }))
    }

    /// A client for the metadata service of a machine's host: it may be asked in plain text at its
    /// link-local address, never through a proxy, and answers at once or not at all (1 second to connect,
    /// 5 for an exchange).
    pub fn for_metadata() -> Self {
        Self::default().set(|inner| {
            inner.metadata = true;
            inner.connect = Duration::from_secs(1);
            inner.total = Duration::from_secs(5);
        })
    }

    /// So often a request is sent that may be repeated, at least once; with a pause after the first
    /// attempt that doubles after each further one.
    #[must_use]
    pub fn with_attempts(&self, attempts: u32, pause: Duration) -> Self {
        self.set(|inner| {
            inner.attempts = attempts.max(1);
            inner.pause = pause;
        })
    }

    /// May ask the metadata service of the machine's host as well.
    #[cfg(feature = "aws-chain")]
    pub(crate) fn reaching_metadata(&self) -> Self {
        self.set(|inner| inner.metadata = true)
    }

    #[cfg(feature = "aws-chain")]
    pub(crate) fn request(&self, method: Method, url: &Url) -> Request {
        Request::new(self, method, url)
    }

    fn set(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let Inner { connect, total, attempts, pause, metadata, .. } = *self.0;
        let mut inner = Inner { connect, total, attempts, pause, metadata, clients: OnceLock::new() };
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// A `GET` of that address.
    pub fn get(&self, url: &Url) -> Request {
        Request::new(self, Method::GET, url)
    }

    /// A `POST` to that address.
    pub fn post(&self, url: &Url) -> Request {
        Request::new(self, Method::POST, url)
    }

    /// A `PUT` to that address.
    pub fn put(&self, url: &Url) -> Request {
        Request::new(self, Method::PUT, url)
    }

    fn client_for(&self, url: &Url) -> Result<&reqwest::Client, HttpError> {
        let reach = if self.0.metadata { allowed_metadata(url)? } else { allowed(url)? };
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
