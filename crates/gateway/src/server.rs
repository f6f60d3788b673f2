//! Listens, hands connections to workers, and drains them in the end.
//!
//! Each worker is a thread with a runtime of its own. A connection lives and dies on the worker that
//! accepted it, and so do the upstream connections that it uses, so requests share no lock.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioIo, TokioTimer};
use portunus_auth_core::audit::{Actor, EventKind, RequestId};
use portunus_auth_core::{AuditFull, ConfigProblem, Outcome, SecretSource, Trail};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::body::Body;
use crate::config::{Config, ConfigError, ServerConfig};
use crate::gateway::Gateway;
use crate::upstream::{Timeouts, Upstreams};
use crate::{control, pipeline};

/// A gateway that serves.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    gateway: Arc<Gateway>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    sweeper: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Reads the file, opens what it names, and listens.
    ///
    /// # Errors
    /// [`ConfigError`]: whatever keeps the gateway from serving, with its place in the file.
    pub async fn start(path: &Path, secrets: &dyn SecretSource) -> Result<Self, ConfigError> {
        let (config, source) = Config::read(path)?;
        Self::open(&config, secrets).await.map_err(|problems| source.locate(problems))
    }

    async fn open(config: &Config, secrets: &dyn SecretSource) -> Result<Self, Vec<ConfigProblem>> {
        let one = |at: &str, says: String| vec![ConfigProblem::new(at, says)];
        let gateway = Arc::new(Gateway::open(config, secrets).await?);
        let connector = connector().map_err(|error| {
            one("providers", format!("the system's root certificates cannot be loaded: {error}"))
        })?;
        let server = &config.server;
        let listener = listen(server.listen)
            .map_err(|error| one("server.listen", format!("cannot listen on {}: {error}", server.listen)))?;
        let address = listener.local_addr().map_err(|error| one("server.listen", error.to_string()))?;
        let (stop, stopping) = watch::channel(false);
        let workers = (0..worker_count(server))
            .map(|n| {
                let seat = Seat {
                    gateway: gateway.clone(),
                    connector: connector.clone(),
                    config: server.clone(),
                    stopping: stopping.clone(),
                };
                let listener = listener.try_clone()?;
                std::thread::Builder::new().name(format!("worker-{n}")).spawn(move || seat.run(listener))
            })
            .collect::<Result<_, std::io::Error>>()
            .map_err(|error| one("server.workers", format!("a worker cannot be started: {error}")))?;
        let sweeper = tokio::spawn(sweep(Arc::downgrade(&gateway)));
        let server = Self { address, gateway, stop, workers, sweeper };
        server.note_state();
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests in flight end within the configured time, and writes out the
    /// audit.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let workers = self.workers;
        let joined = tokio::task::spawn_blocking(move || workers.into_iter().all(|w| w.join().is_ok())).await;
        if !joined.unwrap_or(false) {
            tracing::error!("a worker crashed");
        }
        self.sweeper.abort();
        if let Ok(mut trail) = trail(&self.gateway, EventKind::ServerState) {
            trail.event().actor = Some(Actor::System);
            trail.finish(Outcome::Allowed);
        }
        let audit = self.gateway.audit.clone();
        if tokio::task::spawn_blocking(move || audit.close()).await.is_err() {
            tracing::error!("the audit could not be closed");
        }
    }

    fn note_state(&self) {
        if let Ok(mut trail) = trail(&self.gateway, EventKind::ServerState) {
            trail.event().actor = Some(Actor::System);
            trail.finish(Outcome::Allowed);
        }
    }
}

fn trail(gateway: &Gateway, kind: EventKind) -> Result<Trail, AuditFull> {
    Trail::begin(gateway.audit.clone(), gateway.clock.clone(), kind)
}

/// Keeps what is counted per caller from growing with every caller there ever was.
async fn sweep(gateway: std::sync::Weak<Gateway>) {
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    loop {
        minute.tick().await;
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.limits.sweep();
    }
}

fn worker_count(config: &ServerConfig) -> usize {
    config.workers.or_else(|| std::thread::available_parallelism().ok()).map_or(1, usize::from)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    // A restart must not wait for the last one's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn connector() -> std::io::Result<HttpsConnector<HttpConnector>> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
    Ok(tls.https_or_http().enable_http1().wrap_connector(tcp))
}

/// What a worker's thread begins with.
struct Seat {
    gateway: Arc<Gateway>,
    connector: HttpsConnector<HttpConnector>,
    config: ServerConfig,
    stopping: watch::Receiver<bool>,
}

/// One worker: what the requests on one thread share.
#[derive(Debug)]
pub(crate) struct Worker {
    gateway: Arc<Gateway>,
    upstreams: Upstreams,
    control: Router,
}

impl Worker {
    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(crate) fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    pub(crate) fn trail(&self, kind: EventKind) -> Result<Trail, AuditFull> {
        trail(&self.gateway, kind)
    }

    pub(crate) fn next_id(&self) -> RequestId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        RequestId(process_id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Result<http::Response<Body>, Infallible> {
        if control::owns(request.uri().path()) {
            return Ok(control::handle(self.control.clone(), request, peer, self.next_id()).await);
        }
        Ok(pipeline::handle(&self, request, peer).await)
    }
}

/// A number that tells the requests of this process from those of every other.
fn process_id() -> u64 {
    static ID: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| {
        let mut bytes = [0; 8];
        // Without randomness the ids are still unique within the process.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        u64::from_be_bytes(bytes)
    });
    *ID
}

impl Seat {
    fn run(self, listener: TcpListener) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a worker has no runtime");
                return;
            }
        };
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, self.serve(listener));
    }

    async fn serve(mut self, listener: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a worker cannot listen");
                return;
            }
        };
        let timeouts = Timeouts {
            connect: self.config.connect_timeout,
            answer: self.config.upstream_timeout,
            idle: self.config.idle_timeout,
        };
        let worker = Rc::new(Worker {
            control: control::router(&self.gateway),
            upstreams: Upstreams::new(self.connector.clone(), timeouts),
            gateway: self.gateway.clone(),
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.config.head_timeout).pipeline_flush(true);
        // Closed, with nothing ever sent, once every connection has dropped its end.
        let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.stopping.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = Connection {
                        worker: worker.clone(),
                        stopping: self.stopping.clone(),
                        _alive: alive.clone(),
                    };
                    tokio::task::spawn_local(connection.serve(http.clone(), stream, peer.ip()));
                }
                Err(error) => {
                    // Out of descriptors, most likely: those that end make room.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        drop(alive);
        drop(listener);
        if tokio::time::timeout(self.config.drain_timeout, all_gone.recv()).await.is_err() {
            tracing::warn!("requests were still in flight when the drain's time was over");
        }
    }
}

struct Connection {
    worker: Rc<Worker>,
    stopping: watch::Receiver<bool>,
    _alive: mpsc::Sender<Infallible>,
}

impl Connection {
    async fn serve(mut self, http: http1::Builder, stream: tokio::net::TcpStream, peer: IpAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone at once");
            return;
        }
        let worker = self.worker.clone();
        let service = service_fn(move |request| worker.clone().answer(request, peer));
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = self.stopping.wait_for(|stop| *stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }
}
