//! A request that was answered, in one piece of memory. In its own parts it holds the buffer that its
//! connection reads into, and is freed in a dozen places that are no longer in any cache.

use std::io::Write as _;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::capture::Recorded;
use crate::outcome::Outcome;

/// Memory of more than that is not used again.
const REUSED: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Packed {
    method: Method,
    at: SystemTime,
    status: u16,
    outcome: Option<Outcome>,
    body: usize,
    memory: Memory,
}

/// The URI, the headers and the body, the first two with their lengths before them.
#[derive(Default)]
pub(crate) struct Memory(Vec<u8>);

impl Packed {
    /// Packs a request into memory that is no longer needed.
    pub(crate) fn new(request: &Recorded, memory: Memory) -> Self {
        Self {
            method: request.method().clone(),
            at: request.at(),
            status: request.status().unwrap_or_default(),
            outcome: request.outcome().cloned(),
            body: request.body().len(),
            memory: memory.filled(request),
        }
    }

    pub(crate) fn request(&self) -> Recorded {
        let (uri, headers, body) = self.memory.parts().expect("what was packed can be unpacked");
        let request = Recorded::new(self.method.clone(), uri, headers, body, self.at);
        request.restore(self.status, self.outcome.clone());
        request
    }

    /// How long the body is.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body
    }

    pub(crate) fn into_memory(self) -> Memory {
        self.memory
    }
}

impl Memory {
    fn filled(self, request: &Recorded) -> Self {
        let mut memory = if self.0.capacity() > REUSED { Self::default() } else { self };
        memory.0.clear();
        let start = memory.begin();
        write!(memory.0, "{}", request.uri()).expect("memory takes whatever is written");
        memory.end(start);
        let headers = request.headers_with_secrets();
        memory.0.extend_from_slice(&headers.len().to_le_bytes());
        for (name, value) in headers {
            memory.add(name.as_str().as_bytes());
            memory.add(value.as_bytes());
        }
        memory.0.extend_from_slice(request.body());
        memory
    }

    /// `None` is for what was not filled.
    fn parts(&self) -> Option<(Uri, HeaderMap, Bytes)> {
        let mut rest = &*self.0;
        let uri = Uri::try_from(take(&mut rest)?).ok()?;
        let count = length(&mut rest)?;
        let mut headers = HeaderMap::with_capacity(count);
        for _ in 0..count {
            let name = HeaderName::from_bytes(take(&mut rest)?).ok()?;
            headers.append(name, HeaderValue::from_bytes(take(&mut rest)?).ok()?);
        }
        Some((uri, headers, Bytes::copy_from_slice(rest)))
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&bytes.len().to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// Leaves room for a length.
    fn begin(&mut self) -> usize {
        self.0.extend_from_slice(&0_usize.to_le_bytes());
        self.0.len()
    }

    /// Notes how much was added since.
    fn end(&mut self, start: usize) {
        let length = (self.0.len() - start).to_le_bytes();
        self.0[start - length.len()..start].copy_from_slice(&length);
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("bytes", &self.0.len()).finish()
    }
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    let (length, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(usize::from_le_bytes(*length))
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = length(rest)?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_unpacked_is_what_was_packed(
            path in "/[a-z/]{0,20}(\\?[a-z=&]{0,20})?",
            headers in prop::collection::vec(("[a-z][a-z-]{0,9}", prop::collection::vec(0x21_u8.., 0..20)), 0..6),
            body in prop::collection::vec(any::<u8>(), 0..200),
            before in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                    map.append(name, value);
                }
            }
            map.append("authorization", HeaderValue::from_static("Bearer canary"));
            let uri: Uri = path.parse().unwrap();
            let request = Recorded::new(Method::POST, uri.clone(), map.clone(), body.clone().into(), SystemTime::UNIX_EPOCH);
            request.restore(418, Some(Outcome::NoRoute));
            let packed = Packed::new(&request, Memory(before));
            prop_assert_eq!(packed.body_bytes(), body.len());
            let shown = format!("{packed:?}");
            prop_assert!(!shown.contains("canary"));

            let unpacked = packed.request();
            prop_assert_eq!(unpacked.method(), Method::POST);
            prop_assert_eq!(unpacked.uri(), &uri);
            prop_assert_eq!(unpacked.headers_with_secrets(), &map);
            prop_assert_eq!(unpacked.header("authorization"), Some("***"));
            prop_assert_eq!(&unpacked.body()[..], &body[..]);
            prop_assert_eq!(unpacked.status(), Some(418));
            prop_assert!(matches!(unpacked.outcome(), Some(Outcome::NoRoute)));
        }
    }
}
