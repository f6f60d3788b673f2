//! A caller's connection, closed so that the caller can read the last answer.

use std::cell::Cell;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How much of a body that nobody wants is read, and for how long, so that a refusal arrives.
const LINGER_BYTES: usize = 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// A TCP connection to a caller.
///
/// A request may be refused before its body has arrived. Closing the socket then would reset it, and the
/// caller would see a broken connection where we said "401"; so after such a refusal the body is read and
/// thrown away for a moment (RFC 9112 section 9.6).
pub(crate) struct Socket {
    stream: TokioIo<TcpStream>,
    unread: Unread,
    lingering: Option<Lingering>,
}

/// Whether the latest request's body was left where it was.
#[derive(Clone, Default)]
pub(crate) struct Unread(Rc<Cell<bool>>);

impl Unread {
    pub(crate) fn set(&self, unread: bool) {
        self.0.set(unread);
    }
}

struct Lingering {
    left: usize,
    timer: Pin<Box<Sleep>>,
}

impl Socket {
    /// Takes over an accepted connection. One whose peer neither reads nor acknowledges for `stall` is
    /// closed by the system, so a caller cannot hold an answer for ever by not reading it.
    pub(crate) fn new(stream: TcpStream, stall: Duration, unread: Unread) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(stall))?;
        #[cfg(not(target_os = "linux"))]
        let _ = stall;
        Ok(Self { stream: TokioIo::new(stream), unread, lingering: None })
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(lingering) = &mut self.lingering else { return Poll::Ready(()) };
        let mut bytes = [0; 8192];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(self.stream.inner_mut()).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    lingering.left = lingering.left.saturating_sub(buffer.filled().len());
                    if lingering.left == 0 {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return lingering.timer.as_mut().poll(cx),
            }
        }
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.unread.0.get() {
                return Poll::Ready(Ok(()));
            }
            self.lingering = Some(Lingering { left: LINGER_BYTES, timer: Box::pin(sleep(LINGER_TIME)) });
        }
        self.poll_linger(cx).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}
