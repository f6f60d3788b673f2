//! Names of things: one counter per kind and server, so that a transcript is the same every time.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Ids {
    request: AtomicU64,
    completion: AtomicU64,
    call: AtomicU64,
    message: AtomicU64,
    tool_use: AtomicU64,
}

fn next(counter: &AtomicU64, prefix: &str) -> String {
    format!("{prefix}{}", counter.fetch_add(1, Ordering::Relaxed) + 1)
}

impl Ids {
    pub(crate) fn request(&self) -> String {
        next(&self.request, "req_mock_")
    }

    pub(crate) fn completion(&self) -> String {
        next(&self.completion, "chatcmpl-mock-")
    }

    pub(crate) fn call(&self) -> String {
        next(&self.call, "call_mock_")
    }

    pub(crate) fn message(&self) -> String {
        next(&self.message, "msg_mock_")
    }

    pub(crate) fn tool_use(&self) -> String {
        next(&self.tool_use, "toolu_mock_")
    }
}
