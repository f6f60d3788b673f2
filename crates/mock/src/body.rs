//! The bodies that are answered and how those that come in are read.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Sleep;

/// The body of an answer.
pub(crate) enum Body {
    /// All of it at once, with a `Content-Length`.
    Whole(Bytes),
    /// Frame by frame.
    Frames(Frames),
}

/// A body that is scripted to break off.
#[derive(Debug, thiserror::Error)]
#[error("the body is scripted to break off")]
pub(crate) struct BrokenOff;

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The last chunk, as HTTP wants it.
    Clean,
    /// A connection reset.
    Reset,
}

/// Makes waits longer, each by another time.
#[derive(Debug)]
pub(crate) struct Jitter {
    most: Duration,
    rng: fastrand::Rng,
}

impl Jitter {
    /// Up to `most` longer; the same seed draws the same.
    pub(crate) fn new(most: Duration, seed: u64) -> Self {
        Self { most, rng: fastrand::Rng::with_seed(seed) }
    }

    /// A wait as long as this one really is; none stays none.
    pub(crate) fn draw(&mut self, wait: Duration) -> Duration {
        if wait.is_zero() || self.most.is_zero() { wait } else { wait + self.most.mul_f64(self.rng.f64()) }
    }
}

pub(crate) struct Frames {
    frames: std::vec::IntoIter<Bytes>,
    pause: Duration,
    jitter: Jitter,
    end: End,
    /// Made once it is needed, and set again for each frame.
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// When the connection is reset, whatever was sent by then.
    cut: Option<Pin<Box<Sleep>>>,
    flushed: bool,
}

impl Frames {
    /// Sends `frames` one by one, `pause` and what `jitter` adds apart.
    pub(crate) fn new(frames: Vec<Bytes>, pause: Duration, jitter: Jitter, end: End) -> Self {
        Self {
            frames: frames.into_iter(),
            pause,
            jitter,
            end,
            sleep: None,
            waiting: false,
            cut: None,
            flushed: false,
        }
    }

    /// Waits before the first frame.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        if !wait.is_zero() {
            self.sleep = Some(Box::pin(tokio::time::sleep(wait)));
            self.waiting = true;
        }
        self
    }

    /// Resets the connection after that time.
    pub(crate) fn reset_after(mut self, time: Option<Duration>) -> Self {
        self.cut = time.map(|time| Box::pin(tokio::time::sleep(time)));
        self
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Some(cut) = &mut self.cut
            && cut.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(BrokenOff)));
        }
        if let Some(sleep) = self.sleep.as_mut().filter(|_| self.waiting) {
            std::task::ready!(sleep.as_mut().poll(cx));
            self.waiting = false;
        }
        if let Some(frame) = self.frames.next() {
            if !self.pause.is_zero() && self.frames.len() > 0 {
                self.waiting = true;
                let pause = tokio::time::sleep(self.jitter.draw(self.pause));
                match &mut self.sleep {
                    Some(sleep) => sleep.as_mut().set(pause),
                    None => self.sleep = Some(Box::pin(pause)),
                }
            }
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        match self.end {
            End::Clean => Poll::Ready(None),
            End::Reset if self.flushed => Poll::Ready(Some(Err(BrokenOff))),
            // What was sent is flushed while the body is pending, so it arrives before the reset.
            End::Reset => {
                self.flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Frames(frames) => frames.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Frames(_) => SizeHint::new(),
        }
    }
}

/// Why a request has no body to work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Larger than the limit.
    TooLarge,
    /// It broke off.
    Broken,
}

/// Reads a request's body, at most `limit` bytes of it.
pub(crate) async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Unread> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            // A client that is still sending does not read the refusal: let it finish.
            while let Some(Ok(_)) = body.frame().await {}
            return Err(Unread::TooLarge);
        }
        // Most bodies come in one frame, which is then not copied.
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_makes_waits_longer_and_is_drawn_from_its_seed() {
        let wait = Duration::from_millis(100);
        let drawn = |seed| {
            let mut jitter = Jitter::new(Duration::from_millis(50), seed);
            (0..20).map(|_| jitter.draw(wait)).collect::<Vec<_>>()
        };
        assert!(drawn(1).iter().all(|wait| (100..=150).contains(&wait.as_millis())));
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_eq!(Jitter::new(wait, 1).draw(Duration::ZERO), Duration::ZERO, "no wait stays none");
        assert_eq!(Jitter::new(Duration::ZERO, 1).draw(wait), wait);
    }
}
