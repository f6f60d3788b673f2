//! The one HTTP client: no redirects, bounded time, bounded size, nothing in the clear, nothing inside.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use portunus_auth_core::endpoint::is_protected;
use url::Url;

use crate::reach::{Guard, Lookup, OutOfReach, Reach, System};

/// How long one fetch may take, and within it the connection.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a document could not be fetched. Never holds what the other side sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// There is no client.
    #[error("cannot be asked")]
    NoClient(#[source] reqwest::Error),
    /// At an address that is not asked.
    #[error("is at an address that is not asked")]
    OutOfReach(#[from] OutOfReach),
    /// No connection, or it broke.
    #[error("cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// Anything but 200, redirects included.
    #[error("answered with status {0}")]
    Status(u16),
    /// It answered, but not with the document in question.
    #[error("answered with an unusable document: {0}")]
    Unusable(&'static str),
    /// Its discovery document cannot be used.
    #[error("published an unusable discovery document")]
    BadDiscovery(#[from] crate::discovery::BadDiscovery),
    /// Its key set cannot be used.
    #[error("published an unusable key set")]
    BadKeys(#[from] crate::jwk::BadKeySet),
}

/// A fetched document.
pub(crate) struct Document {
    pub(crate) body: Vec<u8>,
    /// How long it may be kept, if the answer says so.
    pub(crate) max_age: Option<Duration>,
}

/// The client, or rather one for each reach: they share no connection.
#[derive(Clone, Debug)]
pub(crate) struct Fetch(Arc<Clients>);

#[derive(Debug)]
struct Clients {
    lookup: Arc<dyn Lookup>,
    this_machine: OnceLock<reqwest::Client>,
    internet: OnceLock<reqwest::Client>,
    private_networks: OnceLock<reqwest::Client>,
}

impl Fetch {
    pub(crate) fn new() -> Self {
        Self::with(Arc::new(System))
    }

    fn with(lookup: Arc<dyn Lookup>) -> Self {
        let [this_machine, internet, private_networks] = [const { OnceLock::new() }; 3];
        Self(Arc::new(Clients { lookup, this_machine, internet, private_networks }))
    }

    fn client(&self, reach: Reach) -> Result<&reqwest::Client, FetchError> {
        let place = match reach {
            Reach::ThisMachine => &self.0.this_machine,
            Reach::Internet => &self.0.internet,
            Reach::PrivateNetworks => &self.0.private_networks,
        };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        #[expect(clippy::disallowed_methods, reason = "this is the crate's one client")]
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Guard { reach, lookup: self.0.lookup.clone() })
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("portunus-keyserver/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(FetchError::NoClient)?;
        Ok(place.get_or_init(|| client))
    }

    /// The document at `url`, of at most `limit` bytes.
    pub(crate) async fn get(&self, url: &Url, reach: Reach, limit: usize) -> Result<Document, FetchError> {
        // No resolver is asked about an address that is written out.
        if !reach.admits_host(url) {
            return Err(OutOfReach.into());
        }
        let lost = |error: reqwest::Error| FetchError::Unreachable(error.without_url());
        let request = self.client(reach)?.get(url.clone()).header(http::header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(lost)?;
        if response.status() != http::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let max_age = response.headers().get(http::header::CACHE_CONTROL).and_then(max_age);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > limit {
                return Err(FetchError::Unusable("too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Document { body, max_age })
    }
}

/// The `max-age` of a `Cache-Control` header (RFC 9111 section 5.2.2.1).
fn max_age(header: &http::HeaderValue) -> Option<Duration> {
    let directives = header.to_str().ok()?.split(',');
    let seconds = directives.filter_map(|one| {
        let (name, value) = one.trim().split_once('=')?;
        if name.eq_ignore_ascii_case("max-age") { value.trim_matches('"').parse().ok() } else { None }
    });
    seconds.min().map(Duration::from_secs)
}

/// Why an address is not fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an https URL (http on the local machine only) without user, query, fragment, white space or backslash"
)]
pub(crate) struct BadUrl;

/// The address, if it is one that keys may be fetched from.
pub(crate) fn issuer_url(text: &str) -> Result<Url, BadUrl> {
    let unsafe_char = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\\' | '?' | '#' | '@');
    // The scheme is compared as text, because the parser also accepts `https:host`.
    let begins_well = text.starts_with("https://") || text.starts_with("http://");
    if !begins_well || text.contains(unsafe_char) {
        return Err(BadUrl);
    }
    let url = Url::parse(text).map_err(|_| BadUrl)?;
    if is_protected(&url) { Ok(url) } else { Err(BadUrl) }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use portunus_auth_core::BoxError;
    use portunus_mock::MockIdp;

    use super::*;

    /// Answers each time with the next address.
    #[derive(Debug)]
    struct Scripted(Mutex<Vec<&'static str>>);

    #[async_trait]
    impl Lookup for Scripted {
        async fn lookup(&self, _: &str) -> Result<Vec<IpAddr>, BoxError> {
            Ok(vec![self.0.lock().unwrap().remove(0).parse()?])
        }
    }

    /// A name that was checked and leads elsewhere a moment later (DNS rebinding).
    #[tokio::test]
    async fn a_connection_goes_to_the_address_that_was_checked() {
        let idp = MockIdp::start().await;
        let at = |host: &str| Url::parse(&idp.jwks_uri().replace("127.0.0.1", host)).unwrap();
        let fetch = |script: &[&'static str]| Fetch::with(Arc::new(Scripted(Mutex::new(script.to_vec()))));
        let local = fetch(&["127.0.0.1", "169.254.169.254"]);
        assert!(local.get(&at("localhost"), Reach::ThisMachine, 1 << 16).await.is_ok());
        assert_eq!(idp.count("/jwks.json"), 1);
        for (reach, leads_to) in [
            (Reach::Internet, "127.0.0.1"),
            (Reach::Internet, "::ffff:127.0.0.1"),
            (Reach::Internet, "169.254.169.254"),
            (Reach::Internet, "10.0.0.1"),
            (Reach::PrivateNetworks, "127.0.0.1"),
            (Reach::ThisMachine, "10.0.0.1"),
        ] {
            let refused = fetch(&[leads_to]).get(&at("idp.example"), reach, 1 << 16).await;
            assert!(matches!(refused, Err(FetchError::Unreachable(_))), "{reach:?} {leads_to}");
        }
        for written in ["127.0.0.1", "[::ffff:7f00:1]"] {
            let refused = fetch(&[]).get(&at(written), Reach::Internet, 1 << 16).await;
            assert!(matches!(refused, Err(FetchError::OutOfReach(_))), "{written}");
        }
        assert_eq!(idp.count("/jwks.json"), 1);
    }

    /// Whoever answers without end is not listened to for longer than a document may be.
    #[tokio::test]
    async fn no_more_is_read_than_a_document_may_have() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let endless = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            let mut piece = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
            while stream.write_all(&piece).await.is_ok() {
                piece = vec![b'x'; 1024];
            }
        });
        let refused = Fetch::new().get(&url, Reach::ThisMachine, 1 << 16).await;
        assert!(matches!(refused, Err(FetchError::Unusable(_))));
        endless.await.unwrap();
        let idp = MockIdp::start().await;
        let url = Url::parse(&idp.jwks_uri()).unwrap();
        let whole = Fetch::new().get(&url, Reach::ThisMachine, 1 << 16).await.unwrap().body.len();
        assert!(Fetch::new().get(&url, Reach::ThisMachine, whole).await.is_ok());
        assert!(Fetch::new().get(&url, Reach::ThisMachine, whole - 1).await.is_err());
    }

    #[test]
    fn only_addresses_that_nobody_can_listen_in_on_are_fetched() {
        for good in [
            "https://idp.example",
            "https://idp.example/realms/a/",
            "http://127.0.0.1:8080",
            "http://[::1]/a",
            "http://localhost:1",
        ] {
            assert!(issuer_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://idp.example",
            "https:idp.example",
            "https:/idp.example",
            "https:\\\\idp.example",
            " https://idp.example",
            "https://idp.example\n",
            "https://user@idp.example",
            "https://idp.example?x",
            "https://idp.example#x",
            "https://",
            "ftp://127.0.0.1",
            "http://127.0.0.1.evil.example",
            "",
        ] {
            assert!(issuer_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_shortest_max_age_counts() {
        let header = |text: &'static str| max_age(&http::HeaderValue::from_static(text));
        assert_eq!(header("public, Max-Age=60, max-age=\"30\""), Some(Duration::from_secs(30)));
        assert_eq!(header("no-store, max-age=x, s-maxage=3"), None);
    }
}
