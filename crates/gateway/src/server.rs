//! Starts a gateway: opens what the configuration names, listens, hands the listener to the workers; and
//! in the end drains them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use portunus_auth_core::audit::EventKind;
use portunus_auth_core::{ConfigProblem, SecretSource};
use tokio::sync::watch;

use crate::config::{Config, ConfigError, ServerConfig};
use crate::gateway::Gateway;
use crate::worker::Setup;

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
    /// Reads the file, opens what it names, and serves.
    ///
    /// # Errors
    /// [`ConfigError`]: whatever keeps the gateway from serving, with its place in the file.
    pub async fn start(path: &Path, secrets: &dyn SecretSource) -> Result<Self, ConfigError> {
        let (config, source) = Config::read(path)?;
        Self::open(&config, secrets).await.map_err(|problems| source.locate(problems))
    }

    /// Opens what the configuration names, and serves. Background work goes on in the runtime that this
    /// is called in.
    ///
    /// # Errors
    /// Whatever keeps the gateway from serving.
    pub async fn open(config: &Config, secrets: &dyn SecretSource) -> Result<Self, Vec<ConfigProblem>> {
        let one = |at: &str, says: String| vec![ConfigProblem::new(at, says)];
        let gateway = Arc::new(Gateway::open(config, secrets).await?);
        let connector = connector().map_err(|error| {
            one("providers", format!("the system's root certificates cannot be loaded: {error}"))
        })?;
        let server = &config.server;
        let cannot_listen =
            |error: io::Error| one("server.listen", format!("cannot listen on {}: {error}", server.listen));
        let listener = listen(server.listen).map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let (stop, stopping) = watch::channel(false);
        let workers = start_workers(server, &gateway, &connector, &listener, &stopping)
            .map_err(|error| one("server.workers", format!("a worker cannot be started: {error}")))?;
        let sweeper = tokio::spawn(sweep(Arc::downgrade(&gateway)));
        gateway.note(EventKind::ServerStarted);
        Ok(Self { address, gateway, stop, workers, sweeper })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests in flight end within the configured time, and writes out the
    /// audit.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let Self { gateway, workers, sweeper, .. } = self;
        sweeper.abort();
        let ended = tokio::task::spawn_blocking(move || {
            let joined = workers.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
            gateway.note(EventKind::ServerStopped);
            gateway.audit.close();
            joined
        });
        match ended.await {
            Ok(0) => {}
            crashed => tracing::error!(?crashed, "a worker crashed"),
        }
    }
}

/// Starts every worker, and waits until each one serves.
fn start_workers(
    config: &ServerConfig,
    gateway: &Arc<Gateway>,
    connector: &HttpsConnector<HttpConnector>,
    listener: &TcpListener,
    stopping: &watch::Receiver<bool>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let count = config.workers.or_else(|| std::thread::available_parallelism().ok()).map_or(1, usize::from);
    let (ready, readiness) = std::sync::mpsc::channel();
    let workers = (0..count)
        .map(|n| {
            let setup = Setup {
                gateway: gateway.clone(),
                connector: connector.clone(),
                config: config.clone(),
                connections: config.max_connections.get().div_ceil(count),
                stopping: stopping.clone(),
            };
            let (listener, ready) = (listener.try_clone()?, ready.clone());
            let name = format!("worker-{n}");
            std::thread::Builder::new().name(name).spawn(move || setup.run(listener, &ready))
        })
        .collect::<io::Result<_>>()?;
    drop(ready);
    for _ in 0..count {
        readiness.recv().map_err(|_| io::Error::other("it crashed"))??;
    }
    Ok(workers)
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

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    // A restart must not wait for the last one's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn connector() -> io::Result<HttpsConnector<HttpConnector>> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
    Ok(tls.https_or_http().enable_http1().wrap_connector(tcp))
}
