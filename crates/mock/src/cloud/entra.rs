//! Entra's token endpoint: client credentials with a secret or an assertion. Error codes:
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use http::{HeaderValue, Method, StatusCode};
use portunus_auth_core::BearerToken;
use serde_json::json;

use super::entra_assertion::Registered;
use super::{Cloud, next};
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;

/// An application registered with Entra.
#[derive(Clone, Debug)]
pub struct EntraApp {
    tenant: String,
    client_id: String,
    secret: BearerToken,
    federated: Option<BearerToken>,
    certificate: Option<Registered>,
}

impl EntraApp {
    /// An application of that tenant, with that secret.
    pub fn new(
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
    ) -> Self {
        let secret = BearerToken::new(client_secret);
        Self {
            tenant: tenant.into(),
            client_id: client_id.into(),
            secret,
            federated: None,
            certificate: None,
        }
    }

    /// Trusts that token of another issuer as well (workload identity federation).
    #[must_use]
    pub fn trusting(mut self, token: impl Into<String>) -> Self {
        self.federated = Some(BearerToken::new(token));
        self
    }

    /// Registers a certificate, in PEM, with whose key the application may sign assertions. What is no
    /// certificate registers nothing.
    #[must_use]
    pub fn certified(mut self, certificate: &str) -> Self {
        self.certificate = Registered::from_pem(certificate);
        self
    }

    pub(super) fn is_complete(&self) -> bool {
        ![&self.tenant, &self.client_id, self.secret.expose()].iter().any(|text| text.is_empty())
    }

    /// The path of the token endpoint, such as `/my-tenant/oauth2/v2.0/token`.
    pub fn token_path(&self) -> String {
        format!("/{}/oauth2/v2.0/token", self.tenant)
    }
}

/// The fields that the flow has. Entra ignores others; a client that sends them has a fault to find.
const FIELDS: [&str; 6] =
    ["grant_type", "client_id", "client_secret", "client_assertion_type", "client_assertion", "scope"];

/// `POST /{tenant}/oauth2/v2.0/token`.
pub(super) fn token(cloud: &Cloud, tenant: &str, request: &Recorded) -> Answer {
    let issued = match check(cloud, tenant, request) {
        Ok(()) => next(&cloud.tokens),
        Err(problem) => return problem.answer(cloud),
    };
    let lifetime = cloud.lifetime.load(Ordering::Relaxed);
    no_store(answer::json(
        StatusCode::OK,
        answer::write(&json!({
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": format!("entra-mock-token-{issued}"),
        })),
    ))
}

fn check(cloud: &Cloud, tenant: &str, request: &Recorded) -> Result<(), Problem> {
    let apps = &cloud.entra;
    if request.method() != Method::POST {
        return Err(Problem::request(900_561, "The endpoint only accepts POST requests."));
    }
    let form = Form::of_body(request).ok_or_else(|| Problem::missing("grant_type"))?;
    if form.repeated().is_some() || form.names().any(|name| !FIELDS.contains(&name)) {
        return Err(Problem::request(900_023, "The request has a parameter twice, or one that is unknown."));
    }
    let required = |name| form.get(name).ok_or_else(|| Problem::missing(name));
    if required("grant_type")? != "client_credentials" {
        return Err(Problem::new(400, "unsupported_grant_type", 70_003, "The grant type is not supported."));
    }
    let (id, scope) = (required("client_id")?, required("scope")?);
    if !apps.iter().any(|app| app.tenant == tenant) {
        return Err(Problem::request(
            90_002,
            "Tenant not found. Check to make sure you have the correct tenant ID.",
        ));
    }
    let app = apps.iter().find(|app| app.tenant == tenant && app.client_id == id).ok_or(Problem::new(
        400,
        "unauthorized_client",
        700_016,
        "Application was not found in the directory.",
    ))?;
    prove(cloud, app, &form, request)?;
    let one_resource = !scope.contains(' ') && scope.ends_with("/.default") && scope != "/.default";
    one_resource.then_some(()).ok_or(Problem::new(
        400,
        "invalid_scope",
        1_002_012,
        "The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.",
    ))
}

fn prove(cloud: &Cloud, app: &EntraApp, form: &Form, request: &Recorded) -> Result<(), Problem> {
    let [secret, kind, assertion] =
        ["client_secret", "client_assertion_type", "client_assertion"].map(|name| form.get(name));
    match (secret, kind, assertion) {
        (Some(secret), None, None) if secret == app.secret.expose() => Ok(()),
        (Some(_), None, None) => Err(Problem::client(7_000_215, "Invalid client secret provided.")),
        (None, Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), Some(token)) => {
            if app.federated.as_ref().is_some_and(|trusted| trusted.expose() == token) {
                Ok(())
            } else if let Some(certificate) = &app.certificate {
                let host = request.header("host").unwrap_or_default();
                let here = format!("http://{host}{}", request.path());
                certificate
                    .check(token, (&here, &app.client_id), &cloud.assertions, cloud.desk.clock.now())
                    .map_err(|code| Problem::client(code, "The client assertion is not accepted."))
            } else if token.starts_with("expired") {
                Err(Problem::client(700_024, "Client assertion is not within its valid time range."))
            } else {
                Err(Problem::client(700_213, "No matching federated identity record found."))
            }
        }
        (None, None, None) => Err(Problem::client(
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )),
        _ => Err(Problem::request(90_014, "A client proves who it is in one way, and in full.")),
    }
}

struct Problem {
    status: StatusCode,
    error: &'static str,
    code: u32,
    says: Cow<'static, str>,
}

impl Problem {
    fn new(status: u16, error: &'static str, code: u32, says: &'static str) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Self { status, error, code, says: says.into() }
    }

    fn request(code: u32, says: &'static str) -> Self {
        Self::new(400, "invalid_request", code, says)
    }

    fn missing(name: &str) -> Self {
        let says = format!("The request body must contain the following parameter: '{name}'.");
        Self { says: says.into(), ..Self::request(900_144, "") }
    }

    fn client(code: u32, says: &'static str) -> Self {
        Self::new(401, "invalid_client", code, says)
    }

    fn answer(&self, cloud: &Cloud) -> Answer {
        let n = next(&cloud.traces);
        let (code, timestamp) = (self.code, timestamp(cloud.desk.clock.now()));
        let trace_id = format!("00000000-0000-4000-8000-{n:012x}");
        let correlation_id = format!("00000000-0000-4000-9000-{n:012x}");
        let body = json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{code}: {} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}",
                self.says
            ),
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        });
        no_store(answer::json(self.status, answer::write(&body)))
    }
}

fn no_store(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
    answer
}

/// As Entra writes it: `2026-01-31 23:59:59Z`.
fn timestamp(now: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(now).to_string();
    text.replacen('T', " ", 1)
}
