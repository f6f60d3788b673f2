//! The service of a GitHub Actions runner that gives a job its identity tokens.
//! <https://docs.github.com/en/actions/reference/security/oidc>

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use portunus_auth_core::BearerToken;
use serde_json::json;

use super::Cloud;
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;

const PATH: &str = "/mock/idtoken";

/// A job that may ask for identity tokens.
#[derive(Clone, Debug)]
pub struct GitHubJob {
    request_token: BearerToken,
    audience: String,
    tokens: Vec<BearerToken>,
    asked: Arc<AtomicUsize>,
}

impl GitHubJob {
    /// A job with that request token, to which these identity tokens are given for that audience, one
    /// after the other and then the last again.
    pub fn new<T: Into<String>>(
        request_token: impl Into<String>,
        audience: impl Into<String>,
        tokens: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            request_token: BearerToken::new(request_token),
            audience: audience.into(),
            tokens: tokens.into_iter().map(BearerToken::new).collect(),
            asked: Arc::default(),
        }
    }

    /// What follows the mock's address in `ACTIONS_ID_TOKEN_REQUEST_URL`.
    pub fn request_path() -> &'static str {
        "/mock/idtoken?api-version=2.0"
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.request_token.expose().is_empty() && !self.tokens.is_empty()
    }
}

/// The answer, if the path is the service's.
pub(super) fn answer(cloud: &Cloud, request: &Recorded) -> Option<Answer> {
    let job = cloud.job.as_ref().filter(|_| request.path() == PATH)?;
    Some(token(job, request))
}

fn token(job: &GitHubJob, request: &Recorded) -> Answer {
    let says = |status, text: &str| answer::json(status, answer::write(&json!({ "message": text })));
    if request.method() != Method::GET || !request.body().is_empty() {
        return says(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    }
    let query = Form::parse(request.query().unwrap_or_default().as_bytes());
    let names: Vec<_> = query.names().collect();
    if names != ["api-version", "audience"] || query.get("api-version") != Some("2.0") {
        return says(StatusCode::BAD_REQUEST, "The query is not understood.");
    }
    let shown = request.headers_with_secrets().get(AUTHORIZATION).and_then(BearerToken::from_authorization);
    if shown.is_none_or(|shown| shown.expose() != job.request_token.expose()) {
        return says(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    if query.get("audience") != Some(&job.audience) {
        return says(StatusCode::BAD_REQUEST, "The audience is not expected.");
    }
    let n = job.asked.fetch_add(1, Ordering::Relaxed);
    let value = job.tokens.get(n).or(job.tokens.last()).map_or("", BearerToken::expose);
    answer::json(StatusCode::OK, answer::write(&json!({ "count": value.len(), "value": value })))
}
