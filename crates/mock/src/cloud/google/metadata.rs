//! The metadata server of a machine
//! (<https://cloud.google.com/compute/docs/access/authenticate-workloads>).

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use super::{Cloud, GoogleCloud, granted};
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;

/// The same token is handed out until so long before its end.
const WINDOW: Duration = Duration::from_secs(240);

/// What a metadata server knows of its machine. It hands out the same token until four minutes before
/// its end.
#[derive(Debug, Default)]
pub struct GoogleMetadata {
    email: Option<String>,
    imposter: bool,
    held: Mutex<HashMap<String, (String, SystemTime)>>,
}

impl GoogleMetadata {
    /// A machine with that service account attached.
    pub fn new(email: impl Into<String>) -> Self {
        Self { email: Some(email.into()), ..Self::default() }
    }

    /// A machine without a service account.
    pub fn without_account() -> Self {
        Self::default()
    }

    /// Answers right, but without `metadata-flavor`, as a server that is not Google's would.
    #[must_use]
    pub fn imposter(mut self) -> Self {
        self.imposter = true;
        self
    }
}

/// `GET /computeMetadata/v1/{path}`.
pub(super) fn answer(cloud: &Cloud, google: &GoogleCloud, path: &str, request: &Recorded) -> Option<Answer> {
    let metadata = google.metadata.as_ref()?;
    let mut answer = check(cloud, google, metadata, path, request).unwrap_or_else(|(status, says)| {
        let status = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_REQUEST);
        answer::text(status, "text/html; charset=UTF-8", says)
    });
    if !metadata.imposter {
        answer.headers_mut().insert("metadata-flavor", HeaderValue::from_static("Google"));
    }
    Some(answer)
}

fn check(
    cloud: &Cloud,
    google: &GoogleCloud,
    metadata: &GoogleMetadata,
    path: &str,
    request: &Recorded,
) -> Result<Answer, (u16, &'static str)> {
    if request.method() != Method::GET {
        return Err((405, "Method Not Allowed"));
    }
    if request.header("metadata-flavor") != Some("Google") || request.header("x-forwarded-for").is_some() {
        return Err((403, "Missing Metadata-Flavor:Google header."));
    }
    let query = Form::parse(request.query().unwrap_or_default().as_bytes());
    let only = |names: &[&str]| query.repeated().is_none() && query.names().all(|name| names.contains(&name));
    let email = metadata.email.as_deref().ok_or((404, "Not Found"))?;
    match path.strip_prefix("instance/service-accounts/default/") {
        Some("token") if only(&["scopes"]) => {
            let scopes = query.get("scopes").unwrap_or_default();
            if scopes.contains([' ', '+']) {
                return Err((400, "Scopes are separated by commas."));
            }
            let (token, left) = metadata.token(cloud, google, scopes);
            Ok(granted(&token, left, Value::Null))
        }
        Some("identity") if only(&["audience", "format"]) => {
            let audience = query.get("audience").ok_or((400, "non-empty audience parameter required"))?;
            let full = match query.get("format") {
                Some("full") => true,
                Some("standard") | None => false,
                Some(_) => return Err((400, "Unknown format.")),
            };
            let token = identity(cloud, email, audience, full);
            Ok(answer::text(http::StatusCode::OK, "text/html", token))
        }
        _ => Err((404, "Not Found")),
    }
}

impl GoogleMetadata {
    /// The token for these scopes, and how many seconds are left of it.
    fn token(&self, cloud: &Cloud, google: &GoogleCloud, scopes: &str) -> (String, u64) {
        let now = cloud.desk.clock.now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |ends: SystemTime| ends.duration_since(now).unwrap_or_default();
        let life = Duration::from_secs(cloud.lifetime.load(Ordering::Relaxed));
        // A token that lives no longer than the window is handed out until its end.
        let window = if life > WINDOW { WINDOW } else { Duration::ZERO };
        match held.get(scopes) {
            Some((token, ends)) if left(*ends) > window => (token.clone(), left(*ends).as_secs()),
            _ => {
                let (token, ends) = google.issue(cloud, &scopes.replace(',', " "), life);
                held.insert(scopes.to_owned(), (token.clone(), ends));
                (token, life.as_secs())
            }
        }
    }
}

/// A JWT, as the server forms it. Nobody checks its signature here.
fn identity(cloud: &Cloud, email: &str, audience: &str, full: bool) -> String {
    let now = cloud.desk.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut claims = json!({
        "iss": "https://accounts.google.com",
        "aud": audience,
        "azp": "1000",
        "sub": "1000",
        "iat": now,
        "exp": now + cloud.lifetime.load(Ordering::Relaxed),
    });
    if full {
        claims["email"] = email.into();
        claims["email_verified"] = true.into();
        claims["google"] = json!({ "compute_engine": { "instance_name": "mock" } });
    }
    let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let header = json!({ "alg": "RS256", "kid": "mock", "typ": "JWT" });
    format!("{}.{}.bW9jaw", encode(&header), encode(&claims))
}
