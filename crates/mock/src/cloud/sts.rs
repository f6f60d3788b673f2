//! AWS STS: `AssumeRoleWithWebIdentity`, answered in XML.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use portunus_auth_core::BearerToken;

use super::{Cloud, next};
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;

/// A role that STS gives keys for, to whoever presents the token.
#[derive(Clone, Debug)]
pub struct StsRole {
    arn: String,
    token: BearerToken,
}

impl StsRole {
    /// A role and the one identity token that it trusts.
    pub fn new(arn: impl Into<String>, token: impl Into<String>) -> Self {
        let token = BearerToken::new(token);
        Self { arn: arn.into(), token }
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.arn.is_empty() && !self.token.expose().is_empty()
    }
}

/// The fields that the action has here. A client that sends others has a fault to find.
const FIELDS: [&str; 6] =
    ["Action", "Version", "RoleArn", "RoleSessionName", "WebIdentityToken", "DurationSeconds"];

/// `POST /`.
pub(super) fn assume_role(cloud: &Cloud, request: &Recorded) -> Answer {
    match check(&cloud.sts, request) {
        Ok(Asked { arn, session, seconds }) => issued(cloud, &arn, &session, seconds),
        Err((status, code, says)) => refused(cloud, status, code, says),
    }
}

type Problem = (StatusCode, &'static str, &'static str);

struct Asked {
    arn: String,
    session: String,
    /// How long the keys are to live, if the request says so.
    seconds: Option<u64>,
}

fn check(roles: &[StsRole], request: &Recorded) -> Result<Asked, Problem> {
    let wrong = |says| (StatusCode::BAD_REQUEST, "ValidationError", says);
    if request.method() != Method::POST {
        return Err(wrong("POST is expected."));
    }
    let form = Form::of_body(request).ok_or_else(|| wrong("A form is expected."))?;
    if form.repeated().is_some() || form.names().any(|name| !FIELDS.contains(&name)) {
        return Err(wrong("A parameter is repeated or unknown."));
    }
    if form.get("Action") != Some("AssumeRoleWithWebIdentity") || form.get("Version") != Some("2011-06-15") {
        return Err((StatusCode::BAD_REQUEST, "InvalidAction", "Could not find the operation."));
    }
    let (Some(arn), Some(session), Some(token)) =
        (form.get("RoleArn"), form.get("RoleSessionName"), form.get("WebIdentityToken"))
    else {
        return Err(wrong("A required parameter is missing."));
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "=,.@-_".contains(c);
    if !(2..=64).contains(&session.len()) || !session.chars().all(good) {
        return Err(wrong("RoleSessionName does not satisfy its pattern."));
    }
    let seconds = form.get("DurationSeconds").map(|text| text.parse().ok());
    let seconds = match seconds {
        Some(Some(seconds @ 900..=43_200)) => Some(seconds),
        None => None,
        Some(_) => return Err(wrong("DurationSeconds must be 900 to 43200.")),
    };
    let denied =
        (StatusCode::FORBIDDEN, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity");
    let role = roles.iter().find(|role| role.arn == arn).ok_or(denied)?;
    if token == role.token.expose() {
        Ok(Asked { arn: arn.to_owned(), session: session.to_owned(), seconds })
    } else if token.starts_with("expired") {
        Err((StatusCode::BAD_REQUEST, "ExpiredTokenException", "Token expired"))
    } else {
        Err((StatusCode::BAD_REQUEST, "InvalidIdentityToken", "The token is not accepted."))
    }
}

fn issued(cloud: &Cloud, arn: &str, session: &str, seconds: Option<u64>) -> Answer {
    let n = next(&cloud.tokens);
    let seconds = seconds.unwrap_or_else(|| cloud.lifetime.load(Ordering::Relaxed));
    let end = cloud.desk.clock.now() + Duration::from_secs(seconds);
    let end = humantime::format_rfc3339_seconds(end);
    let account = arn.split(':').nth(4).unwrap_or_default();
    let role = arn.rsplit('/').next().unwrap_or_default();
    xml(
        StatusCode::OK,
        &format!(
            r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn>arn:aws:sts::{account}:assumed-role/{role}/{session}</Arn><AssumedRoleId>AROAMOCK:{session}</AssumedRoleId></AssumedRoleUser><Credentials><SessionToken>sts-mock-session-{n}&#47;a&amp;b</SessionToken><SecretAccessKey>sts-mock-secret-{n}</SecretAccessKey><Expiration>{end}</Expiration><AccessKeyId>ASIAMOCK{n:08}</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>{n}</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>"#
        ),
    )
}

fn refused(cloud: &Cloud, status: StatusCode, code: &str, says: &str) -> Answer {
    let n = next(&cloud.traces);
    xml(
        status,
        &format!(
            r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code><Message>{says}</Message></Error><RequestId>{n}</RequestId></ErrorResponse>"#
        ),
    )
}

fn xml(status: StatusCode, text: &str) -> Answer {
    let mut answer = answer::json(status, text.to_owned());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    answer
}
