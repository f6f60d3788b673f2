//! Sends a call to its provider: the right credential for this authority and for no other, over a
//! connection that stays on the worker which opened it.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use portunus_auth_core::endpoint::is_protected;
use portunus_auth_core::{BoxError, Clock, Credential, CredentialError, CredentialProvider, Dialect};
use portunus_credentials::apply;
use tokio::time::timeout;
use tower_service::Service as _;
use url::Url;

use crate::body::Pieces;
use crate::call::{Call, strip};
use crate::config::ProviderType;
use crate::reply::Refusal;
use crate::routes::Target;

/// One upstream account. Its credential is bound to its scheme, host and port: the only way to send
/// it anywhere is [`Upstreams::send`], which takes the address from here.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: Arc<str>,
    kind: ProviderType,
    origin: Uri,
    host: HeaderValue,
    base_path: Box<str>,
    credential: Arc<dyn CredentialProvider>,
    forward_headers: Vec<HeaderName>,
}

impl Provider {
    /// An upstream at that URL.
    ///
    /// # Errors
    /// Why the URL cannot be used, for the person who configured it.
    pub(crate) fn new(
        name: &str,
        kind: ProviderType,
        base_url: &Url,
        credential: Arc<dyn CredentialProvider>,
        forward_headers: Vec<HeaderName>,
    ) -> Result<Self, String> {
        let host = base_url.host_str().ok_or("the URL has no host")?;
        if !is_protected(base_url) {
            return Err("must be https; http is for loopback addresses only".to_owned());
        }
        if !base_url.username().is_empty() || base_url.password().is_some() {
            return Err("must not hold a user name or password".to_owned());
        }
        if base_url.query().is_some() || base_url.fragment().is_some() {
            return Err("must end with its path".to_owned());
        }
        let authority = base_url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let origin = Uri::builder()
            .scheme(base_url.scheme())
            .authority(authority.as_str())
            .path_and_query("/")
            .build()
            .map_err(|_| "is not a usable URL".to_owned())?;
        Ok(Self {
            name: name.into(),
            kind,
            origin,
            host: HeaderValue::try_from(authority).map_err(|_| "has a strange host".to_owned())?,
            base_path: base_url.path().trim_end_matches('/').into(),
            credential,
            forward_headers,
        })
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.kind.dialect()
    }

    async fn credential(&self) -> Result<Arc<Credential>, Refusal> {
        if let Some(held) = self.credential.held() {
            return Ok(held);
        }
        match timeout(CREDENTIAL_TIME, self.credential.resolve()).await {
            Ok(resolved) => resolved.map(Arc::new).map_err(Refusal::Credential),
            Err(late) => Err(Refusal::Credential(CredentialError::Unavailable {
                retry_after: None,
                source: late.into(),
            })),
        }
    }

    /// The path at this provider for a route of its dialect.
    fn path(&self, call: &Call) -> Result<PathAndQuery, Refusal> {
        let route = call.head.route.path;
        let rest = route.strip_prefix(self.kind.base_has()).unwrap_or(route);
        let path = match call.head.uri.query() {
            Some(query) => format!("{}{rest}?{query}", self.base_path),
            None => format!("{}{rest}", self.base_path),
        };
        PathAndQuery::try_from(path).map_err(|_| Refusal::BadHead("The request's query is malformed."))
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) answer: Duration,
    pub(crate) idle: Duration,
}

/// The upstream connections of one worker.
#[derive(Debug)]
pub(crate) struct Upstreams {
    connector: HttpsConnector<HttpConnector>,
    pool: Rc<Pool>,
    timeouts: Timeouts,
}

/// Idle connections, by provider, the one used last at the end.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<Arc<str>, VecDeque<Idle>>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Idle {
    connection: SendRequest<Pieces>,
    since: Duration,
}

/// How many idle connections a worker keeps for one provider, and for how long: shorter than providers
/// and what stands before them keep theirs, because a request that meets a closing connection fails.
const MAX_IDLE: usize = 256;
const IDLE_TIME: Duration = Duration::from_secs(50);

/// How long a request waits for a credential.
const CREDENTIAL_TIME: Duration = Duration::from_secs(30);

impl Pool {
    /// Takes the connection that was used last, because it is the least likely to be closed.
    fn take(&self, provider: &str) -> Option<SendRequest<Pieces>> {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.get_mut(provider)?;
        let newest = std::iter::from_fn(|| idle.pop_back());
        let now = self.clock.monotonic();
        let mut usable = newest.filter(|idle| idle.connection.is_ready() && now < idle.since + IDLE_TIME);
        usable.next().map(|idle| idle.connection)
    }

    fn put(&self, provider: &Arc<str>, connection: SendRequest<Pieces>) {
        let now = self.clock.monotonic();
        let mut idle = self.idle.borrow_mut();
        let idle = match idle.get_mut(provider) {
            Some(idle) => idle,
            None => idle.entry(provider.clone()).or_default(),
        };
        if idle.len() < MAX_IDLE && !connection.is_closed() {
            idle.push_back(Idle { connection, since: now });
        }
    }

    /// Closes what has been idle for too long, or was closed by the other side.
    fn sweep(&self) {
        let now = self.clock.monotonic();
        for idle in self.idle.borrow_mut().values_mut() {
            idle.retain(|idle| !idle.connection.is_closed() && now < idle.since + IDLE_TIME);
        }
    }
}

