//! The LLM provider: from a request to an answer, the same way for every dialect.

mod builtin;
mod call;
mod challenge;
mod completion;
mod disturb;
mod embeddings;
mod event_stream;
mod failure;
mod gate;
mod ids;
mod loaded;
mod models;
mod needles;
mod presented;
mod provider;
mod replying;
mod rules;
mod sigv4;
mod stream;
mod wire;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use portunus_auth_core::dialect::{NoRoute, Operation, Route};
use portunus_auth_core::{BearerToken, Dialect};

use crate::answer::{self, Answer};
use crate::api_error::ApiError;
use crate::body::{self, Unread};
use crate::capture::Recorded;
use crate::clock::VirtualClock;
use crate::fault::{Fault, Faults};
use crate::limiter::Limiter;
use crate::log::Log;
use crate::observer::Observer;
use crate::outcome::Outcome;
use crate::reply::Reply;
use crate::step::Kind;
use crate::subject::Subject;
#[cfg(feature = "fixtures")]
use crate::template;
use embeddings::Embed;
use failure::{Cause, Halt};
use provider::About;
use wire::Asked;

pub(crate) use call::Call;
pub(crate) use challenge::Resource;
pub(crate) use failure::Failure;
pub(crate) use gate::Gate;
pub(crate) use ids::Ids;
pub(crate) use loaded::{Chosen, Loaded};
pub(crate) use rules::Rules;
pub(crate) use sigv4::key_id;

/// What to do about a request.
#[derive(Debug)]
pub(crate) enum Plan {
    /// And the seed of what it leaves to chance.
    Reply(Arc<Reply>, u64),
    Fail(Failure),
    Disturb(Fault),
}

#[derive(Debug)]
pub(crate) struct Llm {
    pub(crate) gate: Gate,
    pub(crate) rules: Rules,
    pub(crate) faithful: bool,
    pub(crate) body_limit: usize,
    pub(crate) clock: VirtualClock,
    pub(crate) ids: Ids,
    pub(crate) log: Log,
    pub(crate) observer: Observer,
    /// The names of models that fail once and have done so.
    pub(crate) failed_once: Mutex<HashSet<String>>,
    /// The errors of the next requests.
    pub(crate) failing: Faults<ApiError>,
    pub(crate) limiter: Option<Limiter>,
    /// Set if challenges point to metadata.
    pub(crate) resource: Option<Resource>,
}

/// A request on its way through, and what is known of it so far.
struct Trip<'a> {
    seen: &'a Recorded,
    dialect: Dialect,
    request_id: &'a str,
    /// The model, once it is known.
    model: Option<Cow<'a, str>>,
    /// Whether a stream is an array, and so is an error in its place (Google's, without `alt=sse`).
    as_array: bool,
    /// How long to wait before answering.
    delay: Duration,
}

