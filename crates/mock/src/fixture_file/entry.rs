//! One entry of a file: which requests it matches, and what it answers.

use serde::Deserialize;

use super::condition::{Match, Provider};
use super::error::{Failed, Instead};
use super::failure::{Failure, Streaming};
use super::response::{Refusal, Response};
use super::value::{Count, Expected, Nonempty, Probability, with};
use crate::fault::Fault;
use crate::fixture::Fixture;
use crate::reply::Reply;
use crate::step::Step;

/// The fixtures that it stands for: one, or two if it goes wrong now and then.
#[derive(Deserialize)]
#[serde(try_from = "RawEntry")]
pub(super) struct Entry(pub(super) Vec<Fixture>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    name: Option<Nonempty>,
    #[serde(default, rename = "match")]
    matches: Match,
    provider: Option<Provider>,
    response: Option<Response>,
    error: Option<Failed>,
    refusal: Option<Refusal>,
    fault: Option<Instead>,
    sequence: Option<Vec<SequenceStep>>,
    failure: Option<Failure>,
    streaming: Option<Streaming>,
    scenario: Option<Scenario>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    catch_all: bool,
    up_to: Option<Count>,
    probability: Option<Probability>,
    expect: Option<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: Nonempty,
    required_state: Option<String>,
    set_state: Option<String>,
}

/// One answer, with what goes wrong with it.
struct Answer {
    step: Step,
    /// Without what goes wrong, and how often that is not so.
    mostly: Option<(Step, f64)>,
    seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(try_from = "RawStep")]
struct SequenceStep(Step);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    response: Option<Response>,
    error: Option<Failed>,
    refusal: Option<Refusal>,
    fault: Option<Instead>,
    failure: Option<Failure>,
    streaming: Option<Streaming>,
}

impl TryFrom<RawStep> for SequenceStep {
    type Error = &'static str;

    fn try_from(raw: RawStep) -> Result<Self, &'static str> {
        match raw.answer()? {
            Answer { step, mostly: None, seed: None } => Ok(Self(step)),
            _ => Err("a step of a sequence leaves nothing to chance"),
        }
    }
}

impl RawStep {
    fn is_empty(&self) -> bool {
        let answers = self.response.is_some() || self.error.is_some() || self.refusal.is_some();
        !(answers || self.fault.is_some() || self.failure.is_some() || self.streaming.is_some())
    }

    fn answer(self) -> Result<Answer, &'static str> {
        let Self { failure, streaming, .. } = self;
        let step = match (self.response, self.error, self.refusal, self.fault) {
            (Some(Response(reply)), None, None, None) => {
                let reply = with(reply, streaming, |reply, streaming| streaming.apply(reply));
                let Some(failure) = failure else { return Ok(Answer::sure(reply.into())) };
                let seed = failure.seed();
                let mostly = failure.probability().map(|probability| (reply.clone().into(), probability));
                return Ok(Answer { step: failure.apply(reply).into(), mostly, seed });
            }
            (None, None, Some(refusal), None) if failure.is_none() => {
                let reply = Reply::new().refusal(refusal.reason.0);
                let reply = with(reply, streaming, |reply, streaming| streaming.apply(reply));
                return Ok(Answer::sure(reply.into()));
            }
            (None, None, Some(_), None) => return Err("a `refusal` goes with no `failure`"),
            (None, Some(Failed(error)), None, None) => error.into(),
            (None, None, None, Some(fault)) => Fault::from(fault).into(),
            _ => return Err(ONE_ANSWER),
        };
        if failure.is_some() || streaming.is_some() {
            return Err("`failure` and `streaming` go with a `response`");
        }
        Ok(Answer::sure(step))
    }
}

const ONE_ANSWER: &str =
    "a fixture answers exactly one of `response`, `error`, `refusal`, `fault` and `sequence`";

impl Answer {
    fn sure(step: Step) -> Self {
        Self { step, mostly: None, seed: None }
    }
}

impl TryFrom<RawEntry> for Entry {
    type Error = String;

    fn try_from(raw: RawEntry) -> Result<Self, String> {
        // Where a fixture is two, neither of them is counted like it.
        let counted = raw.up_to.is_some() || raw.probability.is_some() || raw.expect.is_some();
        let mut fixture = raw.matches.apply(Fixture::new()).priority(raw.priority);
        fixture = with(fixture, raw.provider, |fixture, provider| provider.apply(fixture));
        fixture = with(fixture, raw.name, |fixture, name| fixture.named(name.0));
        fixture = with(fixture, raw.expect, |fixture, times| fixture.expect(times.0));
        fixture = with(fixture, raw.up_to, |fixture, times| fixture.up_to(times.0));
        fixture = with(fixture, raw.probability, |fixture, chance| fixture.probability(chance.0));
        if raw.catch_all {
            fixture = fixture.catch_all();
        }
        if let Some(Scenario { name: Nonempty(name), required_state, set_state }) = raw.scenario {
            fixture = with(fixture, required_state, |fixture, state| fixture.in_state(&name, state));
            fixture = with(fixture, set_state, |fixture, state| fixture.sets_state(&name, state));
        }
        let (response, error, refusal, fault) = (raw.response, raw.error, raw.refusal, raw.fault);
        let step =
            RawStep { response, error, refusal, fault, failure: raw.failure, streaming: raw.streaming };
        let fixtures = match raw.sequence {
            Some(steps) if step.is_empty() => vec![fixture.sequence(steps.into_iter().map(|step| step.0))],
            Some(_) => return Err(format!("{ONE_ANSWER}; `failure` and `streaming` stand in its steps")),
            None => {
                let Answer { step, mostly, seed } = step.answer()?;
                let fixture = with(fixture, seed, Fixture::seed);
                match mostly {
                    None => vec![fixture.always(step)],
                    Some(_) if counted => {
                        return Err("a failure's `probability` goes with no `up_to`, `probability` or \
                            `expect` of its fixture"
                            .to_owned());
                    }
                    Some((mostly, probability)) => {
                        vec![fixture.clone().probability(probability).always(step), fixture.always(mostly)]
                    }
                }
            }
        };
        match fixtures.iter().find_map(Fixture::problem) {
            Some(says) => Err(says.into_owned()),
            None => Ok(Self(fixtures)),
        }
    }
}