/// An upstream's answer, with what it takes to give its connection back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
    pub(crate) idle_timeout: Duration,
    pub(crate) dialect: Dialect,
}

/// A connection in use. Given back only after an answer was read to its end; a lease that is dropped
/// closes the connection, which tells the upstream to stop.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: SendRequest<Pieces>,
    provider: Arc<str>,
    pool: Rc<Pool>,
}

impl Lease {
    pub(crate) fn give_back(self) {
        self.pool.put(&self.provider, self.connection);
    }
}

impl Upstreams {
    pub(crate) fn new(
        connector: HttpsConnector<HttpConnector>,
        timeouts: Timeouts,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let pool = Rc::new(Pool { idle: RefCell::default(), clock });
        Self { connector, pool, timeouts }
    }

    /// Closes connections that nobody has used for a while.
    pub(crate) fn sweep(&self) {
        self.pool.sweep();
    }

    /// Sends the call. A 401 costs the credential, once: if its source then has another one, the call
    /// is sent again with that; if not, the 401 is the answer.
    pub(crate) async fn send(&self, call: Call, target: Target) -> Result<Reply, Refusal> {
        let provider = &target.provider;
        let path = provider.path(&call)?;
        let body = body(&call, &target);
        let mut headers = call.head.headers;
        strip(&mut headers, &provider.forward_headers);
        headers.insert(HOST, provider.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));

        let credential = provider.credential().await?;
        // The headers are used up by sending; they are kept only where a second try may need them.
        let again = provider.credential.renews().then(|| headers.clone());
        let first = self.attempt(provider, &path, headers, body.clone(), &credential).await?;
        let (Some(headers), StatusCode::UNAUTHORIZED) = (again, first.response.status()) else {
            return Ok(first);
        };
        provider.credential.invalidate(&credential);
        match provider.credential().await {
            Ok(fresh) if fresh != credential => {
                drop(first);
                self.attempt(provider, &path, headers, body, &fresh).await
            }
            _ => Ok(first),
        }
    }

    async fn attempt(
        &self,
        provider: &Provider,
        path: &PathAndQuery,
        mut headers: HeaderMap,
        body: Pieces,
        credential: &Credential,
    ) -> Result<Reply, Refusal> {
        apply(credential, &mut headers)
            .map_err(|error| Refusal::Credential(CredentialError::Invalid(error.into())))?;
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(path.clone());
        *request.headers_mut() = headers;

        let exchange = timeout(self.timeouts.answer, self.exchange(provider, request));
        let (connection, response) = exchange.await.map_err(|_| Refusal::UpstreamTimeout)??;
        check_answer(&response).map_err(|wrong| Refusal::Unreachable(wrong.into()))?;
        let lease = Lease { connection, provider: provider.name.clone(), pool: self.pool.clone() };
        Ok(Reply { response, lease, idle_timeout: self.timeouts.idle, dialect: provider.dialect() })
    }

    /// Sends over an idle connection, or a new one. Only a request of which nothing was written may go
    /// to a second connection, because a model call must not be billed twice.
    async fn exchange(
        &self,
        provider: &Provider,
        mut request: Request<Pieces>,
    ) -> Result<(SendRequest<Pieces>, Response<Incoming>), Refusal> {
        loop {
            let (mut connection, fresh) = match self.pool.take(&provider.name) {
                Some(idle) => (idle, false),
                None => (self.connect(provider).await?, true),
            };
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !fresh => request = unsent,
                    _ => return Err(Refusal::Unreachable(error.into_error().into())),
                },
            }
        }
    }

    async fn connect(&self, provider: &Provider) -> Result<SendRequest<Pieces>, Refusal> {
        let opening = async {
            let stream = self.connector.clone().call(provider.origin.clone()).await?;
            let (mut send, connection) = http1::Builder::new().handshake(stream).await?;
            tokio::task::spawn_local(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "an upstream connection ended");
                }
            });
            send.ready().await?;
            Ok::<_, BoxError>(send)
        };
        match timeout(self.timeouts.connect, opening).await {
            Ok(opened) => opened.map_err(Refusal::Unreachable),
            Err(_) => Err(Refusal::Unreachable("connecting took too long".into())),
        }
    }
}

/// Answers that are none: nobody asked to switch protocols; a redirect would send the caller, key and
/// prompt and all, to an address that nobody configured; and an answer framed in two ways ends at one
/// place for us and at another for somebody else (RFC 9112 section 6.3).
fn check_answer(response: &Response<Incoming>) -> Result<(), &'static str> {
    let (status, headers) = (response.status(), response.headers());
    if status.is_informational() {
        return Err("the upstream switched protocols");
    }
    if status.is_redirection() {
        return Err("the upstream redirects");
    }
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err("the upstream's answer has both a length and a transfer coding");
    }
    Ok(())
}

/// The caller's bytes as they came, but for the model's name where the route changes it.
fn body(call: &Call, target: &Target) -> Pieces {
    match &target.rename {
        None => Pieces::of([call.body.clone()]),
        Some(name) => Pieces::of([
            call.body.slice(..call.model_at.start),
            Bytes::clone(name),
            call.body.slice(call.model_at.end..),
        ]),
    }
}
