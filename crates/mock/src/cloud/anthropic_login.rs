//! Signing in to Anthropic: codes that are pasted or come by a loopback address, refresh tokens that work
//! once, and keys that are minted. The endpoints are not documented; this is what their clients expect.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use portunus_auth_core::BearerToken;
use serde_json::{Map, Value, json};

use super::{Cloud, json_body, next, text};
use crate::answer::{self, Answer};
use crate::capture::Recorded;
use crate::form::Form;
use crate::secrets::Secrets;

/// Without this scope no key is minted.
const MINTING: &str = "org:create_api_key";
const PASTE: &str = "/oauth/code/callback";
const CODE_TTL: Duration = Duration::from_secs(600);

/// A client whose users sign in to Anthropic. Its operator chose the id.
pub struct AnthropicLogin {
    client_id: String,
    scopes: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    codes: Secrets<Code>,
    refresh: Secrets<Refresh>,
    access: Secrets<Access>,
}

struct Code {
    state: String,
    challenge: String,
    redirect_uri: String,
    scope: String,
    until: SystemTime,
}

struct Refresh {
    login: u64,
    scope: String,
    used: bool,
}

struct Access {
    login: u64,
    scope: String,
    until: SystemTime,
}

impl AnthropicLogin {
    /// A public client that may ask for these scopes.
    pub fn new<S: Into<String>>(client_id: impl Into<String>, scopes: impl IntoIterator<Item = S>) -> Self {
        Self {
            client_id: client_id.into(),
            scopes: scopes.into_iter().map(Into::into).collect(),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allows(&self, scope: &str) -> bool {
        !scope.is_empty() && scope.split(' ').all(|one| self.scopes.iter().any(|known| known == one))
    }
}

impl fmt::Debug for AnthropicLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnthropicLogin").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// The answer, if the path is one of the login's.
pub(super) fn answer(cloud: &Cloud, request: &Recorded) -> Option<Answer> {
    let login = cloud.anthropic_login.as_ref()?;
    let found = match (request.path(), request.method()) {
        ("/oauth/authorize", &Method::GET) => authorize(cloud, login, request),
        (PASTE, &Method::GET) => pasted(request),
        ("/v1/oauth/token", &Method::POST) => return token(cloud, login, request),
        ("/api/oauth/claude_cli/create_api_key", &Method::POST) => mint(cloud, login, request),
        ("/api/oauth/profile", &Method::GET) => profile(cloud, login, request),
        _ => return None,
    };
    Some(found)
}

/// The user agrees at once. The code goes to a loopback address, or to the page that shows it.
fn authorize(cloud: &Cloud, login: &AnthropicLogin, request: &Recorded) -> Answer {
    let query = Form::parse(request.query().unwrap_or_default().as_bytes());
    let get = |name| query.get(name).unwrap_or_default();
    let back = get("redirect_uri");
    let loopback = back.strip_prefix("http://localhost:").and_then(|rest| rest.split_once('/'));
    let is_loopback = loopback.is_some_and(|(port, path)| port.parse::<u16>().is_ok() && path == "callback");
    let is_right = get("client_id") == login.client_id
        && get("response_type") == "code"
        && get("code_challenge_method") == "S256"
        && get("code_challenge").len() == 43
        && !get("state").is_empty()
        && login.allows(get("scope"))
        && (is_loopback || back.ends_with(PASTE))
        && query.repeated().is_none();
    if !is_right {
        return answer::text(StatusCode::BAD_REQUEST, "text/plain", "Invalid request");
    }
    let code = format!("code-mock-{}", next(&cloud.tokens));
    login.lock().codes.insert(
        &code,
        Code {
            state: get("state").to_owned(),
            challenge: get("code_challenge").to_owned(),
            redirect_uri: back.to_owned(),
            scope: get("scope").to_owned(),
            until: cloud.desk.clock.now() + CODE_TTL,
        },
    );
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.append_pair("code", &code).append_pair("state", get("state"));
    // The page that shows the code is at another host in real life.
    let to = if is_loopback { back } else { PASTE };
    let mut answer = answer::text(StatusCode::FOUND, "text/plain", "");
    if let Ok(location) = HeaderValue::try_from(format!("{to}?{}", pairs.finish())) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// What the user copies.
fn pasted(request: &Recorded) -> Answer {
    let query = Form::parse(request.query().unwrap_or_default().as_bytes());
    let shown =
        format!("{}#{}", query.get("code").unwrap_or_default(), query.get("state").unwrap_or_default());
    answer::text(StatusCode::OK, "text/plain; charset=utf-8", shown)
}

/// `None`: another kind of grant.
fn token(cloud: &Cloud, login: &AnthropicLogin, request: &Recorded) -> Option<Answer> {
    let body = json_body(request)?;
    let granted = match text(&body, "grant_type")? {
        "authorization_code" => redeem(cloud, login, &body),
        "refresh_token"
            if request.header("anthropic-beta").is_some_and(|beta| beta.contains("federation")) =>
        {
            // The federation's beta leads refresh grants astray.
            Err("invalid_request")
        }
        "refresh_token" => refresh(login, &body),
        _ => return None,
    };
    Some(match granted {
        Ok((login_id, scope)) => tokens(cloud, login, login_id, &scope),
        Err(error) => {
            let body = json!({"error": error, "error_description": "The grant is invalid."});
            no_store(answer::json(StatusCode::BAD_REQUEST, answer::write(&body)))
        }
    })
}

type Granted = Result<(Option<u64>, String), &'static str>;

/// A code works once, with the `state` that it came with.
fn redeem(cloud: &Cloud, login: &AnthropicLogin, body: &Map<String, Value>) -> Granted {
    let get = |name| text(body, name).unwrap_or_default();
    let mut state = login.lock();
    let code = state.codes.get(get("code")).ok_or("invalid_grant")?;
    let hash = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, get("code_verifier").as_bytes()));
    let fits = get("client_id") == login.client_id
        && get("state") == code.state
        && get("redirect_uri") == code.redirect_uri
        && hash == code.challenge
        && cloud.desk.clock.now() < code.until;
    let scope = code.scope.clone();
    if !fits {
        return Err("invalid_grant");
    }
    state.codes.remove(get("code"));
    Ok((None, scope))
}

/// A refresh token works once; who uses it again ends the login.
fn refresh(login: &AnthropicLogin, body: &Map<String, Value>) -> Granted {
    let token = text(body, "refresh_token").unwrap_or_default();
    let mut state = login.lock();
    let is_client = text(body, "client_id") == Some(&login.client_id);
    let known = state.refresh.get_mut(token).filter(|_| is_client).ok_or("invalid_grant")?;
    let id = known.login;
    if std::mem::replace(&mut known.used, true) {
        state.refresh.retain(|refresh| refresh.login != id);
        state.access.retain(|access| access.login != id);
        return Err("invalid_grant");
    }
    let scope = known.scope.clone();
    match text(body, "scope") {
        Some(asked) if asked.split(' ').any(|one| !scope.split(' ').any(|has| has == one)) => {
            known.used = false;
            Err("invalid_scope")
        }
        asked => Ok((Some(id), asked.map_or(scope.clone(), str::to_owned))),
    }
}

fn tokens(cloud: &Cloud, login: &AnthropicLogin, id: Option<u64>, scope: &str) -> Answer {
    let number = next(&cloud.tokens);
    let id = id.unwrap_or(number);
    let (access, refresh) = (format!("sk-ant-oat01-mock-{number}"), format!("sk-ant-ort01-mock-{number}"));
    let seconds = cloud.lifetime.load(Ordering::Relaxed);
    let until = cloud.desk.clock.now() + Duration::from_secs(seconds);
    {
        let mut state = login.lock();
        state.access.insert(&access, Access { login: id, scope: scope.to_owned(), until });
        state.refresh.insert(&refresh, Refresh { login: id, scope: scope.to_owned(), used: false });
    }
    no_store(answer::json(
        StatusCode::OK,
        answer::write(&json!({
            "token_type": "Bearer",
            "access_token": access,
            "expires_in": seconds,
            "refresh_token": refresh,
            "scope": scope,
            "account": account(),
            "organization": organization(),
        })),
    ))
}

/// Each call mints another key: it is not to be repeated.
fn mint(cloud: &Cloud, login: &AnthropicLogin, request: &Recorded) -> Answer {
    match scope_of(cloud, login, request) {
        None => failed(StatusCode::UNAUTHORIZED, "authentication_error", "Invalid bearer token"),
        Some(scope) if !scope.split(' ').any(|one| one == MINTING) => {
            failed(StatusCode::FORBIDDEN, "permission_error", "OAuth token does not meet scope requirement")
        }
        Some(_) if !matches!(&**request.body(), b"" | b"null") => {
            failed(StatusCode::BAD_REQUEST, "invalid_request_error", "the body has to be null or empty")
        }
        Some(_) => {
            let key = format!("sk-ant-api03-mock-{}", next(&cloud.tokens));
            no_store(answer::json(StatusCode::OK, answer::write(&json!({ "raw_key": key }))))
        }
    }
}

fn profile(cloud: &Cloud, login: &AnthropicLogin, request: &Recorded) -> Answer {
    if scope_of(cloud, login, request).is_none() {
        return failed(StatusCode::UNAUTHORIZED, "authentication_error", "Invalid bearer token");
    }
    let body = json!({ "account": account(), "organization": organization() });
    answer::json(StatusCode::OK, answer::write(&body))
}

/// The scope of the presented token, while it lasts.
fn scope_of(cloud: &Cloud, login: &AnthropicLogin, request: &Recorded) -> Option<String> {
    let header = request.headers_with_secrets().get(AUTHORIZATION)?;
    let token = BearerToken::from_authorization(header)?;
    let state = login.lock();
    let access = state.access.get(token.expose())?;
    (cloud.desk.clock.now() < access.until).then(|| access.scope.clone())
}

fn account() -> Value {
    json!({"uuid": "00000000-0000-0000-0000-00000000acc1", "email_address": "mock-user@example.com"})
}

fn organization() -> Value {
    json!({"uuid": "00000000-0000-0000-0000-000000000012", "name": "Mock Organization"})
}

fn failed(status: StatusCode, kind: &str, says: &str) -> Answer {
    answer::json(status, answer::write(&json!({"type": "error", "error": {"type": kind, "message": says}})))
}

fn no_store(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
