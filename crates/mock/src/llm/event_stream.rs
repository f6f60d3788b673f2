//! AWS's event stream encoding: lengths, a checksum of them, headers, a payload, and a checksum of all.
//! <https://smithy.io/2.0/aws/amazon-eventstream.html>

use serde::Serialize;

/// The type of a header's value that is text.
const STRING: u8 = 7;
/// The two lengths and their checksum.
const PRELUDE: usize = 12;

/// Appends a message. `kind`: `event` or `exception`; `name`: which one.
pub(super) fn message(into: &mut Vec<u8>, kind: &str, name: &str, payload: &impl Serialize) {
    let start = into.len();
    into.extend_from_slice(&[0; PRELUDE]);
    header(into, if kind == "event" { ":event-type" } else { ":exception-type" }, name);
    header(into, ":content-type", "application/json");
    header(into, ":message-type", kind);
    let headers = into.len() - start - PRELUDE;
    serde_json::to_writer(&mut *into, payload).expect("plain structs are always written");
    let total = into.len() - start + 4;
    into[start..start + 4].copy_from_slice(&length(total));
    into[start + 4..start + 8].copy_from_slice(&length(headers));
    let checksum = crc32fast::hash(&into[start..start + 8]).to_be_bytes();
    into[start + 8..start + PRELUDE].copy_from_slice(&checksum);
    let checksum = crc32fast::hash(&into[start..]).to_be_bytes();
    into.extend_from_slice(&checksum);
}

fn header(into: &mut Vec<u8>, name: &str, value: &str) {
    into.extend(u8::try_from(name.len()));
    into.extend_from_slice(name.as_bytes());
    into.push(STRING);
    into.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    into.extend_from_slice(value.as_bytes());
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}
