//! The metadata services of AWS that give a workload its keys.
//!
//! * A container: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
//! * An EC2 instance, version 2 only:
//!   <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use portunus_auth_core::BearerToken;

use super::{Cloud, next};
use crate::answer::{self, Answer};
use crate::capture::Recorded;

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// A container whose keys are at a path, for whoever shows the token.
#[derive(Clone, Debug)]
pub struct ContainerRole {
    path: String,
    authorization: Option<BearerToken>,
}

impl ContainerRole {
    /// Keys at that path, for everybody who reaches it, as on ECS.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), authorization: None }
    }

    /// Only for requests with this `Authorization`, as with EKS Pod Identity.
    #[must_use]
    pub fn authorized_by(self, token: impl Into<String>) -> Self {
        Self { authorization: Some(BearerToken::new(token)), ..self }
    }
}

/// An EC2 instance with a role.
#[derive(Clone, Debug)]
pub struct InstanceRole(String);

impl InstanceRole {
    /// An instance with the role of that name; an empty name is an instance without one.
    pub fn new(role: impl Into<String>) -> Self {
        Self(role.into())
    }
}

/// The answer, if one of the services has that path.
pub(super) fn answer(cloud: &Cloud, request: &Recorded) -> Option<Answer> {
    if let Some(role) = cloud.containers.iter().find(|role| role.path == request.path()) {
        return Some(container(cloud, role, request));
    }
    let instance = cloud.instance.as_ref()?;
    match request.path() {
        "/latest/api/token" => Some(session(cloud, request)),
        path => path.strip_prefix(ROLES).map(|role| keys_of(cloud, &instance.0, role, request)),
    }
}

fn container(cloud: &Cloud, role: &ContainerRole, request: &Recorded) -> Answer {
    if request.method() != Method::GET || !request.body().is_empty() {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed");
    }
    let shown = request.headers_with_secrets().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or("?"));
    let admits = match &role.authorization {
        Some(token) => shown == Some(token.expose()),
        None => shown.is_none(),
    };
    if admits { document(cloud, false) } else { refused(StatusCode::FORBIDDEN, "AccessDeniedException") }
}

/// `PUT /latest/api/token`: a token for as long as was asked.
fn session(cloud: &Cloud, request: &Recorded) -> Answer {
    let ttl = request.header(TTL).and_then(|text| text.parse::<u32>().ok());
    if request.method() != Method::PUT || request.header("x-forwarded-for").is_some() {
        return refused(StatusCode::FORBIDDEN, "Forbidden");
    }
    match ttl {
        Some(1..=21_600) => plain(&format!("imds-mock-token-{}", next(&cloud.sessions))),
        _ => refused(StatusCode::BAD_REQUEST, "BadRequest"),
    }
}

fn keys_of(cloud: &Cloud, role: &str, asked: &str, request: &Recorded) -> Answer {
    let given = request.header(TOKEN).and_then(|token| token.strip_prefix("imds-mock-token-")?.parse().ok());
    let known = given.is_some_and(|n: u64| (1..=cloud.sessions.load(Ordering::Relaxed)).contains(&n));
    if request.method() != Method::GET || !known {
        return refused(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    match asked {
        _ if role.is_empty() => refused(StatusCode::NOT_FOUND, "NotFound"),
        "" => plain(role),
        asked if asked == role => document(cloud, true),
        _ => refused(StatusCode::NOT_FOUND, "NotFound"),
    }
}

fn document(cloud: &Cloud, is_instance: bool) -> Answer {
    let n = next(&cloud.tokens);
    let now = cloud.desk.clock.now();
    let end = now + Duration::from_secs(cloud.lifetime.load(Ordering::Relaxed));
    let mut keys = serde_json::json!({
        "AccessKeyId": format!("ASIAMOCK{n:08}"),
        "SecretAccessKey": format!("metadata-mock-secret-{n}"),
        "Token": format!("metadata-mock-session-{n}"),
        "Expiration": humantime::format_rfc3339_seconds(end).to_string(),
    });
    if is_instance {
        keys["Code"] = "Success".into();
        keys["Type"] = "AWS-HMAC".into();
        keys["LastUpdated"] = humantime::format_rfc3339_seconds(now).to_string().into();
    } else {
        keys["RoleArn"] = "arn:aws:iam::123456789012:role/mock-container".into();
    }
    answer::json(StatusCode::OK, keys.to_string())
}

fn refused(status: StatusCode, code: &str) -> Answer {
    answer::json(status, format!(r#"{{"code":"{code}","message":"refused"}}"#))
}

fn plain(text: &str) -> Answer {
    let mut answer = answer::json(StatusCode::OK, text.to_owned());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}
