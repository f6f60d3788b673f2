//! Managed identity: the services that give an Azure machine its token.
//!
//! * A virtual machine: <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
//! * App Service: <https://learn.microsoft.com/azure/app-service/overview-managed-identity>
//! * A server managed by Arc: <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use portunus_auth_core::BearerToken;
use serde_json::json;

use super::{Cloud, next};
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;

/// The identity of an Azure machine.
#[derive(Clone, Debug)]
pub struct ManagedIdentity {
    host: Host,
    client_id: String,
    /// Why there is no token for those who name no identity.
    unnamed: Option<String>,
    /// What Arc's agent names as its key file, in place of it.
    realm: Option<PathBuf>,
    key_bytes: usize,
    knows_one_only: bool,
}

#[derive(Clone, Debug)]
enum Host {
    Vm,
    AppService(BearerToken),
    Arc(PathBuf),
}

/// The tokens that were issued, by resource: each is handed out again for the first half of its life.
#[derive(Debug, Default)]
pub(super) struct Served(Mutex<HashMap<String, Issued>>);

#[derive(Clone, Copy, Debug)]
struct Issued {
    number: u64,
    again_until: SystemTime,
    end: SystemTime,
}

impl ManagedIdentity {
    /// A virtual machine's, at `/metadata/identity/oauth2/token`.
    pub fn vm(client_id: impl Into<String>) -> Self {
        Self::on(Host::Vm, client_id.into())
    }

    /// App Service's, at `/msi/token`, for whoever sends that `X-IDENTITY-HEADER`.
    pub fn app_service(client_id: impl Into<String>, header: impl Into<String>) -> Self {
        Self::on(Host::AppService(BearerToken::new(header)), client_id.into())
    }

    /// Arc's, at `/metadata/identity/oauth2/token`, for whoever can read the key files of that folder. Each
    /// challenge has a key of its own, which is good once.
    pub fn arc(client_id: impl Into<String>, keys: impl Into<PathBuf>) -> Self {
        Self::on(Host::Arc(keys.into()), client_id.into())
    }

    fn on(host: Host, client_id: String) -> Self {
        Self { host, client_id, unnamed: None, realm: None, key_bytes: 0, knows_one_only: false }
    }

    /// Refuses those who do not name the identity, with that description, such as `Identity not found`.
    #[must_use]
    pub fn only_if_named(self, description: impl Into<String>) -> Self {
        Self { unnamed: Some(description.into()), ..self }
    }

    /// Lets Arc's agent name that file as the key's, as an impostor would.
    #[must_use]
    pub fn naming_key_file(self, path: impl Into<PathBuf>) -> Self {
        Self { realm: Some(path.into()), ..self }
    }

    /// Pads the keys of Arc's agent to so many bytes.
    #[must_use]
    pub fn with_key_bytes(self, key_bytes: usize) -> Self {
        Self { key_bytes, ..self }
    }

    /// Answers with the token of this identity whichever is named, as an old agent of Arc does.
    #[must_use]
    pub fn whichever_is_named(self) -> Self {
        Self { knows_one_only: true, ..self }
    }

    fn path(&self) -> &'static str {
        match self.host {
            Host::Vm | Host::Arc(_) => "/metadata/identity/oauth2/token",
            Host::AppService(_) => "/msi/token",
        }
    }
}

/// The answer, if that path is the identity's.
pub(super) fn answer(cloud: &Cloud, request: &Recorded) -> Option<Answer> {
    let identity = cloud.identity.as_ref().filter(|identity| identity.path() == request.path())?;
    Some(token(cloud, identity, request))
}

