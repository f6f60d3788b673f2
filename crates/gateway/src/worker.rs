//! One worker: a thread with a runtime of its own, and what the requests on it share.
//!
//! A connection lives and dies on the worker that accepted it, and so do the upstream connections that
//! it uses, so requests share no lock.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioTimer;
use portunus_auth_core::audit::{EventKind, RequestId};
use portunus_auth_core::{AuditFull, Trail};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, Semaphore, watch};

use crate::body::Body;
use crate::call::check_head;
use crate::config::ServerConfig;
use crate::gateway::Gateway;
use crate::socket::{Socket, Unread};
use crate::upstream::{Timeouts, Upstreams};
use crate::{control, origin, pipeline};

/// How much of a connection's input and output is held at once. A request's head must fit.
const BUFFER: usize = 64 * 1024;

/// What a worker's thread begins with.
pub(crate) struct Setup {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) connector: HttpsConnector<HttpConnector>,
    pub(crate) config: ServerConfig,
    /// This worker's share of all connections.
    pub(crate) connections: usize,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// One worker.
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

    pub(crate) fn control(&self) -> Router {
        self.control.clone()
    }

    pub(crate) fn trail(&self, kind: EventKind) -> Result<Trail, AuditFull> {
        self.gateway.trail(kind)
    }

    pub(crate) fn next_id(&self) -> RequestId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        RequestId(process_id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
        unread: Unread,
    ) -> Result<http::Response<Body>, Infallible> {
        let has_body = !http_body::Body::is_end_stream(request.body());
        let peer = origin::client(peer, request.headers(), &self.gateway.trusted_proxies);
        let answer = if control::owns(request.uri().path()) && check_head(&request).is_ok() {
            control::handle(&self, request, peer).await
        } else {
            pipeline::handle(&self, request, peer).await
        };
        unread.set(has_body && answer.status().as_u16() >= 400);
        Ok(answer)
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

impl Setup {
    /// Serves until told to stop. Says through `ready` whether it does, or why not.
    pub(crate) fn run(self, listener: TcpListener, ready: &std::sync::mpsc::Sender<io::Result<()>>) {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
        runtime.block_on(async {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    let told = ready.send(Ok(()));
                    if told.is_ok() {
                        self.serve(listener).await;
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
    }

    async fn serve(mut self, listener: tokio::net::TcpListener) {
        let config = &self.config;
        let timeouts = Timeouts {
            connect: config.connect_timeout,
            answer: config.upstream_timeout,
            idle: config.idle_timeout,
        };
        let clock = self.gateway.clock.clone();
        let upstreams = Upstreams::new(self.connector.clone(), timeouts, clock);
        let control = control::router(&self.gateway);
        let worker = Rc::new(Worker { gateway: self.gateway.clone(), upstreams, control });
        tokio::task::spawn_local(sweep(Rc::downgrade(&worker)));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(config.head_timeout).max_buf_size(BUFFER);
        let drain = Rc::new(Drain::default());
        let room = Arc::new(Semaphore::new(self.connections));
        loop {
            let next = async {
                let place = room.clone().acquire_owned().await;
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                next = next => next,
                _ = self.stopping.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = connection(
                        http.clone(),
                        stream,
                        peer.ip(),
                        worker.clone(),
                        drain.clone(),
                        config.idle_timeout,
                    );
                    tokio::task::spawn_local(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => out_of_descriptors(&error).await,
            }
        }
        drop(listener);
        if tokio::time::timeout(self.config.drain_timeout, drain.all_gone()).await.is_err() {
            tracing::warn!("requests were still in flight when the drain's time was over");
        }
    }
}

/// Closes this worker's upstream connections that nobody uses.
async fn sweep(worker: std::rc::Weak<Worker>) {
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    loop {
        tick.tick().await;
        let Some(worker) = worker.upgrade() else { return };
        worker.upstreams.sweep();
    }
}

/// Waits for connections that end to make room. A peer that went away before it was accepted is nothing
/// to wait for.
async fn out_of_descriptors(error: &io::Error) {
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tracing::warn!(%error, "a connection could not be accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Serves one connection to its end.
async fn connection(
    http: http1::Builder,
    stream: tokio::net::TcpStream,
    peer: IpAddr,
    worker: Rc<Worker>,
    drain: Rc<Drain>,
    stall: Duration,
) {
    let unread = Unread::default();
    let socket = match Socket::new(stream, stall, unread.clone()) {
        Ok(socket) => socket,
        Err(error) => return tracing::debug!(%error, "a connection was gone at once"),
    };
    let service = service_fn(move |request| worker.clone().answer(request, peer, unread.clone()));
    let mut connection = pin!(http.serve_connection(socket, service));
    let mut seat = Seat { drain, number: None };
    let mut told = false;
    let ended = poll_fn(|cx| {
        if seat.take_or_stop(cx.waker()) && !told {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a connection ended");
    }
}

/// The connections of a worker, so that they can be told to end.
#[derive(Default)]
struct Drain {
    stopping: Cell<bool>,
    next: Cell<u64>,
    seated: RefCell<HashMap<u64, Waker>>,
    left: Notify,
}

impl Drain {
    /// Tells every connection to end, and waits until they have.
    async fn all_gone(&self) {
        self.stopping.set(true);
        let wakers: Vec<Waker> = self.seated.borrow().values().cloned().collect();
        wakers.iter().for_each(Waker::wake_by_ref);
        while !self.seated.borrow().is_empty() {
            self.left.notified().await;
        }
    }
}

/// One connection's place among those that can be told to end; given up when dropped.
struct Seat {
    drain: Rc<Drain>,
    number: Option<u64>,
}

impl Seat {
    /// Takes the place, once. A task's waker stays the same, so one is enough. Says whether to stop.
    fn take_or_stop(&mut self, waker: &Waker) -> bool {
        if self.number.is_none() {
            let number = self.drain.next.get();
            self.drain.next.set(number + 1);
            self.drain.seated.borrow_mut().insert(number, waker.clone());
            self.number = Some(number);
        }
        self.drain.stopping.get()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.drain.seated.borrow_mut().remove(&number);
            if self.drain.stopping.get() {
                self.drain.left.notify_one();
            }
        }
    }
}
