//! Names of things: one counter per kind and server, so that a transcript is the same every time.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted apart.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Request,
    Completion,
    Call,
    Message,
    ToolUse,
    Response,
    FunctionCall,
    Reasoning,
    Gemini,
    BedrockTool,
}

const KINDS: usize = 10;

#[derive(Debug, Default)]
pub(crate) struct Ids([AtomicU64; KINDS]);

impl Ids {
    pub(crate) fn request(&self) -> String {
        self.next(Kind::Request, "req_mock_")
    }

    pub(crate) fn completion(&self) -> String {
        self.next(Kind::Completion, "chatcmpl-mock-")
    }

    pub(crate) fn call(&self) -> String {
        self.next(Kind::Call, "call_mock_")
    }

    pub(crate) fn message(&self) -> String {
        self.next(Kind::Message, "msg_mock_")
    }

    pub(crate) fn tool_use(&self) -> String {
        self.next(Kind::ToolUse, "toolu_mock_")
    }

    pub(crate) fn response(&self) -> String {
        self.next(Kind::Response, "resp_mock_")
    }

    pub(crate) fn function_call(&self) -> String {
        self.next(Kind::FunctionCall, "fc_mock_")
    }

    pub(crate) fn reasoning(&self) -> String {
        self.next(Kind::Reasoning, "rs_mock_")
    }

    pub(crate) fn gemini(&self) -> String {
        self.next(Kind::Gemini, "gemini_mock_")
    }

    pub(crate) fn bedrock_tool(&self) -> String {
        self.next(Kind::BedrockTool, "tooluse_mock_")
    }

    /// Counts from 1 again.
    pub(crate) fn reset(&self) {
        self.0.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    }

    fn next(&self, kind: Kind, prefix: &str) -> String {
        let number = self.0[kind as usize].fetch_add(1, Ordering::Relaxed) + 1;
        [prefix, itoa::Buffer::new().format(number)].concat()
    }
}
