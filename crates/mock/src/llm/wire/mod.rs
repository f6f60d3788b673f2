//! The formats of requests and replies, one file each. Several dialects may share one.

mod chat;
mod converse;
mod gemini;
mod messages;
mod responses;

use portunus_auth_core::dialect::Operation;

use super::Failure;
use super::call::Call;
use super::completion::Completion;
use super::provider::{About, Worded};
use super::stream::{Framing, Stream};

/// A format of requests and replies.
pub(super) trait Wire: Sync {
    /// Reads a request's body.
    fn read(&self, body: &[u8], asked: &Asked<'_>) -> Result<Call, Failure>;
    /// The whole reply as JSON.
    fn json(&self, reply: &Completion<'_>) -> Vec<u8>;
    /// The reply as events.
    fn stream(&self, reply: &Completion<'_>, into: &mut Stream);
    /// What a stream says when it breaks off with an error.
    fn broken(&self, reply: &Completion<'_>, error: &Worded<'_>, about: &About<'_>, into: &mut Stream);
}

/// What a request's path asks for.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) operation: Operation,
    /// The model, where the path names it.
    pub(super) model: Option<&'a str>,
}

/// The format of an operation that is answered with a reply, and how it is streamed.
pub(super) fn of(operation: Operation) -> Option<(&'static dyn Wire, Framing)> {
    Some(match operation {
        Operation::ChatCompletions => (&chat::Chat, Framing::Data),
        Operation::Responses => (&responses::Responses, Framing::Named),
        Operation::Messages | Operation::CountMessageTokens => (&messages::Messages, Framing::Named),
        Operation::RawPredict | Operation::StreamRawPredict => (&messages::Messages, Framing::Named),
        Operation::GenerateContent | Operation::StreamGenerateContent | Operation::CountTokens => {
            (&gemini::Gemini, Framing::Data)
        }
        Operation::Converse | Operation::ConverseStream => (&converse::Converse, Framing::Aws),
        Operation::InvokeModel | Operation::InvokeModelWithResponseStream => {
            (&messages::Messages, Framing::AwsChunks)
        }
        _ => return None,
    })
}
