//! From a request that may pass to a reply: read, decide, word, frame.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use http::StatusCode;
use portunus_auth_core::BearerToken;
use portunus_auth_core::dialect::Operation;

use super::completion::Completion;
use super::embeddings::Embed;
use super::failure::{Cause, Halt};
use super::stream::{Framing, Stream};
use super::wire::{self, Asked, Wire};
use super::{Call, Failure, Llm, Plan, Trip, disturb, provider, refused};
use crate::answer::{self, Answer};
use crate::body::{End, Frames, Jitter};
use crate::reply::{Ending, Reply};

impl Llm {
    /// A reply of a model, or what it would cost.
    pub(super) fn complete(
        &self,
        trip: &mut Trip<'_>,
        operation: Operation,
        body: &[u8],
        key: Option<&BearerToken>,
    ) -> Result<Answer, Halt> {
        let (wire, framing) =
            wire::of(operation).ok_or_else(|| Failure::new(404, "there is no such route"))?;
        let call = wire.read(body, &Asked { operation, model: trip.model.as_deref() })?;
        let counted = match operation {
            Operation::CountMessageTokens => Some("input_tokens"),
            Operation::CountTokens => Some("totalTokens"),
            _ => None,
        };
        if let Some(name) = counted {
            let count = format!(r#"{{"{name}":{}}}"#, call.input_tokens());
            return Ok(answer::json(StatusCode::OK, count));
        }
        let (reply, mut waits) = self.decide(trip, &call, key)?;
        let created = trip.seen.at().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let completion = Completion::new(&call, &reply, &self.ids, created);
        let used = completion.usage.input + completion.usage.output;
        if !call.stream {
            let answer = answer::json(StatusCode::OK, disturb::body(wire.json(&completion), &reply));
            return Ok(self.limited(trip, &reply, used, answer));
        }
        let framing = if trip.as_array { Framing::Array } else { framing };
        let mut stream = Stream::new(framing);
        wire.stream(&completion, &mut stream);
        let end = self.cut(trip, wire, &completion, &mut stream);
        let frames = disturb::frames(stream.finish(), &reply, framing.is_events());
        let first = waits.draw(reply.delay.1);
        let frames =
            Frames::new(frames, reply.latency, waits, end).after(first).reset_after(reply.reset_after);
        Ok(self.limited(trip, &reply, used, answer::stream(framing.content_type(), frames)))
    }

    /// An answer with the rate limits that its reply states, or that the limiter has after it.
    fn limited(&self, trip: &Trip<'_>, reply: &Reply, used: u64, mut answer: Answer) -> Answer {
        let now = trip.seen.at();
        let limits = self.limiter.as_ref().map(|limiter| limiter.spend(used, now));
        if let Some(limits) = reply.limits.or(limits) {
            limits.state(trip.dialect, now, answer.headers_mut());
        }
        answer
    }

    pub(super) fn embed(
        &self,
        trip: &mut Trip<'_>,
        operation: Operation,
        body: &[u8],
        key: Option<&BearerToken>,
    ) -> Result<Answer, Halt> {
        let asked = Embed::read(operation, body, trip.model.as_deref())?;
        let (reply, _) = self.decide(trip, &asked.call, key)?;
        let answer = answer::json(StatusCode::OK, disturb::body(asked.answer(&reply), &reply));
        Ok(self.limited(trip, &reply, asked.call.input_tokens(), answer))
    }

    /// The reply to a call, once its key has paid for it, and what makes its waits longer.
    fn decide(
        &self,
        trip: &mut Trip<'_>,
        call: &Call,
        key: Option<&BearerToken>,
    ) -> Result<(Arc<Reply>, Jitter), Halt> {
        trip.model = Some(call.model.clone().into());
        if key.is_some_and(|key| !self.gate.allows(key, &call.model, trip.seen.path())) {
            return Err(Failure::of(Cause::Forbidden).into());
        }
        let plan = self.plan(trip, call, key)?;
        if let Some(limiter) = &self.limiter {
            limiter.take(trip.seen.at()).map_err(|(wait, limits)| Failure {
                retry_after: Some(wait),
                limits: Some(Box::new(limits)),
                ..Failure::of(Cause::RateLimited)
            })?;
        }
        if let Some(key) = key {
            self.gate.spend(key, trip.seen.at()).map_err(refused)?;
        }
        match plan {
            Plan::Fail(failure) => Err(failure.into()),
            Plan::Disturb(fault) => Err(Halt::Disturbed(fault)),
            Plan::Reply(reply, luck) => {
                let mut waits = Jitter::new(reply.jitter, luck);
                trip.delay = waits.draw(reply.delay.0);
                Ok((reply, waits))
            }
        }
    }

    /// Ends a stream too early, if it is to.
    fn cut(&self, trip: &Trip<'_>, wire: &dyn Wire, reply: &Completion<'_>, stream: &mut Stream) -> End {
        let Some((after, how)) = reply.end() else {
            stream.close();
            return End::Clean;
        };
        stream.truncate(*after);
        match how {
            Ending::Clean => End::Clean,
            Ending::Reset => End::Reset,
            Ending::Error(error) => {
                let about = self.about(trip);
                let failure = Failure::from(&**error);
                provider::word(provider::of(trip.dialect), &failure, &about, |error| {
                    if stream.has_exceptions() {
                        stream.exception(error);
                    } else {
                        wire.broken(reply, error, &about, stream);
                    }
                    stream.close();
                });
                End::Clean
            }
        }
    }
}
