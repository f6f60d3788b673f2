//! How a reply is sent, and what goes wrong with it.

use serde::Deserialize;

use super::error::Failed;
use super::value::{Count, Millis, Probability, with};
use crate::reply::Reply;

/// What goes wrong with a reply.
#[derive(Deserialize)]
#[serde(try_from = "RawFailure")]
pub(super) struct Failure(RawFailure);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFailure {
    latency_ms: Option<Millis>,
    latency_jitter_ms: Option<Millis>,
    #[serde(default)]
    corrupt_body: bool,
    corrupt_frame: Option<usize>,
    #[serde(default)]
    duplicate_frames: bool,
    duplicate_frame: Option<usize>,
    #[serde(default)]
    odd_framing: bool,
    #[serde(alias = "truncate_after_chunks")]
    truncate_after_frames: Option<usize>,
    reset_after_frames: Option<usize>,
    disconnect_after_ms: Option<Millis>,
    fail_after_frames: Option<FailAfter>,
    probability: Option<Probability>,
    chaos_seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailAfter {
    frames: usize,
    error: Failed,
}

impl TryFrom<RawFailure> for Failure {
    type Error = &'static str;

    fn try_from(raw: RawFailure) -> Result<Self, &'static str> {
        let ends = [
            raw.truncate_after_frames.is_some(),
            raw.reset_after_frames.is_some(),
            raw.fail_after_frames.is_some(),
        ];
        if ends.into_iter().filter(|end| *end).count() > 1 {
            return Err("a stream ends too early in one way only: truncated, reset or with an error");
        }
        if raw.corrupt_body && raw.corrupt_frame.is_some()
            || raw.duplicate_frames && raw.duplicate_frame.is_some()
        {
            return Err("say that of all frames or of one, not of both");
        }
        Ok(Self(raw))
    }
}

impl Failure {
    /// With which probability it happens, unless always.
    pub(super) fn probability(&self) -> Option<f64> {
        self.0.probability.map(|probability| probability.0)
    }

    pub(super) fn seed(&self) -> Option<u64> {
        self.0.chaos_seed
    }

    pub(super) fn apply(self, mut reply: Reply) -> Reply {
        let Self(raw) = self;
        reply = with(reply, raw.latency_ms, |reply, wait| reply.delay(wait.0));
        reply = with(reply, raw.latency_jitter_ms, |reply, most| reply.jitter(most.0));
        if raw.corrupt_body {
            reply = reply.corrupt_body();
        }
        reply = with(reply, raw.corrupt_frame, Reply::corrupt_frame);
        if raw.duplicate_frames {
            reply = reply.duplicate_frames();
        }
        reply = with(reply, raw.duplicate_frame, Reply::duplicate_frame);
        if raw.odd_framing {
            reply = reply.odd_framing();
        }
        reply = with(reply, raw.truncate_after_frames, Reply::truncate_after_frames);
        reply = with(reply, raw.reset_after_frames, Reply::reset_after_frames);
        reply = with(reply, raw.disconnect_after_ms, |reply, time| reply.reset_after(time.0));
        with(reply, raw.fail_after_frames, |reply, after| {
            reply.fail_after_frames(after.frames, after.error.0)
        })
    }
}

/// How a stream is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Streaming {
    /// In milliseconds.
    latency: Option<Millis>,
    first_frame_ms: Option<Millis>,
    chunk_size: Option<Count>,
}

impl Streaming {
    pub(super) fn apply(self, reply: Reply) -> Reply {
        let reply = with(reply, self.latency, |reply, wait| reply.latency(wait.0));
        let reply = with(reply, self.first_frame_ms, |reply, wait| reply.first_frame_after(wait.0));
        with(reply, self.chunk_size, |reply, size| reply.chunk_size(size.0))
    }
}
