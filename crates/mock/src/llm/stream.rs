//! The frames of a streamed answer, written once, one behind the other into one buffer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::event_stream;
use super::provider::{Worded, exception};

/// How an event becomes a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Server-sent events without a name.
    Data,
    /// Server-sent events with their name.
    Named,
    /// The elements of a JSON array.
    Array,
    /// Messages of AWS's event stream, of the event's own type.
    Aws,
    /// Messages of AWS's event stream, each of which holds an event of a model's own format.
    AwsChunks,
}

impl Framing {
    pub(super) fn is_events(self) -> bool {
        matches!(self, Self::Data | Self::Named)
    }

    /// The media type of a stream.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Data | Self::Named => "text/event-stream; charset=utf-8",
            Self::Array => "application/json; charset=UTF-8",
            Self::Aws | Self::AwsChunks => "application/vnd.amazon.eventstream",
        }
    }
}

/// The frames of one answer.
#[derive(Debug)]
pub(super) struct Stream {
    framing: Framing,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

#[derive(Serialize)]
struct AwsChunk {
    bytes: String,
}

#[derive(Serialize)]
struct AwsError<'a> {
    message: &'a str,
}

impl Stream {
    pub(super) fn new(framing: Framing) -> Self {
        Self { framing, bytes: Vec::with_capacity(4 << 10), ends: Vec::with_capacity(16) }
    }

    /// Adds an event. Only some framings say its name.
    pub(super) fn event(&mut self, name: &str, data: &impl Serialize) {
        match self.framing {
            Framing::Data => {
                self.text("data: ");
                self.json(data);
                self.text("\n\n");
            }
            Framing::Named => {
                self.text("event: ");
                self.text(name);
                self.text("\ndata: ");
                self.json(data);
                self.text("\n\n");
            }
            Framing::Array => {
                self.text(if self.ends.is_empty() { "[" } else { "\n,\n" });
                self.json(data);
            }
            Framing::Aws => event_stream::message(&mut self.bytes, "event", name, data),
            Framing::AwsChunks => {
                let bytes = STANDARD.encode(crate::answer::write(data));
                event_stream::message(&mut self.bytes, "event", "chunk", &AwsChunk { bytes });
            }
        }
        self.end();
    }

    /// Adds a frame that is not an event of the dialect's.
    pub(super) fn raw(&mut self, frame: &str) {
        self.text(frame);
        self.end();
    }

    /// Adds JSON as it is, without any framing but that of an array.
    pub(super) fn bare(&mut self, data: &impl Serialize) {
        if self.framing == Framing::Array {
            return self.event("", data);
        }
        serde_json::to_writer_pretty(&mut self.bytes, data).expect("plain structs are always written");
        self.end();
    }

    /// Adds an exception of AWS's event stream.
    pub(super) fn exception(&mut self, error: &Worded<'_>) {
        // In a stream its name begins with a small letter.
        let mut name = exception(error.status).to_owned();
        name[..1].make_ascii_lowercase();
        event_stream::message(&mut self.bytes, "exception", &name, &AwsError { message: error.message });
        self.end();
    }

    /// Whether errors are exceptions of the framing.
    pub(super) fn has_exceptions(&self) -> bool {
        matches!(self.framing, Framing::Aws | Framing::AwsChunks)
    }

    /// How many frames there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Forgets all but the first frames.
    pub(super) fn truncate(&mut self, frames: usize) {
        self.ends.truncate(frames);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Adds what a whole stream ends with.
    pub(super) fn close(&mut self) {
        if self.framing == Framing::Array {
            self.text("]");
            match self.ends.last_mut() {
                Some(end) => *end = self.bytes.len(),
                None => self.end(),
            }
        }
    }

    /// The frames, none of which is copied.
    pub(super) fn finish(self) -> Vec<Bytes> {
        let (mut bytes, mut start) = (Bytes::from(self.bytes), 0);
        let frame = |end: &usize| {
            let frame = bytes.split_to(end - start);
            start = *end;
            frame
        };
        self.ends.iter().map(frame).collect()
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn json(&mut self, data: &impl Serialize) {
        serde_json::to_writer(&mut self.bytes, data).expect("plain structs are always written");
    }

    fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }
}
