//! The LLM provider: from a request to an answer, the same way for every dialect.

mod anthropic;
mod builtin;
mod call;
mod gate;
mod ids;
mod openai;
mod reply;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use portunus_auth_core::dialect::{NoRoute, Operation, Route};
use portunus_auth_core::{BearerToken, Clock, Dialect};

use crate::answer::{self, Answer};
use crate::body::{self, End, Frames, Unread};
use crate::capture::{Log, Recorded};
use crate::fixture::Fixture;

pub(crate) use call::Call;
pub(crate) use gate::{Gate, Refused};
pub(crate) use ids::Ids;
pub(crate) use reply::{Part, Plan, Reply, Script};

/// An error in a dialect's own words: its status and what it says.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) message: Cow<'static, str>,
    /// Set on a 401.
    pub(crate) refused: Option<Refused>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    pub(crate) fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), refused: None, headers: Vec::new() }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// One second, the least that a client can be told.
    fn retry_soon(self) -> Self {
        self.with(RETRY_AFTER, "1")
    }
}

/// What differs from one dialect to the next.
trait Wire: Sync {
    /// Reads a request's body.
    fn read(&self, body: &[u8], asked: Asked) -> Result<Call, Failure>;
    /// The whole answer as JSON.
    fn json(&self, reply: &Reply<'_>) -> Vec<u8>;
    /// The answer as server-sent events, one frame each.
    fn frames(&self, reply: &Reply<'_>) -> Vec<Bytes>;
    fn reply_id(&self, ids: &Ids) -> String;
    fn tool_id(&self, ids: &Ids) -> String;
    /// What a 401 says when the server speaks as the provider does.
    fn refusal(&self, refused: &Refused) -> Cow<'static, str>;
    fn error(&self, failure: &Failure, request_id: &str, faithful: bool) -> Vec<u8>;
    fn models(&self) -> Vec<u8>;
}

/// What is asked about the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Completion,
    TokenCount,
}

/// The dialect's wire format. Whatever has none of its own speaks like OpenAI.
fn wire(dialect: Dialect) -> &'static dyn Wire {
    match dialect {
        Dialect::Anthropic => &anthropic::Anthropic,
        _ => &openai::OpenAi,
    }
}

#[derive(Debug)]
pub(crate) struct Llm {
    pub(crate) gate: Gate,
    pub(crate) fixtures: Vec<Fixture>,
    pub(crate) faithful: bool,
    pub(crate) body_limit: usize,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Ids,
    pub(crate) log: Log,
    /// The names of models that fail once and have done so.
    pub(crate) failed_once: Mutex<HashSet<String>>,
}

impl Llm {
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, incoming) = request.into_parts();
        let body = body::read(incoming, self.body_limit).await;
        let kept = body.clone().unwrap_or_default();
        let seen = Recorded::new(head.method, head.uri, head.headers, kept, self.clock.now());
        self.log.add(seen.clone());

        let dialect = dialect(seen.path(), seen.headers_with_secrets());
        let request_id = self.ids.request();
        let mut answer = self.answer(dialect, &seen, body).unwrap_or_else(|failure| {
            let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut answer = answer::json(status, wire(dialect).error(&failure, &request_id, self.faithful));
            answer.headers_mut().extend(failure.headers);
            answer
        });
        if let Ok(id) = HeaderValue::try_from(request_id) {
            answer.headers_mut().insert(dialect.request_id_header(), id);
        }
        seen.answered(answer.status());
        answer
    }

    fn answer(
        &self,
        dialect: Dialect,
        seen: &Recorded,
        body: Result<Bytes, Unread>,
    ) -> Result<Answer, Failure> {
        if seen.path() == "/health" {
            return Ok(answer::json(StatusCode::OK, r#"{"status":"ok"}"#));
        }
        let found = self.gate.admit(dialect, seen.headers_with_secrets(), self.clock.now(), self.faithful);
        let key = found.map_err(|refused| self.unauthorized(dialect, refused))?;
        let asked = match (seen.path(), seen.method()) {
            ("/v1/models", &Method::GET) => {
                return Ok(answer::json(StatusCode::OK, wire(dialect).models()));
            }
            ("/v1/messages/count_tokens", &Method::POST) => Asked::TokenCount,
            (path, method) => match Dialect::route(method, path) {
                Ok(Route { operation: Operation::ChatCompletions | Operation::Messages, .. }) => {
                    Asked::Completion
                }
                Err(NoRoute::WrongMethod(allowed)) => {
                    return Err(Failure::new(405, "the route takes another method").with(ALLOW, allowed));
                }
                Ok(_) | Err(NoRoute::UnknownPath) => {
                    return Err(Failure::new(404, "there is no such route"));
                }
            },
        };
        let body = body.map_err(|unread| match unread {
            Unread::TooLarge => Failure::new(413, "the request is too large"),
            Unread::Broken => Failure::new(400, "the body broke off"),
        })?;
        let call = wire(dialect).read(&body, asked)?;
        if asked == Asked::TokenCount {
            let count = format!(r#"{{"input_tokens":{}}}"#, call.input_tokens());
            return Ok(answer::json(StatusCode::OK, count));
        }
        let plan = self.plan(&call, key.as_ref())?;
        if let Some(key) = &key {
            self.gate.spend(key).map_err(|refused| self.unauthorized(dialect, refused))?;
        }
        match plan {
            Plan::Fail(failure) => Err(failure),
            Plan::Reply(script) => Ok(self.reply(dialect, &call, &script)),
        }
    }

    fn unauthorized(&self, dialect: Dialect, refused: Refused) -> Failure {
        let message =
            if self.faithful { wire(dialect).refusal(&refused) } else { "Invalid bearer token".into() };
        let failure = Failure::new(401, message).with(WWW_AUTHENTICATE, r#"Bearer realm="api""#);
        Failure { refused: Some(refused), ..failure }
    }

    /// What to answer. The 404 does not repeat the request's text, which would end up in some CI's
    /// output.
    fn plan(&self, call: &Call, key: Option<&BearerToken>) -> Result<Plan<'_>, Failure> {
        if self.fixtures.is_empty() {
            return builtin::plan(call, &self.failed_once);
        }
        let matched = self.fixtures.iter().find(|fixture| fixture.matches(call, key));
        matched.map(Fixture::plan).ok_or_else(|| {
            tracing::debug!(fixtures = self.fixtures.len(), "no fixture matches");
            Failure::new(404, "no fixture matches this request")
        })
    }

    fn reply(&self, dialect: Dialect, call: &Call, script: &Script<'_>) -> Answer {
        let wire = wire(dialect);
        let created = self.clock.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let reply = Reply::new(call, script, wire.reply_id(&self.ids), created, || wire.tool_id(&self.ids));
        if !call.stream {
            return answer::json(StatusCode::OK, wire.json(&reply));
        }
        let mut frames = wire.frames(&reply);
        let mut end = End::Clean;
        if let Some((after, how)) = script.end {
            frames.truncate(after);
            end = how;
        }
        answer::events(Frames::new(frames, script.latency, end))
    }
}

/// The dialect of a route; where there is none, or two dialects share it, the caller's headers decide.
fn dialect(path: &str, headers: &HeaderMap) -> Dialect {
    match Dialect::route(&Method::POST, path) {
        Ok(route) => route.dialect,
        Err(_) if path == "/v1/models" && headers.contains_key("x-api-key") => Dialect::Anthropic,
        Err(_) => Dialect::guess(path, headers),
    }
}