fn token(cloud: &Cloud, identity: &ManagedIdentity, request: &Recorded) -> Answer {
    let (version, names): (_, &[&str]) = match identity.host {
        Host::Vm => ("2019-08-01", &["client_id", "object_id", "msi_res_id"]),
        Host::AppService(_) => ("2019-08-01", &["client_id", "principal_id", "mi_res_id"]),
        Host::Arc(_) => ("2021-02-01", &["client_id", "object_id", "msi_res_id"]),
    };
    if request.method() != Method::GET || !request.body().is_empty() {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "refused");
    }
    if let Some(refusal) = unproven(identity, request) {
        return refusal;
    }
    let query = Form::parse(request.query().unwrap_or_default().as_bytes());
    let is_known = |name: &str| ["api-version", "resource"].contains(&name) || names.contains(&name);
    let resource = query.get("resource").filter(|resource| !resource.ends_with("/.default"));
    let is_whole = query.repeated().is_none() && query.names().all(is_known);
    let (true, Some(resource), Some(true)) =
        (is_whole, resource, query.get("api-version").map(|found| found == version))
    else {
        return refused(StatusCode::BAD_REQUEST, "invalid_request", "refused");
    };
    let named: Vec<_> = names.iter().filter_map(|name| query.get(name)).collect();
    let is_this = identity.knows_one_only || named.iter().all(|id| *id == identity.client_id);
    let missing = identity.unnamed.as_deref().filter(|_| named.is_empty());
    match missing.or((!is_this).then_some("Identity not found")) {
        None if named.len() < 2 => issued(cloud, identity, resource),
        says => refused(StatusCode::BAD_REQUEST, "invalid_request", says.unwrap_or("More than one identity")),
    }
}

fn unproven(identity: &ManagedIdentity, request: &Recorded) -> Option<Answer> {
    let header = |name: &str| request.headers_with_secrets().get(name).and_then(|value| value.to_str().ok());
    let unauthorized = || refused(StatusCode::UNAUTHORIZED, "unauthorized", "refused");
    let shown = header(AUTHORIZATION.as_str());
    match &identity.host {
        Host::AppService(secret) => {
            (header("x-identity-header") != Some(secret.expose()) || shown.is_some()).then(unauthorized)
        }
        _ if header("metadata") != Some("true") || header("x-forwarded-for").is_some() => Some(refused(
            StatusCode::BAD_REQUEST,
            "bad_request_102",
            "Required metadata header not specified",
        )),
        Host::Vm => shown.is_some().then(unauthorized),
        Host::Arc(keys) => match shown {
            None => Some(challenge(identity, keys)),
            Some(shown) => (!is_spent_now(keys, shown)).then(unauthorized),
        },
    }
}

/// Whether that is the text of one of the key files, which it then ceases to be.
fn is_spent_now(keys: &Path, shown: &str) -> bool {
    let files = std::fs::read_dir(keys).into_iter().flatten().flatten().map(|file| file.path());
    let holds = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == "key")
            && std::fs::read_to_string(path).is_ok_and(|key| shown == format!("Basic {key}"))
    };
    let mut files = files.filter(holds);
    files.next().is_some_and(|path| std::fs::remove_file(path).is_ok())
}

fn challenge(identity: &ManagedIdentity, keys: &Path) -> Answer {
    static KEYS: AtomicU64 = AtomicU64::new(0);
    let n = next(&KEYS);
    let file = keys.join(format!("mock-{n}.key"));
    let key = format!("arc-mock-key-{n}-");
    let written = std::fs::write(&file, format!("{key:x<width$}", width = identity.key_bytes));
    let realm = identity.realm.as_ref().unwrap_or(&file);
    let challenge = HeaderValue::try_from(format!("Basic realm={}", realm.display()));
    match (written, challenge) {
        (Ok(()), Ok(challenge)) => {
            let mut answer = refused(StatusCode::UNAUTHORIZED, "unauthorized_client", "refused");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            answer
        }
        _ => refused(StatusCode::INTERNAL_SERVER_ERROR, "the_key_file_cannot_be_written", "refused"),
    }
}

fn issued(cloud: &Cloud, identity: &ManagedIdentity, resource: &str) -> Answer {
    let now = cloud.desk.clock.now();
    let mut served = cloud.served.0.lock().unwrap_or_else(PoisonError::into_inner);
    let token = match served.get(resource) {
        Some(token) if now < token.again_until => *token,
        _ => {
            let life = Duration::from_secs(cloud.lifetime.load(Ordering::Relaxed));
            Issued { number: next(&cloud.tokens), again_until: now + life / 2, end: now + life }
        }
    };
    served.insert(resource.to_owned(), token);
    let unix = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut reply = json!({
        "access_token": format!("managed-identity-mock-token-{}", token.number),
        "expires_on": unix(token.end).to_string(),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": identity.client_id,
    });
    if !matches!(identity.host, Host::AppService(_)) {
        reply["expires_in"] = (unix(token.end) - unix(now)).to_string().into();
        reply["not_before"] = unix(now).to_string().into();
    }
    answer::json(StatusCode::OK, answer::write(&reply))
}

fn refused(status: StatusCode, error: &str, says: &str) -> Answer {
    answer::json(status, answer::write(&json!({ "error": error, "error_description": says })))
}
