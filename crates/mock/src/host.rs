//! One listener with a thread and a runtime of its own, so that a test's paused clock or blocked
//! thread cannot freeze the server.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::body::Body;
use crate::error::StartError;
use crate::socket::Socket;
use crate::tls::Tls;

/// How long a shutdown waits for answers that are still under way.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    No,
    Drain,
    Now,
}

/// A port that is taken, but not served yet: a service may need to know its own address.
pub(crate) struct Bound {
    listener: std::net::TcpListener,
    port: u16,
    tls: Option<Tls>,
}

/// A running listener. Dropping it closes the port and every connection before it returns.
#[derive(Debug)]
pub(crate) struct Host {
    url: String,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    stop: watch::Sender<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Bound {
    /// Takes the port; with `tls`, for HTTPS.
    pub(crate) fn new(port: u16, tls: Option<Tls>) -> Result<Self, StartError> {
        let listen = || {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        };
        let (listener, port) = listen().map_err(|source| StartError::Listen { port, source })?;
        Ok(Self { listener, port, tls })
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    pub(crate) fn serve<H, F>(self, handle: H) -> Result<Host, StartError>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let url = self.url();
        let Self { listener, port, tls } = self;
        #[cfg(feature = "tls")]
        let secured = tls.clone();
        let (stop, stopped) = watch::channel(Stop::No);
        let (started, starting) = std::sync::mpsc::sync_channel(1);
        // The runtime is made and dropped on its thread: neither is allowed inside another runtime.
        let run = move || {
            let runtime = Builder::new_current_thread().enable_io().enable_time().build();
            let (runtime, listener) = match runtime.and_then(|runtime| inside(runtime, listener)) {
                Ok(ready) => ready,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(Ok(()));
            runtime.block_on(accept(listener, tls, stopped, handle));
        };
        let thread = std::thread::Builder::new().name(format!("mock-{port}")).spawn(run);
        let thread = thread.map_err(StartError::Thread)?;
        starting.recv().unwrap_or_else(|ended| Err(io::Error::other(ended))).map_err(StartError::Thread)?;
        Ok(Host {
            url,
            #[cfg(feature = "tls")]
            tls: secured,
            stop,
            thread: Some(thread),
        })
    }
}

fn inside(runtime: Runtime, listener: std::net::TcpListener) -> io::Result<(Runtime, TcpListener)> {
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    Ok((runtime, listener))
}

impl Host {
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Closes the port and lets answers under way finish, for at most [`GRACE`].
    pub(crate) async fn drain(&self) {
        self.stop.send_replace(Stop::Drain);
        self.stop.closed().await;
    }

    /// Does the same, on a thread that may wait.
    pub(crate) fn drain_blocking(&mut self) {
        self.end(Stop::Drain);
    }

    fn end(&mut self, how: Stop) {
        self.stop.send_replace(how);
        if let Some(thread) = self.thread.take() {
            // An error is a panic of that thread, which has already been reported there.
            let _ = thread.join();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end(Stop::Now);
    }
}

async fn accept<H, F>(listener: TcpListener, tls: Option<Tls>, mut stop: watch::Receiver<Stop>, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, tls.clone(), stop.clone(), handle.clone()));
                }
                // Out of descriptors, most likely; spinning would not free any.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            _ = stop.changed() => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = drained => {}
        () = tokio::time::sleep(GRACE) => {}
        _ = stop.wait_for(|stop| *stop == Stop::Now) => {}
    }
}

async fn connection<H, F>(stream: TcpStream, tls: Option<Tls>, mut stop: watch::Receiver<Stop>, handle: H)
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    // A socket that refuses the option is merely slower.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let socket = Socket::new(stream, Arc::clone(&reset));
    let Some(tls) = tls else { return serve(socket, &reset, stop, handle).await };
    // Whoever does not trust the certificate sees why; there is nobody to answer.
    let shaken = tokio::select! {
        shaken = tls.accept(socket) => shaken,
        _ = stop.changed() => return,
    };
    if let Ok(stream) = shaken {
        serve(stream, &reset, stop, handle).await;
    }
}

async fn serve<S, H, F>(stream: S, reset: &AtomicBool, mut stop: watch::Receiver<Stop>, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    let service = service_fn(|request| {
        let answer = handle(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let served = http1::Builder::new().half_close(false).serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        _ = stop.changed() => {
            served.as_mut().graceful_shutdown();
            served.as_mut().await
        }
    };
    // Only a body that is scripted to break off fails on our side. The socket is dropped after this.
    if outcome.is_err_and(|error| error.is_user()) {
        reset.store(true, Ordering::Release);
    }
}
