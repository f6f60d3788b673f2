//! How a reply is sent, and what goes wrong with it.

use std::borrow::Cow;
use std::time::Duration;

use super::Reply;
use crate::api_error::ApiError;

/// How a text is cut when it is streamed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chunks {
    /// Into so many pieces.
    Pieces(usize),
    /// Into pieces of so many characters.
    Size(usize),
}

/// Which frames of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    All,
    /// Counted from 0.
    One(usize),
}

/// How a stream ends that ends too early.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    Clean,
    Reset,
    Error(Box<ApiError>),
}

impl Reply {
    /// Cuts each text, and each tool call's arguments, into that many pieces when streamed; fewer, if
    /// it has fewer characters. At least 1.
    #[must_use]
    pub fn chunks(mut self, pieces: usize) -> Self {
        if pieces == 0 {
            self.problem = Some("a text cannot be cut into 0 pieces".into());
        }
        self.chunks = Chunks::Pieces(pieces);
        self
    }

    /// Cuts each text, and each tool call's arguments, into pieces of that many characters when streamed.
    /// At least 1.
    #[must_use]
    pub fn chunk_size(mut self, characters: usize) -> Self {
        if characters == 0 {
            self.problem = Some("a text cannot be cut into pieces of 0 characters".into());
        }
        self.chunks = Chunks::Size(characters);
        self
    }

    /// Waits that long between two frames of a stream, in real time.
    #[must_use]
    pub fn latency(mut self, between_frames: Duration) -> Self {
        self.latency = between_frames;
        self
    }

    /// Waits that long before answering at all, in real time.
    #[must_use]
    pub fn delay(mut self, before_headers: Duration) -> Self {
        self.delay.0 = before_headers;
        self
    }

    /// Waits that long before a stream's first frame, in real time.
    #[must_use]
    pub fn first_frame_after(mut self, wait: Duration) -> Self {
        self.delay.1 = wait;
        self
    }

    /// Makes every wait that was said longer, by up to `most`, each by another time that is drawn.
    #[must_use]
    pub fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// Spoils a frame of a stream, counted from 0, so that it is no JSON and fits no checksum.
    #[must_use]
    pub fn corrupt_frame(mut self, index: usize) -> Self {
        self.corrupt = Some(Which::One(index));
        self
    }

    /// Spoils the whole body like that: every frame, and also of an answer that is not streamed.
    #[must_use]
    pub fn corrupt_body(mut self) -> Self {
        self.corrupt = Some(Which::All);
        self
    }

    /// Sends a frame of a stream, counted from 0, twice.
    #[must_use]
    pub fn duplicate_frame(mut self, index: usize) -> Self {
        self.duplicate = Some(Which::One(index));
        self
    }

    /// Sends every frame of a stream twice.
    #[must_use]
    pub fn duplicate_frames(mut self) -> Self {
        self.duplicate = Some(Which::All);
        self
    }

    /// Frames events as seldom seen but allowed: with carriage returns and comments, and in pieces that
    /// end within a line, a frame or a character.
    #[must_use]
    pub fn odd_framing(mut self) -> Self {
        self.odd_framing = true;
        self
    }

    /// Ends a stream cleanly after that many frames, as if it were whole.
    #[must_use]
    pub fn truncate_after_frames(mut self, frames: usize) -> Self {
        self.end = Some((frames, Ending::Clean));
        self
    }

    /// Resets the connection after that many frames of a stream.
    #[must_use]
    pub fn reset_after_frames(mut self, frames: usize) -> Self {
        self.end = Some((frames, Ending::Reset));
        self
    }

    /// Resets the connection of a stream after that time, in real time, unless it has ended by then.
    #[must_use]
    pub fn reset_after(mut self, time: Duration) -> Self {
        self.reset_after = Some(time);
        self
    }

    /// Ends a stream with an error, in the provider's own words, after that many frames.
    #[must_use]
    pub fn fail_after_frames(mut self, frames: usize, error: ApiError) -> Self {
        self.problem = self.problem.or(error.problem().map(Cow::Borrowed));
        self.end = Some((frames, Ending::Error(Box::new(error))));
        self
    }
}
