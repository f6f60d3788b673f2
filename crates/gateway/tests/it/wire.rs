//! Bytes to the gateway, and its answers back.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Writes, and reads until the gateway closes the connection.
pub(crate) fn talk(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // A gateway that has had enough may close, or reset, while we still write or read.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// One answer among the bytes of a connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether a request was understood well enough for the gateway to look at it: the HTTP parser's
    /// own refusals carry no id.
    pub(crate) seen: bool,
    pub(crate) complete: bool,
    pub(crate) body: Vec<u8>,
}

/// The answers among the bytes of a connection.
pub(crate) fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut found = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
        bytes = &bytes[end + 4..];
        let (body, complete) = match (value("content-length:"), value("transfer-encoding:")) {
            _ if matches!(status, 100..200 | 204 | 304) => (Vec::new(), true),
            (Some(length), _) => {
                let length: usize = length.parse().unwrap();
                let body = take(&mut bytes, length);
                (body.to_vec(), body.len() == length)
            }
            (None, Some("chunked")) => chunks(&mut bytes),
            // Ends with the connection, so nobody can tell whether it is whole.
            _ => (take(&mut bytes, usize::MAX).to_vec(), false),
        };
        found.push(Answer { status, seen: value("portunus-request-id:").is_some(), complete, body });
    }
    found
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(length.min(bytes.len()));
    *bytes = rest;
    taken
}

fn chunks(bytes: &mut &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        take(bytes, end + 2);
        let chunk = take(bytes, size);
        body.extend_from_slice(chunk);
        if chunk.len() < size || take(bytes, 2).len() < 2 {
            break;
        }
        if size == 0 {
            return (body, true);
        }
    }
    (body, false)
}
