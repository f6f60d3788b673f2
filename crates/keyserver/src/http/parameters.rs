//! Parameters as OAuth sends them: a form, or the same as one JSON object.

use std::borrow::Cow;
use std::collections::HashMap;

use axum::body::Body;
use http::request::Parts;
use serde_json::Value;

use super::body::{self, BadBody, MediaType};
use crate::json;

/// What an endpoint takes. Other parameters are ignored (RFC 6749 section 3.2).
pub(super) struct Known {
    /// Parameters that may come once.
    pub(super) once: &'static [&'static str],
    /// Those of them that JSON may write as a number.
    pub(super) numbers: &'static [&'static str],
    /// Parameters that may come again and again.
    pub(super) often: &'static [&'static str],
}

/// The parameters of one request.
#[derive(Default)]
pub(super) struct Parameters {
    once: HashMap<&'static str, String>,
    often: Vec<String>,
}

impl Parameters {
    /// Reads them out of the request's body.
    pub(super) async fn read(head: &Parts, body: Body, known: &Known) -> Result<Self, BadBody> {
        let (media_type, bytes) = body::read(head, body).await?;
        let mut parameters = Self::default();
        match media_type {
            MediaType::Form => {
                for (name, value) in form_urlencoded::parse(&bytes) {
                    parameters.add(known, &name, value)?;
                }
            }
            MediaType::Json => {
                for (name, value) in json::object(&bytes).ok_or(BadBody::Malformed)? {
                    parameters.add_json(known, &name, value)?;
                }
            }
        }
        Ok(parameters)
    }

    /// The value of a parameter that may come once.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.once.remove(name)
    }

    /// The values of all parameters that may come often.
    pub(super) fn often(&mut self) -> Vec<String> {
        std::mem::take(&mut self.often)
    }

    fn add(&mut self, known: &Known, name: &str, value: Cow<'_, str>) -> Result<(), BadBody> {
        if known.often.contains(&name) {
            self.often.push(value.into_owned());
            return Ok(());
        }
        let Some(name) = known.once.iter().find(|known| **known == name) else { return Ok(()) };
        // RFC 6749 section 3.2: a parameter without a value is as one left out, and none comes twice.
        if !value.is_empty() && self.once.insert(name, value.into_owned()).is_some() {
            return Err(BadBody::Malformed);
        }
        Ok(())
    }

    fn add_json(&mut self, known: &Known, name: &str, value: Value) -> Result<(), BadBody> {
        match value {
            Value::String(text) => self.add(known, name, text.into()),
            Value::Number(number) if known.numbers.contains(&name) => {
                self.add(known, name, number.to_string().into())
            }
            Value::Array(texts) if known.often.contains(&name) => texts.into_iter().try_for_each(|text| {
                let Value::String(text) = text else { return Err(BadBody::Malformed) };
                self.add(known, name, text.into())
            }),
            _ if !known.once.contains(&name) && !known.often.contains(&name) => Ok(()),
            _ => Err(BadBody::Malformed),
        }
    }
}
