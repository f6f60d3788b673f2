//! Managed identity: the services that give an Azure machine its token.
//!
//! * A virtual machine: <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
//! * App Service: <https://learn.microsoft.com/azure/app-service/overview-managed-identity>
//! * A server managed by Arc: <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>

use std::path::PathBuf;
use std::sync::atomic::Ordering;
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
}

#[derive(Clone, Debug)]
enum Host {
    Vm,
    AppService(BearerToken),
    Arc(PathBuf),
}

impl ManagedIdentity {
    /// A virtual machine's, at `/metadata/identity/oauth2/token`.
    pub fn vm(client_id: impl Into<String>) -> Self {
        Self { host: Host::Vm, client_id: client_id.into() }
    }

    /// App Service's, at `/msi/token`, for whoever sends that `X-IDENTITY-HEADER`.
    pub fn app_service(client_id: impl Into<String>, header: impl Into<String>) -> Self {
        Self { host: Host::AppService(BearerToken::new(header)), client_id: client_id.into() }
    }

    /// Arc's, at `/metadata/identity/oauth2/token`, for whoever can read the key files of that folder.
    pub fn arc(client_id: impl Into<String>, keys: impl Into<PathBuf>) -> Self {
        Self { host: Host::Arc(keys.into()), client_id: client_id.into() }
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
        Host::Arc(_) => ("2021-02-01", &[]),
    };
    if request.method() != Method::GET || !request.body().is_empty() {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
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
        return refused(StatusCode::BAD_REQUEST, "invalid_request");
    };
    if names.iter().filter_map(|name| query.get(name)).any(|id| id != identity.client_id) {
        return refused(StatusCode::BAD_REQUEST, "invalid_request");
    }
    issued(cloud, identity, resource)
}

fn unproven(identity: &ManagedIdentity, request: &Recorded) -> Option<Answer> {
    let header = |name: &str| request.headers_with_secrets().get(name).and_then(|value| value.to_str().ok());
    match &identity.host {
        Host::AppService(secret) => (header("x-identity-header") != Some(secret.expose()))
            .then(|| refused(StatusCode::UNAUTHORIZED, "unauthorized")),
        _ if header("metadata") != Some("true") || header("x-forwarded-for").is_some() => {
            Some(refused(StatusCode::BAD_REQUEST, "bad_request_102"))
        }
        Host::Vm => None,
        Host::Arc(keys) => {
            let file = keys.join("mock.key");
            match header(AUTHORIZATION.as_str()) {
                None => Some(challenge(&file)),
                Some(shown) => {
                    let key = std::fs::read_to_string(&file).unwrap_or_default();
                    let is_right = !key.is_empty() && shown == format!("Basic {key}");
                    (!is_right).then(|| refused(StatusCode::UNAUTHORIZED, "unauthorized"))
                }
            }
        }
    }
}

fn challenge(file: &std::path::Path) -> Answer {
    let mut answer = refused(StatusCode::UNAUTHORIZED, "unauthorized");
    let written = std::fs::write(file, "arc-mock-key");
    let challenge = HeaderValue::try_from(format!("Basic realm={}", file.display()));
    match (written, challenge) {
        (Ok(()), Ok(challenge)) => {
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            answer
        }
        _ => refused(StatusCode::INTERNAL_SERVER_ERROR, "the_key_file_cannot_be_written"),
    }
}

fn issued(cloud: &Cloud, identity: &ManagedIdentity, resource: &str) -> Answer {
    let n = next(&cloud.tokens);
    let lifetime = cloud.lifetime.load(Ordering::Relaxed);
    let end = cloud.desk.clock.now() + Duration::from_secs(lifetime);
    let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut reply = json!({
        "access_token": format!("managed-identity-mock-token-{n}"),
        "expires_on": end.to_string(),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": identity.client_id,
    });
    if !matches!(identity.host, Host::AppService(_)) {
        reply["expires_in"] = lifetime.to_string().into();
        reply["not_before"] = (end - lifetime).to_string().into();
    }
    answer::json(StatusCode::OK, answer::write(&reply))
}

fn refused(status: StatusCode, error: &str) -> Answer {
    answer::json(status, answer::write(&json!({ "error": error, "error_description": "refused" })))
}
