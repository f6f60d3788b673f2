//! Frames that are not as they should be, because a reply says so.

use bytes::Bytes;

use crate::reply::{Reply, Which};

/// What an event stream may look like without being wrong: carriage returns, comments, and pieces that
/// end anywhere.
const COMMENT: &[u8] = b": keep-alive\r\n\r\n";
const PIECE: usize = 7;

/// The frames as the reply wants them. `events`: whether they are server-sent events.
pub(super) fn frames(mut frames: Vec<Bytes>, reply: &Reply, events: bool) -> Vec<Bytes> {
    match reply.corrupt {
        None => {}
        Some(Which::All) => frames.iter_mut().for_each(|frame| *frame = spoilt(frame)),
        Some(Which::One(index)) => frames.get_mut(index).into_iter().for_each(|frame| *frame = spoilt(frame)),
    }
    match reply.duplicate {
        None => {}
        Some(Which::All) => frames = frames.into_iter().flat_map(|frame| [frame.clone(), frame]).collect(),
        Some(Which::One(index)) => {
            if let Some(frame) = frames.get(index).cloned() {
                frames.insert(index, frame);
            }
        }
    }
    if reply.odd_framing && events { odd(&frames) } else { frames }
}

/// A body that is not streamed, as the reply wants it.
pub(super) fn body(body: Vec<u8>, reply: &Reply) -> Bytes {
    if let Some(Which::All) = reply.corrupt { spoilt(&body) } else { body.into() }
}

/// No JSON holds a zero byte, and no checksum survives it.
fn spoilt(bytes: &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte = 0);
    bytes.into()
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