impl Llm {
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, incoming) = request.into_parts();
        let body = body::read(incoming, self.body_limit).await;
        let kept = body.clone().unwrap_or_default();
        let seen = Recorded::new(head.method, head.uri, head.headers, kept, self.clock.now());
        let place = self.log.add(seen.clone());

        let route = Dialect::find(seen.path());
        let dialect = dialect(route, &seen);
        let request_id = self.ids.request();
        let mut trip = Trip {
            seen: &seen,
            dialect,
            request_id: &request_id,
            model: None,
            as_array: as_array(route, &seen),
            delay: Duration::ZERO,
        };
        let mut answer = match self.answer(&mut trip, route, body) {
            Ok(answer) => answer,
            Err(Halt::Disturbed(fault)) => fault.answer().await,
            Err(Halt::Failed(failure)) => self.failed(&trip, &failure),
        };
        if !trip.delay.is_zero() {
            tokio::time::sleep(trip.delay).await;
        }
        if let Ok(id) = HeaderValue::try_from(&request_id) {
            answer.headers_mut().insert(dialect.request_id_header(), id);
        }
        if self.faithful {
            provider::of(dialect).account(answer.headers_mut());
        }
        self.log.answered(place, &seen, answer.status());
        self.observer.tell(&seen);
        answer::date(answer, self.clock.now())
    }

    fn answer(
        &self,
        trip: &mut Trip<'_>,
        route: Option<Route>,
        body: Result<Bytes, Unread>,
    ) -> Result<Answer, Halt> {
        let seen = trip.seen;
        if let Some(answer) = self.open(seen.path()) {
            return Ok(answer);
        }
        let found = self.gate.admit(trip.dialect, seen, seen.at(), self.faithful);
        let key = found.map_err(refused)?;
        let route = route.ok_or_else(|| {
            seen.came_to(Outcome::NoRoute);
            Failure::new(404, "there is no such route")
        })?;
        let route = route.taking(seen.method()).map_err(|wrong| {
            let failure = Failure::new(405, "the route takes another method");
            let allow = if let NoRoute::WrongMethod(allowed) = wrong { Some(allowed) } else { None };
            Failure { allow, ..failure }
        })?;
        trip.model = route.model(seen.path());
        if let Operation::ListModels | Operation::GetModel = route.operation {
            return Ok(list(trip)?);
        }
        let body = body.map_err(|unread| match unread {
            Unread::TooLarge => Failure::new(413, "the request is too large"),
            Unread::Broken => Failure::new(400, "the body broke off"),
        })?;
        match route.operation {
            Operation::Embeddings | Operation::EmbedContent | Operation::BatchEmbedContents => {
                self.embed(trip, route.operation, &body, key.as_ref())
            }
            operation => self.complete(trip, operation, &body, key.as_ref()),
        }
    }

    /// What is answered to everybody: `/health`, metadata, and `/code/STATUS` with that status.
    fn open(&self, path: &str) -> Option<Answer> {
        match (path, &self.resource) {
            ("/health", _) => return Some(answer::json(StatusCode::OK, r#"{"status":"ok"}"#)),
            (challenge::PATH, Some(resource)) => {
                return Some(answer::json(StatusCode::OK, resource.metadata()));
            }
            _ => {}
        }
        // A status below 200 is no answer yet.
        let status =
            path.strip_prefix("/code/")?.parse().ok().filter(|status| (200..600).contains(status))?;
        let mut answer = answer::json(StatusCode::from_u16(status).ok()?, "");
        if (300..400).contains(&status) {
            answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
        }
        Some(answer)
    }

    /// Begins anew: keys have the uses that they had, names are counted from 1, and nothing was asked.
    pub(crate) fn reset(&self) {
        self.gate.reset(self.clock.now());
        self.ids.reset();
        self.rules.reset();
        self.log.clear();
        self.failing.clear();
        self.limiter.iter().for_each(Limiter::reset);
        self.failed_once.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What to answer. The 404 does not repeat the request's text, which would end up in some CI's
    /// output.
    fn plan(&self, trip: &Trip<'_>, call: &Call, key: Option<&BearerToken>) -> Result<Plan, Failure> {
        if let Some(error) = self.failing.next() {
            return Ok(Plan::Fail(Failure::from(&error)));
        }
        if self.rules.are_empty() {
            return builtin::plan(call, &self.failed_once);
        }
        let subject = Subject::new(call, trip.dialect, key, trip.seen);
        let Some(Chosen { step, luck, name }) = self.rules.choose(&subject) else {
            let nearest = self.rules.nearest(&subject);
            tracing::debug!(?nearest, "no fixture matches");
            trip.seen.came_to(Outcome::Unmatched(nearest));
            return Err(Failure::new(404, "no fixture matches this request"));
        };
        trip.seen.came_to(Outcome::Answered(name));
        let plan = match step.0 {
            Kind::Reply(reply) => Plan::Reply(reply, luck),
            Kind::Made(make) => {
                let mut reply = make(trip.seen);
                // What is wrong may quote the request.
                if reply.problem.is_some() {
                    return Err(Failure::new(500, "the reply made for this request can never be sent"));
                }
                reply.fill();
                Plan::Reply(Arc::new(reply), luck)
            }
            Kind::Error(error) => Plan::Fail(Failure::from(&*error)),
            Kind::Fault(fault) => Plan::Disturb(fault),
        };
        #[cfg(feature = "fixtures")]
        if let Plan::Reply(reply, luck) = &plan
            && !reply.templates.is_empty()
        {
            let filled = template::fill(reply, &subject, trip.request_id);
            let failed = |says: String| Failure::new(500, says);
            return filled.map(|reply| Plan::Reply(Arc::new(reply), *luck)).map_err(failed);
        }
        Ok(plan)
    }

    fn about<'t>(&self, trip: &'t Trip<'_>) -> About<'t> {
        let (model, faithful) = (trip.model.as_deref().unwrap_or_default(), self.faithful);
        About { request_id: trip.request_id, model, faithful, retry_after: None }
    }

    /// An error in the dialect's own words.
    fn failed(&self, trip: &Trip<'_>, failure: &Failure) -> Answer {
        let provider = provider::of(trip.dialect);
        let about = self.about(trip);
        let mut answer = provider::word(provider, failure, &about, |error| {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut body = provider.error(error, &about);
            if trip.as_array {
                body = [b"[".as_slice(), &body, b"]"].concat();
            }
            let mut answer = answer::json(status, body);
            provider.error_headers(error, answer.headers_mut());
            answer
        });
        let headers = answer.headers_mut();
        if let Some(limits) = &failure.limits {
            limits.state(trip.dialect, trip.seen.at(), headers);
        }
        if let Some(chosen) = &failure.headers {
            for (name, value) in chosen.iter() {
                headers.insert(name, value.clone());
            }
        }
        if let Some(allow) = failure.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        let status = answer.status().as_u16();
        if let Some(challenge) = challenge::of(&failure.cause, status, self.resource.as_ref()) {
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}

/// What a request asks of a model, if it does.
pub(crate) fn read(seen: &Recorded) -> Option<Call> {
    let route = Dialect::find(seen.path())?;
    let (operation, model) = (route.operation, route.model(seen.path()));
    let model = model.as_deref();
    match wire::of(operation) {
        Some((wire, _)) => wire.read(seen.body(), &Asked { operation, model }).ok(),
        None => Embed::read(operation, seen.body(), model).ok().map(|asked| asked.call),
    }
}

fn as_array(route: Option<Route>, seen: &Recorded) -> bool {
    let streams = route.is_some_and(|route| route.operation == Operation::StreamGenerateContent);
    let mut query = form_urlencoded::parse(seen.query().unwrap_or_default().as_bytes());
    streams && !query.any(|(name, value)| name == "alt" && value == "sse")
}

/// The models, or the one that the path names.
fn list(trip: &Trip<'_>) -> Result<Answer, Failure> {
    let body = match trip.model.as_deref() {
        Some(builtin::NO_MODEL) => return Err(Failure::new(404, "the model does not exist")),
        Some(id) => models::one(trip.dialect, id),
        None => models::list(trip.dialect),
    };
    Ok(answer::json(StatusCode::OK, body))
}

fn refused(refused: gate::Refused) -> Failure {
    Failure::of(Cause::Refused(refused))
}

/// The dialect of a route; where there is none, or several dialects share it, the caller's headers decide.
fn dialect(route: Option<Route>, seen: &Recorded) -> Dialect {
    let headers: &HeaderMap = seen.headers_with_secrets();
    let has = |name: &str| headers.contains_key(name);
    let lists = |operation| matches!(operation, Operation::ListModels | Operation::GetModel);
    match route {
        Some(Route { dialect: Dialect::OpenAi, operation, .. }) if lists(operation) => {
            if has("x-api-key") || has("anthropic-version") {
                Dialect::Anthropic
            } else if has("x-goog-api-key") {
                Dialect::Gemini
            } else {
                Dialect::OpenAi
            }
        }
        Some(route) => route.dialect,
        None => Dialect::guess(seen.path(), headers),
    }
}
