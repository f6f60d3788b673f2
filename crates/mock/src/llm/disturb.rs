//! Frames that are not as they should be, because a reply says so.

use bytes::Bytes;

use crate::reply::Reply;

/// What an event stream may look like without being wrong: carriage returns, comments, and pieces that
/// end anywhere.
const COMMENT: &[u8] = b": keep-alive\r\n\r\n";
const PIECE: usize = 7;

/// The frames as the reply wants them. `events`: whether they are server-sent events.
pub(super) fn frames(mut frames: Vec<Bytes>, reply: &Reply, events: bool) -> Vec<Bytes> {
    if let Some(frame) = reply.corrupt.and_then(|index| frames.get_mut(index)) {
        let mut bytes = frame.to_vec();
        // No JSON holds this, and no checksum survives it.
        let middle = bytes.len() / 2;
        bytes[middle] = 0;
        *frame = bytes.into();
    }
    if let Some((index, frame)) = reply.duplicate.and_then(|at| Some((at, frames.get(at)?.clone()))) {
        frames.insert(index, frame);
    }
    if reply.odd_framing && events { odd(&frames) } else { frames }
}

fn odd(frames: &[Bytes]) -> Vec<Bytes> {
    let mut bytes = Vec::new();
    for frame in frames {
        bytes.extend_from_slice(COMMENT);
        for line in frame.split_inclusive(|byte| *byte == b'\n') {
            match line.split_last() {
                Some((b'\n', line)) => bytes.extend([line, b"\r\n"].concat()),
                _ => bytes.extend_from_slice(line),
            }
        }
    }
    bytes.chunks(PIECE).map(Bytes::copy_from_slice).collect()
}
