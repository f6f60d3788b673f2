//! Azure OpenAI: OpenAI's errors, but for a refused credential, which its front door words.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Serialize;

use super::super::failure::Cause;
use super::openai::OpenAi;
use super::{About, INVALID_TOKEN, Provider, Worded, refused};
use crate::answer::write;

pub(super) struct Azure;

impl Provider for Azure {
    fn words(&self, cause: &Cause, about: &About<'_>) -> (u16, Cow<'static, str>) {
        match cause {
            Cause::Refused(_) if !about.faithful => INVALID_TOKEN,
            Cause::Refused(_) => (
                401,
                "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."
                    .into(),
            ),
            _ => OpenAi.words(cause, about),
        }
    }

    fn error(&self, error: &Worded<'_>, about: &About<'_>) -> Vec<u8> {
        if refused(error.cause).is_none() {
            return OpenAi.error(error, about);
        }
        write(&Denied { error: Inner { code: "401", message: error.message } })
    }

    fn error_headers(&self, error: &Worded<'_>, headers: &mut HeaderMap) {
        OpenAi.error_headers(error, headers);
    }
}

#[derive(Serialize)]
struct Denied<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'static str,
    message: &'a str,
}
