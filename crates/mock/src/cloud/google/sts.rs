//! `https://sts.googleapis.com/v1/token`: an identity of another issuer becomes a token
//! (RFC 8693; <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>).

use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use http::header::AUTHORIZATION;
use portunus_auth_core::BearerToken;
use serde_json::json;

use super::token::only;
use super::{Cloud, GoogleCloud, Problem, granted, refused};
use crate::answer::Answer;
use crate::capture::Recorded;
use crate::form::Form;

const FIELDS: [&str; 7] = [
    "grant_type",
    "audience",
    "scope",
    "requested_token_type",
    "subject_token",
    "subject_token_type",
    "options",
];
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A provider of a workload or workforce identity pool, and the one identity that it admits.
#[derive(Clone, Debug)]
pub struct GooglePool {
    audience: String,
    subject_token_type: String,
    subject_token: Option<BearerToken>,
    client: Option<(String, BearerToken)>,
    user_project: Option<String>,
}

impl GooglePool {
    /// For an audience, such as `//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x`,
    /// and the one token of that type that it trusts.
    pub fn new(
        audience: impl Into<String>,
        subject_token_type: impl Into<String>,
        subject_token: impl Into<String>,
    ) -> Self {
        Self {
            audience: audience.into(),
            subject_token_type: subject_token_type.into(),
            subject_token: Some(BearerToken::new(subject_token)),
            client: None,
            user_project: None,
        }
    }

    /// Trusts any token of the type; a test looks at what came.
    #[must_use]
    pub fn trusting_any(mut self) -> Self {
        self.subject_token = None;
        self
    }

    /// The client has to say who it is.
    #[must_use]
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.client = Some((id.into(), BearerToken::new(secret)));
        self
    }

    /// A client that does not has to name this project.
    #[must_use]
    pub fn user_project(mut self, project: impl Into<String>) -> Self {
        self.user_project = Some(project.into());
        self
    }
}

/// `POST /v1/token`.
pub(super) fn exchange(cloud: &Cloud, google: &GoogleCloud, request: &Recorded) -> Answer {
    match check(google, request) {
        Ok(scope) => {
            let seconds = cloud.lifetime.load(Ordering::Relaxed);
            let (token, _) = google.issue(cloud, &scope, Duration::from_secs(seconds));
            granted(&token, seconds, json!({ "issued_token_type": ACCESS_TOKEN }))
        }
        Err(problem) => refused(problem),
    }
}

fn check(google: &GoogleCloud, request: &Recorded) -> Result<String, Problem> {
    let wrong = |says| (400, "invalid_request", says);
    if request.method() != Method::POST || request.query().is_some() {
        return Err((405, "invalid_request", "POST without a query is expected."));
    }
    let form = Form::of_body(request).ok_or(wrong("A form is expected."))?;
    only(&form, &FIELDS)?;
    let is = |name, value| form.get(name) == Some(value);
    if !is("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange") {
        return Err((400, "unsupported_grant_type", "Invalid grant type"));
    }
    if !is("requested_token_type", ACCESS_TOKEN) {
        return Err(wrong("Invalid requested_token_type."));
    }
    let pool = google.pools.iter().find(|pool| form.get("audience") == Some(&pool.audience));
    let pool =
        pool.ok_or((400, "invalid_target", "The target service indicated by the audience is invalid."))?;
    authenticate(pool, request, form.get("options"))?;
    if form.get("subject_token_type") != Some(&pool.subject_token_type) {
        return Err(wrong("Invalid subject_token_type."));
    }
    let subject = form.get("subject_token").ok_or(wrong("Missing subject_token."))?;
    if pool.subject_token.as_ref().is_some_and(|trusted| trusted.expose() != subject) {
        return Err((400, "invalid_grant", "The subject token is not accepted."));
    }
    form.get("scope").map(str::to_owned).ok_or((400, "invalid_scope", "Missing scope."))
}

fn authenticate(pool: &GooglePool, request: &Recorded, options: Option<&str>) -> Result<(), Problem> {
    let basic = request.headers_with_secrets().get(AUTHORIZATION).map(|value| value.as_bytes());
    if let Some(basic) = basic {
        let said = basic.strip_prefix(b"Basic ").and_then(|text| BASE64_STANDARD.decode(text).ok());
        let known = pool.client.as_ref().map(|(id, secret)| format!("{id}:{}", secret.expose()).into_bytes());
        let good = known.is_some() && said == known && options.is_none();
        return if good { Ok(()) } else { Err((401, "invalid_client", "The OAuth client is invalid.")) };
    }
    let expected = pool.user_project.as_ref().map(|project| json!({ "userProject": project }));
    let said = options.map(|options| serde_json::from_str(options).unwrap_or_default());
    if expected != said || expected.is_none() && pool.client.is_some() {
        return Err((400, "invalid_request", "Client authentication or the user project is missing."));
    }
    Ok(())
}
