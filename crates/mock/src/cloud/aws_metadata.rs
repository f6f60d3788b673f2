//! The metadata services of AWS that give a workload its keys.
//!
//! * A container: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
//! * An EC2 instance, version 2 only:
//!   <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

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

/// So long before the end of its keys an instance has new ones; until then it hands out the same again.
const RENEWED_BEFORE_END: Duration = Duration::from_secs(300);

/// What an instance's metadata service remembers.
#[derive(Debug, Default)]
pub(super) struct Served(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// When each session ends, by its number; none is known any more after they were forgotten.
    sessions: Vec<SystemTime>,
    /// The number and the end of the keys that are handed out.
    keys: Option<(u64, SystemTime)>,
}

impl Served {
    pub(super) fn forget_sessions(&self) {
        self.with(|memory| memory.sessions.fill(SystemTime::UNIX_EPOCH));
    }

    fn open(&self, end: SystemTime) -> usize {
        self.with(|memory| {
            memory.sessions.push(end);
            memory.sessions.len()
        })
    }

    fn knows(&self, token: &str, now: SystemTime) -> bool {
        let number = token.strip_prefix("imds-mock-token-").and_then(|text| text.parse::<usize>().ok());
        let index = number.and_then(|number| number.checked_sub(1));
        index.is_some_and(|index| self.with(|m| m.sessions.get(index).is_some_and(|end| now < *end)))
    }

    /// The keys of before, or new ones.
    fn keys(&self, now: SystemTime, new: impl FnOnce() -> (u64, SystemTime)) -> (u64, SystemTime) {
        self.with(|memory| match memory.keys {
            Some(keys) if now + RENEWED_BEFORE_END < keys.1 => keys,
            _ => *memory.keys.insert(new()),
        })
    }

    fn with<T>(&self, what: impl FnOnce(&mut Memory) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
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
    let bare = request.body().is_empty() && request.query().is_none() && request.header(TOKEN).is_none();
    match ttl {
        Some(ttl @ 1..=21_600) if bare => {
            let end = cloud.desk.clock.now() + Duration::from_secs(ttl.into());
            let mut answer = plain(&format!("imds-mock-token-{}", cloud.served_keys.open(end)));
            answer.headers_mut().insert(TTL, ttl.into());
            answer
        }
        _ => refused(StatusCode::BAD_REQUEST, "BadRequest"),
    }
}

fn keys_of(cloud: &Cloud, role: &str, asked: &str, request: &Recorded) -> Answer {
    let now = cloud.desk.clock.now();
    let known = request.header(TOKEN).is_some_and(|token| cloud.served_keys.knows(token, now));
    if request.method() != Method::GET || !known {
        return refused(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    match asked {
        _ if request.query().is_some() || !request.body().is_empty() => {
            refused(StatusCode::BAD_REQUEST, "BadRequest")
        }
        _ if role.is_empty() => refused(StatusCode::NOT_FOUND, "NotFound"),
        "" => plain(role),
        asked if asked == role => document(cloud, true),
        _ => refused(StatusCode::NOT_FOUND, "NotFound"),
    }
}

fn document(cloud: &Cloud, is_instance: bool) -> Answer {
    let now = cloud.desk.clock.now();
    let lifetime = Duration::from_secs(cloud.lifetime.load(Ordering::Relaxed));
    let new = || (next(&cloud.tokens), now + lifetime);
    let (n, end) = if is_instance { cloud.served_keys.keys(now, new) } else { new() };
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
